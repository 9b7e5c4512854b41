"""The sentence above a table: what the figures come to, in words a person would say.

Knows groups of compared rows. Says no more than is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.analyze.compare import Group
from edgebench.analyze.names import labels_of
from edgebench.analyze.rows import Row, TaskFigures
from edgebench.records.base import Estimate, clean
from edgebench.report.format import counted, number, point_words

PARTS = {
    "three quarters of": 0.75,
    "two thirds of": 2 / 3,
    "half": 0.5,
    "two fifths of": 0.4,
    "a third of": 1 / 3,
    "a quarter of": 0.25,
    "a fifth of": 0.2,
    "a sixth of": 1 / 6,
    "an eighth of": 0.125,
}
NEAR = 0.06  # how far from such a part a share may be


def verdict(group: Group) -> list[str]:
    """Return sentences on each model's fastest level, and the fastest shown to lose little."""
    if not any(row.decode for row in group.rows):
        return _without_speed(group)
    labels = labels_of(group.rows)
    sentences = []
    for model in group.models:
        timed = [row for row in group.rows if row.decode and row.artifact.model == model]
        sentences += [_sentence(row, group, labels[row.key]) for row in _telling(timed, group)]
    return [clean(sentence) for sentence in sentences]


def _telling(timed: Sequence[Row], group: Group) -> list[Row]:
    """Return the fastest row of a model, and where that isn't shown to be safe the fastest that is.

    The baseline is what the sentence compares with; alone it is all there is to tell.
    """
    if not timed:
        return []
    fastest = max(timed, key=lambda row: (not row.is_baseline, _decode(row)))
    safe = [row for row in timed if _is_safe(row, group) and _decode(row) < _decode(fastest)]
    if not safe or _is_safe(fastest, group):
        return [fastest]
    best = max(safe, key=_decode)
    return [fastest] if best.is_baseline else [fastest, best]


def _decode(row: Row) -> float:
    return row.decode.value if row.decode else 0.0


def _is_safe(row: Row, group: Group) -> bool:
    tasks = [row.task(name) for name in group.tasks]
    return bool(tasks) and all(task and task.no_worse == "holds" for task in tasks)


def _sentence(row: Row, group: Group, label: str) -> str:
    baseline = group.baselines.get(row.artifact.model)
    if baseline is None or row.is_baseline or row.decode_ratio is None:
        launches = f" ({counted(row.decode.n, 'launch', 'launches')})" if row.decode else ""
        start = f"{label} generates {number(_decode(row))} tokens a second{launches}"
    else:
        space = _space(row, baseline.artifact.size_bytes)
        other = baseline.level
        if baseline.artifact.model != row.artifact.model:
            other = baseline.artifact.name
        start = f"{_speed_words(row, label, other)} in {space}"
    loss = _loss_words(row, group)
    return f"{start}; {loss}." if loss else f"{start}."


def _speed_words(row: Row, label: str, baseline: str) -> str:
    ratio = row.decode_ratio
    if ratio is None:
        return label
    value = ratio.ratio.value
    if ratio.ratio.bounds is None:
        return f"{label} looks {_times(value)} times as fast as {baseline} (no interval yet)"
    low, high = (_times(end, value) for end in ratio.ratio.bounds)
    if not ratio.is_shown:
        return f"{label} can't be told from {baseline} in speed ({low} to {high} times)"
    return f"{label} is {_times(value)} times as fast as {baseline} ({low} to {high})"


def _times(end: float, value: float | None = None) -> str:
    """Return a ratio, or an end of its interval, with one digit; with two where it is near 1."""
    return f"{end:.2f}" if 0.8 < (value or end) < 1.25 else f"{end:.1f}"


def _space(row: Row, whole: int) -> str:
    share = row.artifact.size_bytes / whole if whole else 1.0
    if share > 1 + NEAR:
        return f"{number(share)} times the space"
    if share >= 1 - NEAR:
        return "the same space"
    words, part = min(PARTS.items(), key=lambda item: abs(item[1] - share))
    if abs(part / share - 1) > NEAR:
        words = f"{100 * share:.0f} % of"
    return f"{words} the space"


def _loss_words(row: Row, group: Group) -> str:
    """Say what a row loses at the task where it loses most."""
    told = [task for name in group.tasks if (task := row.task(name)) and task.difference]
    if not told or row.is_baseline:
        return ""
    worst = min(told, key=lambda task: task.difference.value if task.difference else 0.0)
    there = f" at {worst.task}" if len(group.tasks) > 1 else ""
    return f"it {_lost(worst, worst.difference)}{there}" if worst.difference else ""


def _lost(task: TaskFigures, difference: Estimate) -> str:
    if task.no_worse == "holds" and task.margin is not None:
        return f"loses at most {point_words(task.margin)}"
    if difference.bounds is None:
        return "may lose accuracy: too little was asked to say"
    low, high = (100 * end for end in difference.bounds)
    if high < 0:
        return f"loses {_short(-high)} to {_short(-low)} points"
    if low > 0:
        return f"gains {_short(low)} to {_short(high)} points"
    return f"may lose 0 to {_short(-low)} points"


def _short(points: float) -> str:
    return f"{points:.0f}" if points >= 9.95 else f"{points:.1f}".removesuffix(".0")


def _without_speed(group: Group) -> list[str]:
    labels = labels_of(group.rows)
    losses = [
        f"{labels[row.key]} {words.removeprefix('it ')}"
        for row in group.rows
        if (words := _loss_words(row, group))
    ]
    if losses:
        return [clean(f"Against {group.baseline_name}, {'; '.join(losses)}.")]
    far = [
        (divergence.mean_kld.value, labels[row.key])
        for row in group.rows
        for divergence in row.divergences[:1]
        if divergence.mean_kld
    ]
    if not far:
        return []
    near, farthest = min(far), max(far)
    if len(far) == 1:
        return [clean(f"{near[1]} strays {number(near[0])} nats a token from its reference.")]
    return [
        clean(
            f"{near[1]} stays nearest to the reference ({number(near[0])} nats a token), "
            f"{farthest[1]} strays farthest ({number(farthest[0])})."
        )
    ]

"""The notes beneath a table: what its figures rest on, what is missing and why, what to distrust.

Knows groups of compared rows. Judges nothing itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from edgebench.analyze.compare import Group
from edgebench.analyze.divergences import standing_out
from edgebench.analyze.guesses import guessing, is_guess
from edgebench.analyze.names import labels_of
from edgebench.analyze.rows import Row
from edgebench.records.accuracy import Divergence
from edgebench.records.base import clean
from edgebench.records.speed import Sustained
from edgebench.report.format import counted, duration, number, point_words

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def main_notes(group: Group) -> list[str]:
    """Return the notes of a group's main table."""
    rows = group.rows
    first = group.tasks[:1]
    return [
        *_speed_notes(rows),
        *_energy_notes(rows),
        *(note for name in first for note in task_notes(rows, name)),
        *(note for name in first for note in no_worse_note(rows, name)),
    ]


def main_details(group: Group) -> list[str]:
    """Return the statistics behind a group's main table."""
    ratios = [row.decode_ratio for row in group.rows if row.decode_ratio]
    first = group.tasks[:1]
    told = ["Times as fast: by round, which both were measured in; 95 % intervals."]
    return [
        *(told if any(ratio.ratio.bounds for ratio in ratios) else []),
        *(note for name in first for note in task_details(group.rows, name)),
    ]


def group_notes(group: Group) -> list[str]:
    """Return what is to be known of all of a group's tables."""
    rows = group.rows
    labels = labels_of(rows)
    return [
        *_artifact_notes(rows),
        *(f"! {note}" for note in standing_out(rows)),
        *dict.fromkeys(
            f"! {clean(labels[row.key], 60)}: {clean(failure.words)}"
            for row in rows
            for failure in row.failures
        ),
        *warning_lines((labels[row.key], warning) for row in rows for warning in row.warnings),
    ]


def _speed_notes(rows: Sequence[Row]) -> list[str]:
    if any(row.workload and row.workload.duration_s for row in rows):
        return _sustained_notes(rows)
    counts = sorted({row.decode.n for row in rows if row.decode})
    if not counts:
        return []
    notes = []
    if counts[-1] >= 3:
        notes.append(
            "Beneath a figure: where the same measurement lands when it is made again, in 95 % of "
            "cases."
        )
    if counts[0] < 3:
        few = " or ".join(f"n={count}" for count in counts if count < 3)
        notes.append(f"{few}: so few launches tell no interval; --launches 5 does.")
    return notes


def _sustained_notes(rows: Sequence[Row]) -> list[str]:
    """Say of each artifact whether it holds its speed; it is one launch, which has no interval."""
    labels = labels_of(rows)
    return [
        f"{clean(labels[row.key], 60)}: {sustained_words(row.speed.sustained)}."
        if row.speed.sustained
        else f"{clean(labels[row.key], 60)}: too few trials to say whether it holds its speed; "
        "--minutes gives it longer."
        for row in rows
        if row.speed
    ]


def sustained_words(went: Sustained) -> str:
    """Say whether a speed held: "falls from 44 to 31 tok/s (-30 %) after 5 min; 84 °C"."""
    start, end = number(went.start_tokens_per_s), number(went.end_tokens_per_s)
    words = f"holds {end} tok/s for {duration(went.lasted_s)}"
    if went.onset_s is not None:
        change = 100 * (went.end_tokens_per_s / went.start_tokens_per_s - 1)
        moved = f"{start} to {end} tok/s ({change:+.0f} %)"
        words = f"falls from {moved} after {duration(went.onset_s)}"
    if went.hottest_c is not None:
        words += f"; {went.hottest_c:.0f} °C"
    if went.throttled_s is not None:
        words += f"; throttled from {duration(went.throttled_s)} on"
    if went.end_j_per_token is not None:
        words += f"; {number(went.end_j_per_token.value)} J/tok at its end"
    return words


def _energy_notes(rows: Sequence[Row]) -> list[str]:
    notes = []
    told = [row.energy for row in rows if row.energy]
    if told:
        boundary = f" ({told[0].boundary})" if told[0].boundary else ""
        kinds = sorted({energy.kind for energy in told})
        notes.append(
            f"Energy: gross, decode, by {clean(told[0].source, 60)}{boundary}, {', '.join(kinds)}."
        )
    if any(energy.kind == "estimated" for energy in told):
        notes.append("! Energy is watts that you stated times seconds (~), not a measurement.")
    reasons = dict.fromkeys(row.energy_reason for row in rows if row.speed and row.energy_reason)
    return notes + [f"Energy: none: {clean(reason)}." for reason in reasons if reason]


def task_notes(rows: Sequence[Row], name: str) -> list[str]:
    """Say what a task's figures rest on: items, chance, clusters, what was left out."""
    tasks = [task for row in rows if (task := row.task(name))]
    if not tasks:
        return []
    most = max(tasks, key=lambda task: task.n)
    words = f"{clean(name, 40)}: {counted(most.n, 'item')}"
    if most.population:
        words += f" of {most.population}"
    if most.skipped:
        words += f" ({most.skipped} left out)"
    if most.chance:
        words += f", {100 * most.chance:.0f} % by chance"
    if most.majority:
        words += f", {100 * most.majority:.0f} % by always the same answer"
    if most.metric:
        words += f"; {most.metric}"
    if most.clusters:
        words += f"; intervals by {most.clusters} clusters of items that share a context"
    notes = [f"{words}.", *_guess_notes(rows, name)]
    reasons: dict[str, list[str]] = {}
    for label, row in answer_labels(rows).items():
        task = row.task(name)
        if task and task.why_no_difference:
            reasons.setdefault(task.why_no_difference, []).append(label)
    return notes + [
        f"No difference for {', '.join(levels)}: {clean(why)}." for why, levels in reasons.items()
    ]


def _guess_notes(rows: Sequence[Row], name: str) -> list[str]:
    """Warn of artifacts that answer no better than by guessing: their differences are noise."""
    tasks = {label: task for label, row in answer_labels(rows).items() if (task := row.task(name))}
    guesses = {label: task for label, task in tasks.items() if is_guess(task)}
    if not guesses:
        return []
    first = next(iter(guesses.values()))
    by = "by chance" if guessing(first) == first.chance else "by always the same answer"
    answer = "answers" if len(guesses) == 1 else "answer"
    return [
        f"! {clean(name, 40)}: {', '.join(guesses)} {answer} no better than {by} "
        f"({100 * guessing(first):.0f} %); differences there mean little."
    ]


def task_details(rows: Sequence[Row], name: str) -> list[str]:
    """Say how a task's differences were judged, and how sure each judgement is."""
    labels = answer_labels(rows)
    tasks = {label: task for label, row in labels.items() if (task := row.task(name))}
    if not tasks:
        return []
    notes = [
        f"{clean(name, 40)}: differences in points, paired on the same items, 5 % on each side."
    ]
    if any(task.race for task in tasks.values()):
        notes.append(
            "Raced: items were asked until the loss was decided; intervals hold at any stopping "
            "time."
        )
    shown = [
        f"{label} differs (Holm: p = {task.p_holm:.2g})"
        for label, task in tasks.items()
        if task.p_holm is not None and task.p_holm < 0.05
    ]
    needed = [
        f"{label} about {rounded(task.items_needed)}"
        for label, task in tasks.items()
        if task.no_worse == "open" and task.items_needed and not task.race
    ]
    raced = [
        f"{label} {counted(task.race.items, 'item')}" for label, task in tasks.items() if task.race
    ]
    notes += [f"{'; '.join(shown)}."] if shown else []
    notes += [f"More items that would decide: {'; '.join(needed)}."] if needed else []
    return notes + ([f"The race took: {'; '.join(raced)}."] if raced else [])


def no_worse_note(rows: Sequence[Row], name: str) -> list[str]:
    """Say in a line which levels lose no more than the margin, as far as the evidence goes."""
    told: dict[str, list[str]] = {"holds": [], "worse": [], "open": []}
    margin = None
    for label, row in answer_labels(rows).items():
        task = row.task(name)
        if task and task.no_worse and task.margin is not None:
            margin = task.margin
            told[task.no_worse].append(label)
    if margin is None:
        return []
    parts = [
        f"{word} {', '.join(labels)}"
        for word, labels in zip(("yes:", "no:", "open:"), told.values(), strict=True)
        if labels
    ]
    return [f"Loses at most {point_words(margin)}? {'; '.join(parts)}."]


def answer_labels(rows: Sequence[Row]) -> dict[str, Row]:
    """Return a row for each artifact and arithmetic by its short name: threads change no answer."""
    once = list({(row.content, row.arithmetic): row for row in reversed(rows)}.values())[::-1]
    labels = labels_of(once)
    return {clean(labels[row.key], 60): row for row in once}


def rounded(count: int) -> int:
    """Round to two digits: a forecast has no more."""
    return int(float(f"{count:.1e}"))


def text_notes(told: Sequence[tuple[Row, Divergence]]) -> list[str]:
    """Say what a text's figures rest on."""
    first = told[0][1]
    notes = [
        f"{clean(first.text, 40)}: {counted(first.tokens, 'token')} in "
        f"{counted(first.chunks, 'chunk')}, the same for all; intervals by chunk."
    ]
    if len({(far.reference_sha256, far.text_sha256) for _, far in told}) > 1:
        notes.append("! Not all were held against one reference and text: they do not compare.")
    return notes


def _artifact_notes(rows: Sequence[Row]) -> list[str]:
    labels = labels_of(rows)
    sources = dict.fromkeys(row.artifact.requantized_from for row in rows)
    notes = [
        f"* made from an already quantized {clean(source, 20)}: its loss is in every figure."
        for source in sources
        if source
    ]
    return notes + [
        f"† {clean(labels[row.key], 60)}: {len(kept)} of {sum(row.artifact.tensor_types.values())} "
        "tensors kept a larger type."
        for row in rows
        if (kept := row.artifact.fallback_tensors)
    ]


def warning_lines(warnings: Iterable[tuple[str, str]]) -> list[str]:
    """Return a line for each kind of warning, with the levels that it is about.

    Warnings that differ in their numbers alone make one line, with the largest of them.
    """
    kinds: dict[str, list[tuple[str, str]]] = {}
    for level, warning in warnings:
        kinds.setdefault(_NUMBER.sub("0", warning), []).append((level, warning))
    lines = []
    for told in kinds.values():
        levels = list(dict.fromkeys(clean(level, 60) for level, _ in told))
        most = max((warning for _, warning in told), key=_numbers)
        same = len({warning for _, warning in told}) == 1
        lines.append(f"! {', '.join(levels)}: {clean(most)}" + ("" if same else " (at most)"))
    return lines


def _numbers(warning: str) -> list[float]:
    return [float(digits) for digits in _NUMBER.findall(warning)]

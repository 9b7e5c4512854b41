"""The notes beneath a table: what its figures rest on, what is missing and why, what to distrust.

Knows groups of compared rows. Judges nothing itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from edgebench.analyze.compare import Group
from edgebench.analyze.divergences import standing_out
from edgebench.analyze.rows import Row
from edgebench.records.accuracy import Divergence
from edgebench.records.base import clean
from edgebench.report.artifacts import untrue_claims
from edgebench.report.format import counted, point_words

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def main_notes(group: Group) -> list[str]:
    """Return the notes of a group's main table."""
    rows = group.rows
    first = group.tasks[:1]
    return [
        *_speed_notes(rows),
        *_energy_notes(rows),
        *(note for name in first for note in task_notes(rows, name)),
        *(note for name in first for note in _difference_notes(rows, name)),
        *(note for name in first for note in no_worse_note(rows, name)),
    ]


def group_notes(group: Group) -> list[str]:
    """Return what is to be known of all of a group's tables."""
    rows = group.rows
    return [
        *_artifact_notes(rows),
        *(f"! {note}" for note in standing_out(rows)),
        *(
            f"! {clean(row.level, 20)}: {clean(failure.words)}"
            for row in rows
            for failure in row.failures
        ),
        *warning_lines((row.level, warning) for row in rows for warning in row.warnings),
    ]


def _speed_notes(rows: Sequence[Row]) -> list[str]:
    counts = sorted({row.decode.n for row in rows if row.decode})
    if not counts:
        return []
    notes = []
    if counts[-1] >= 3:
        notes.append(
            "Speed: medians over launches; beneath, where the same measurement lands when it is "
            "made again, in 95 % of cases."
        )
    if counts[0] < 3:
        few = " or ".join(f"n={count}" for count in counts if count < 3)
        notes.append(f"{few}: so few launches tell no interval; --launches 5 does.")
    ratios = [row.decode_ratio for row in rows if row.decode_ratio]
    if any(ratio.ratio.bounds for ratio in ratios):
        notes.append("Times as fast: by round, which both were measured in; 95 % intervals.")
    return notes


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
    notes = [words + "; differences in points, paired on the same items, 5 % on each side."]
    if any(task.race for task in tasks):
        notes.append(
            "Raced: items were asked until the loss was decided; intervals hold at any stopping "
            "time."
        )
    reasons: dict[str, list[str]] = {}
    for row in rows:
        task = row.task(name)
        if task and task.why_no_difference:
            reasons.setdefault(task.why_no_difference, []).append(clean(row.level, 20))
    return notes + [
        f"No difference for {', '.join(levels)}: {clean(why)}." for why, levels in reasons.items()
    ]


def _difference_notes(rows: Sequence[Row], name: str) -> list[str]:
    shown = [
        f"{clean(row.level, 20)} differs (Holm: p = {task.p_holm:.2g})"
        for row in rows
        if (task := row.task(name)) and task.p_holm is not None and task.p_holm < 0.05
    ]
    return [f"{'; '.join(shown)}."] if shown else []


def no_worse_note(rows: Sequence[Row], name: str) -> list[str]:
    """Say in a line which levels lose no more than the margin, as far as the evidence goes."""
    parts = []
    margin = None
    for row in rows:
        task = row.task(name)
        if task is None or task.no_worse is None or task.margin is None:
            continue
        margin = task.margin
        word = {"holds": "yes", "worse": "no", "open": "open"}[task.no_worse]
        if task.race:
            word += f" after {counted(task.race.items, 'item')}"
        elif task.no_worse == "open" and task.items_needed:
            word += f" (about {rounded(task.items_needed)} more items would decide)"
        parts.append(f"{clean(row.level, 20)} {word}")
    return [f"Loses at most {point_words(margin)}: {'; '.join(parts)}."] if margin else []


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
    sources = dict.fromkeys(row.artifact.requantized_from for row in rows)
    notes = [
        f"* made from an already quantized {clean(source, 20)}: its loss is in every figure."
        for source in sources
        if source
    ]
    notes += [
        f"! {clean(row.level, 20)}: its description {', '.join(untrue)}."
        for row in rows
        if (untrue := untrue_claims(row.artifact))
    ]
    return notes + [
        f"† {clean(row.level, 20)}: {len(kept)} of {sum(row.artifact.tensor_types.values())} "
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
        levels = list(dict.fromkeys(clean(level, 20) for level, _ in told))
        most = max((warning for _, warning in told), key=_numbers)
        same = len({warning for _, warning in told}) == 1
        lines.append(f"! {', '.join(levels)}: {clean(most)}" + ("" if same else " (at most)"))
    return lines


def _numbers(warning: str) -> list[float]:
    return [float(digits) for digits in _NUMBER.findall(warning)]

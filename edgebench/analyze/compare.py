"""Set levels of one model side by side, with paired differences from a baseline level.

Knows rows. Differences are taken over the same items alone; where the items are not the same
there is none, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from edgebench.analyze.pairs import paired
from edgebench.analyze.rows import Row
from edgebench.errors import UsageError, nearest
from edgebench.records.base import Record, Text
from edgebench.stats.estimates import holm

MARGIN = 0.01  # the loss of accuracy that most people would not mind


class Group(Record):
    """Rows that may be compared: one device, set-up, model and workload, a runtime a format."""

    device: Text
    board: Text | None
    setup: Text
    model: Text
    workload: Text | None
    runtimes: dict[str, str] = Field(default={}, description="format -> its runtime")
    baseline: Text
    baseline_artifact: Text = ""
    margin: float = MARGIN
    rows: tuple[Row, ...]


def compare(
    rows: Sequence[Row], baseline: str | None = None, margin: float = MARGIN
) -> list[Group]:
    """Group rows and add each one's paired difference from the baseline level.

    `margin` is the loss, as a share of items, that a level is asked to stay within.

    The baseline is the level named, or else the checkpoint itself in torch, or else the level with
    the most bits a weight. Raises UsageError where the named level is in no group.
    """
    grouped: dict[tuple[str | None, ...], list[Row]] = {}
    for row in rows:
        key = (row.device, row.board, row.setup, row.model, row.workload)
        grouped.setdefault(key, []).append(row)
    levels = {row.level for row in rows}
    if baseline and baseline not in levels:
        raise UsageError(f"no run of level {baseline!r}", hint=nearest(baseline, levels))
    return [
        _group(part, baseline, margin)
        for members in grouped.values()
        for part in _one_build(members)
    ]


def _one_build(rows: Sequence[Row]) -> list[list[Row]]:
    """Part rows where a format was run by two builds, or an artifact with two types of cache."""
    runtimes: dict[str, set[str]] = {}
    for row in rows:
        runtimes.setdefault(row.format, set()).add(row.runtime)
    once = len({row.sha256 for row in rows}) == len(rows)
    if once and all(len(found) == 1 for found in runtimes.values()):
        return [list(rows)]
    parts: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        parts.setdefault((row.runtime, row.cache), []).append(row)
    return list(parts.values())


def _group(rows: Sequence[Row], baseline: str | None, margin: float) -> Group:
    ordered = sorted(rows, key=lambda row: (row.format != "torch", -row.bits_per_weight))
    named = [row for row in ordered if row.level == baseline]
    reference = named[0] if named else ordered[0]
    first = ordered[0]
    return Group(
        device=first.device,
        board=first.board,
        setup=first.setup,
        model=first.model,
        workload=first.workload,
        runtimes={row.format: row.runtime for row in ordered if row.runtime},
        baseline=reference.level,
        baseline_artifact=reference.artifact,
        margin=margin,
        rows=tuple(_with_differences(ordered, reference, margin)),
    )


def _with_differences(rows: Sequence[Row], reference: Row, margin: float) -> list[Row]:
    compared = [row if row is reference else _add(row, reference, margin) for row in rows]
    names = {task.task for row in compared for task in row.tasks}
    for name in names:
        compared = _correct(compared, name)
    return compared


def _add(row: Row, reference: Row, margin: float) -> Row:
    tasks = tuple(paired(task, reference, margin) for task in row.tasks)
    return row.model_copy(update={"tasks": tasks})


def _correct(rows: Sequence[Row], name: str) -> list[Row]:
    """Correct the p-values of one task across levels (Holm)."""
    values = [
        task.p_value
        for row in rows
        for task in row.tasks
        if task.task == name and task.p_value is not None
    ]
    adjusted = iter(holm(values))
    corrected = []
    for row in rows:
        tasks = tuple(
            task.model_copy(update={"p_holm": next(adjusted)})
            if task.task == name and task.p_value is not None
            else task
            for task in row.tasks
        )
        corrected.append(row.model_copy(update={"tasks": tasks}))
    return corrected

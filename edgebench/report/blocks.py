"""Tables of tasks and divergences, as cells: the same for a terminal and for Markdown.

Knows compared rows. Draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgebench.analyze.compare import Group
from edgebench.analyze.rows import Row, TaskFigures
from edgebench.records.accuracy import Divergence
from edgebench.report.format import number, percent, plain, points, with_interval


@dataclass(frozen=True)
class Block:
    """A table: a title, headers, rows of cells (a line break puts an interval beneath), notes."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def blocks(group: Group) -> list[Block]:
    """Return a table for each task beyond the first, and for each text that was compared."""
    tasks = dict.fromkeys(task.task for row in group.rows for task in row.tasks)
    texts = dict.fromkeys(one.text for row in group.rows for one in row.divergences)
    return [
        *(_task_block(group, name) for name in list(tasks)[1:]),
        *(_text_block(group, name) for name in texts),
    ]


def find_task(row: Row, name: str) -> TaskFigures | None:
    """Return a row's figures of a task, or None."""
    return next((task for task in row.tasks if task.task == name), None)


def _task_block(group: Group, name: str) -> Block:
    told = [t.margin for r in group.rows if (t := find_task(r, name)) and t.margin is not None]
    margin = told[0] if told else group.margin
    headers = (
        "level", "right", f"against\n{group.baseline}", "p\n(Holm)",
        f"loses at most\n{100 * margin:g} points",
    )  # fmt: skip
    rows = []
    for row in group.rows:
        task = find_task(row, name)
        if task is None:
            continue
        is_baseline = row.artifact == group.baseline_artifact
        p = "-" if task.p_holm is None else f"{task.p_holm:.2g}"
        rows.append((
            _level(row, group),
            percent(task.accuracy),
            "baseline" if is_baseline else points(task.difference),
            "" if is_baseline else p,
            "" if is_baseline else _verdict(task),
        ))  # fmt: skip
    return Block(plain(name, 60), headers, tuple(rows), tuple(task_notes(group.rows, name)))


def _level(row: Row, group: Group) -> str:
    several = len({one.format for one in group.rows}) > 1
    return plain(row.level, 12) + (f"\n{row.format}" if several else "")


def _verdict(task: TaskFigures) -> str:
    said = {"holds": "yes", "worse": "no", "open": "open", None: "-"}[task.no_worse]
    if task.race:
        return f"{said}\nraced, {task.race.items}"
    if task.no_worse == "open" and task.items_needed:
        return f"{said}\n+{_rounded(task.items_needed)} items"
    return said


def _rounded(count: int) -> int:
    """Round to two digits: a forecast has no more."""
    return int(float(f"{count:.1e}"))


def task_notes(rows: Sequence[Row], name: str) -> list[str]:
    """Say what a task's figures rest on: items, chance, clusters, what was left out."""
    tasks = [task for row in rows if (task := find_task(row, name))]
    most = max(tasks, key=lambda task: task.n)
    words = f"{plain(name, 40)}: {most.n} items"
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
    notes = [words + "; differences in points, paired on the same items."]
    raced = [task for task in tasks if task.race]
    if raced:
        notes.append(
            "Raced: items were asked until the loss was decided; intervals hold at any stopping "
            "time."
        )
    return notes


def no_worse_note(rows: Sequence[Row], name: str) -> list[str]:
    """Say in a line which levels lose no more than the margin, as far as the evidence goes."""
    parts = []
    margin = None
    for row in rows:
        task = find_task(row, name)
        if task is None or task.no_worse is None or task.margin is None:
            continue
        margin = task.margin
        said = {"holds": "yes", "worse": "no", "open": "open"}[task.no_worse]
        if task.race:
            said += f" after {task.race.items} items"
        elif task.no_worse == "open" and task.items_needed:
            said += f" (about {_rounded(task.items_needed)} more items would decide)"
        parts.append(f"{plain(row.level, 20)} {said}")
    if margin is None:
        return []
    return [f"Loses at most {100 * margin:g} points: {'; '.join(parts)}."]


def _text_block(group: Group, name: str) -> Block:
    headers = (
        "level", "KL divergence\nnats a token", "p99", "same top\ntoken", "perplexity",
        "bits a\nbyte",
    )  # fmt: skip
    rows, kept = [], []
    for row in group.rows:
        for found in row.divergences:
            if found.text == name:
                kept.append(found)
                rows.append((_level(row, group), *_distances(found)))
    return Block(plain(name, 60), headers, tuple(rows), tuple(_text_notes(kept)))


def _distances(found: Divergence) -> tuple[str, ...]:
    far = found.mean_kld is not None
    return (
        with_interval(found.mean_kld) if far else "reference",
        number(found.p99_kld) if found.p99_kld is not None else "",
        percent(found.same_top) if far else "",
        number(found.perplexity),
        f"{found.bits_per_byte:.4f}",
    )


def _text_notes(kept: Sequence[Divergence]) -> list[str]:
    first = kept[0]
    notes = [
        f"{plain(first.text, 40)}: {first.tokens} tokens in {first.chunks} chunks, the same for "
        "all; intervals by chunk."
    ]
    if len({(one.reference_sha256, one.text_sha256) for one in kept}) > 1:
        notes.append("! Not all were held against one reference and text: they do not compare.")
    return notes

"""Tables of rows: for a terminal of 80 columns, for Markdown, for CSV.

Knows groups of compared rows and how to show them. Text that came from files is stripped of
control characters, and never read as markup.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgebench.analyze.compare import Group
from edgebench.analyze.rows import Row, TaskFigures
from edgebench.records.base import Estimate
from edgebench.report.blocks import Block, blocks, find_task, no_worse_note, task_notes
from edgebench.report.format import mebibytes, percent, plain, points, with_interval


def print_groups(console: Console, groups: Iterable[Group]) -> None:
    """Print each group as a table, with its notes beneath."""
    groups = list(groups)
    for group in groups:
        console.print(_title(group))
        for line in _setup_lines(group, len(groups)):
            console.print(Text(line))
        console.print(_table(group))
        for note in _notes(group):
            console.print(Text(note))
        for block in blocks(group):
            console.print(_drawn(block))
            for note in block.notes:
                console.print(Text(note))


def _drawn(block: Block) -> Table:
    table = Table(
        box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False,
        title=Text(block.title, style="bold"), title_justify="left",
    )  # fmt: skip
    for index, header in enumerate(block.headers):
        table.add_column(Text(header), justify="left" if index == 0 else "right",
                         no_wrap=True)  # fmt: skip
    for cells in block.rows:
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _setup_lines(group: Group, groups: int) -> list[str]:
    """Name the set-up and runtimes where a reader could mistake them: several groups or formats."""
    if groups == 1 and len(group.runtimes) < 2:
        return []
    lines = [group.setup, *(f"{name}: {said}" for name, said in group.runtimes.items())]
    return [plain(line, 300) for line in lines if line]


def _title(group: Group) -> Text:
    board = f" ({group.board})" if group.board else ""
    workload = f", {group.workload}" if group.workload else ""
    return Text(plain(f"{group.model} on {group.device}{board}{workload}"), style="bold")


def _table(group: Group) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    task = _first_task(group.rows)
    headers = ["level", "file", "prefill\ntok/s", "decode\ntok/s", "peak\nmemory", "energy\nJ/tok"]
    headers += [f"{plain(task, 12)}\naccuracy", f"against\n{plain(group.baseline, 10)}"] * bool(
        task
    )
    for index, header in enumerate(headers):
        table.add_column(header, justify="left" if index == 0 else "right", no_wrap=True)
    for row in group.rows:
        table.add_row(*(Text(cell) for cell in _cells(row, task, group)))
    return table


def _cells(row: Row, task: str, group: Group) -> list[str]:
    several = len({one.format for one in group.rows}) > 1
    cells = [
        plain(row.level, 12) + _marks(row) + (f"\n{row.format}" if several else ""),
        f"{mebibytes(row.size_bytes)}\n{row.bits_per_weight:.2f} b/w",
        with_interval(row.prefill),
        with_interval(row.decode),
        mebibytes(row.peak_rss_bytes),
        _energy(row),
    ]
    if task:
        figures = find_task(row, task)
        is_baseline = row.artifact == group.baseline_artifact
        cells += [
            percent(figures.accuracy if figures else None),
            "baseline" if is_baseline else points(figures.difference if figures else None),
        ]
    return cells


def _energy(row: Row) -> str:
    if row.energy_j_per_token is None:
        return "none"
    sign = {"derived": "≈", "estimated": "~"}.get(row.energy_kind or "", "")
    return sign + with_interval(row.energy_j_per_token)


def _marks(row: Row) -> str:
    return "*" * bool(row.requantized_from) + "†" * bool(row.fallback_tensors)


def _first_task(rows: Sequence[Row]) -> str:
    return next((row.tasks[0].task for row in rows if row.tasks), "")


def _notes(group: Group) -> list[str]:
    rows = group.rows
    notes = []
    if any(row.decode for row in rows):
        notes.append(
            "Medians over repetitions, 95 % intervals beneath; decode starts at the workload's "
            "depth, as llama-bench's tg."
        )
    meters = {f"{row.energy_source}, {row.energy_kind}" for row in rows if row.energy_j_per_token}
    if meters:
        notes.append(
            f"Energy: gross, decode: {plain('; '.join(sorted(meters)))}"
            f"{' (a figure that was not measured here)' if 'estimated' in str(meters) else ''}."
        )
    if any(row.energy_j_per_token is None for row in rows):
        reasons = dict.fromkeys(row.energy_reason for row in rows if row.energy_reason)
        notes += [f"Energy: none: {plain(reason)}." for reason in reasons if reason]
    tasks = [row.tasks[0] for row in rows if row.tasks]
    if tasks:
        notes += task_notes(rows, tasks[0].task)
    notes += _difference_notes(rows)
    if tasks:
        notes += no_worse_note(rows, tasks[0].task)
    sources = dict.fromkeys(row.requantized_from for row in rows if row.requantized_from)
    notes += [
        f"* made from an already quantized {plain(source, 20)}: its loss is in every figure."
        for source in sources
    ]
    notes += [
        f"† {plain(row.level, 20)}: {row.fallback_tensors} of {row.tensors} tensors could not "
        "have the level's type."
        for row in rows
        if row.fallback_tensors
    ]
    notes += [
        f"! {plain(row.level, 20)} {plain(failure)}" for row in rows for failure in row.failures
    ]
    warnings = dict.fromkeys(warning for row in rows for warning in row.warnings)
    notes += [f"! {plain(warning)}" for warning in warnings]
    return notes


def _difference_notes(rows: Sequence[Row]) -> list[str]:
    found = [
        f"{plain(row.level, 20)} differs (McNemar, Holm: p = {task.p_holm:.2g})"
        for row in rows
        for task in row.tasks[:1]
        if task.p_holm is not None and task.p_holm < 0.05
    ]
    return [f"{'; '.join(found)}."] if found else []


FIELDS = (
    "device", "board", "setup", "runtime", "workload", "model", "format", "level", "artifact",
    "size_bytes", "bits_per_weight", "prefill_tokens_per_s", "prefill_low", "prefill_high",
    "decode_tokens_per_s", "decode_low", "decode_high", "ttft_s", "ttft_low", "ttft_high",
    "peak_rss_bytes", "energy_j_per_token", "energy_low", "energy_high", "energy_reason", "task",
    "n", "accuracy", "accuracy_low", "accuracy_high", "difference", "difference_low",
    "difference_high", "p_holm", "margin", "no_worse", "items_needed", "text", "mean_kld",
    "mean_kld_low", "mean_kld_high", "p99_kld", "same_top", "same_top_low", "same_top_high",
    "perplexity", "bits_per_byte",
)  # fmt: skip


def as_csv(groups: Iterable[Group]) -> str:
    """Return rows as CSV in SI units, a line for each task; an absent figure is empty.

    A cell that a spreadsheet could take for a formula is quoted with an apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(FIELDS)
    for group in groups:
        for row in group.rows:
            for task in row.tasks or (None,):
                writer.writerow([_safe(cell) for cell in _flat(row, task)])
    return out.getvalue()


def _flat(row: Row, task: TaskFigures | None) -> list[object]:
    text = row.divergences[0] if row.divergences else None
    return [
        row.device, row.board, row.setup, row.runtime, row.workload, row.model, row.format,
        row.level, row.artifact,
        row.size_bytes, row.bits_per_weight, *_three(row.prefill), *_three(row.decode),
        *_three(row.ttft_s), row.peak_rss_bytes, *_three(row.energy_j_per_token),
        row.energy_reason, task.task if task else None, task.n if task else None,
        *_three(task.accuracy if task else None), *_three(task.difference if task else None),
        task.p_holm if task else None, task.margin if task else None,
        task.no_worse if task else None, task.items_needed if task else None,
        text.text if text else None, *_three(text.mean_kld if text else None),
        text.p99_kld if text else None, *_three(text.same_top if text else None),
        text.perplexity if text else None, text.bits_per_byte if text else None,
    ]  # fmt: skip


def _three(estimate: Estimate | None) -> tuple[object, object, object]:
    if estimate is None:
        return None, None, None
    return estimate.value, estimate.low, estimate.high


def _safe(cell: object) -> object:
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return cell


def as_markdown(groups: Iterable[Group]) -> str:
    """Return each group as a Markdown table."""
    groups = list(groups)
    return "\n".join(_markdown(group, len(groups)) for group in groups)


def _markdown(group: Group, groups: int) -> str:
    task = _first_task(group.rows)
    heads = ["level", "file", "prefill tok/s", "decode tok/s", "peak memory", "energy J/tok"]
    heads += [f"{task} accuracy", f"against {group.baseline}"] * bool(task)
    lines = [f"**{_escape(_title(group).plain)}**", ""]
    for line in _setup_lines(group, groups):
        lines += [_escape(line), ""]
    lines += [_line(heads), _line(["---"] * len(heads))]
    for row in group.rows:
        cells = _cells(row, task, group)
        lines.append(_line(_flattened(cells)))
    lines += ["", *(f"- {_escape(note)}" for note in _notes(group)), ""]
    for block in blocks(group):
        heads = [header.replace("\n", " ") for header in block.headers]
        lines += [f"**{_escape(block.title)}**", "", _line(heads), _line(["---"] * len(heads))]
        lines += [_line(_flattened(cells)) for cells in block.rows]
        lines += ["", *(f"- {_escape(note)}" for note in block.notes), ""]
    return "\n".join(lines)


def _flattened(cells: Sequence[str]) -> list[str]:
    return [cell.replace("\n", " (", 1) + ")" * ("\n" in cell) for cell in cells]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |"


def _escape(text: str) -> str:
    return plain(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")

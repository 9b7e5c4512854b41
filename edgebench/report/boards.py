"""Set devices side by side: a line for each model, level and settings, a column for each board.

Knows groups of compared rows, one or more a device. Accuracy is told once: it hardly depends on
the board; where boards differ the first one's is shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgebench.analyze.compare import Group
from edgebench.analyze.rows import Row
from edgebench.records.base import clean
from edgebench.report.columns import Line, energy_cell
from edgebench.report.content import Column, Section, Table
from edgebench.report.format import broken, counted, mebibytes, percent, with_interval


@dataclass(frozen=True)
class _Line:
    model: str
    level: str
    format: str
    settings: str


def side_by_side(groups: Sequence[Group]) -> list[Section]:
    """Return a section for each workload that was measured on several devices."""
    by_workload: dict[str, dict[str, Group]] = {}
    for group in sorted(groups, key=lambda group: group.newest):
        if group.workload and any(row.speed for row in group.rows):
            by_workload.setdefault(group.workload.name, {})[_board(group)] = group
    return [_section(name, boards) for name, boards in by_workload.items() if len(boards) > 1]


def _board(group: Group) -> str:
    machine = group.rows[0].machine
    return f"{group.device.name}|{machine}"


def _section(workload: str, boards: dict[str, Group]) -> Section:
    groups = list(boards.values())
    names = _names(groups)
    facts = [
        clean(
            f"{name}: "
            + "; ".join(
                part for part in (group.device.cpu or "", group.setup, group.newest[:10]) if part
            ),
            300,
        )
        for name, group in zip(names, groups, strict=True)
    ]
    lines = [{_line(row): row for row in group.rows if row.speed} for group in groups]
    keys = list(dict.fromkeys(key for rows in lines for key in rows))
    figures: list[tuple[str, int, Callable[[Row], str]]] = [
        ("decode", 9, lambda row: with_interval(row.decode)),
        ("J/tok", 5, lambda row: energy_cell(Line(groups[0], row))),
        ("memory", 4, lambda row: mebibytes(row.memory.total_bytes if row.memory else None)),
    ]
    columns = [Column("model"), Column("level"), Column("settings")]
    cells: list[list[str]] = [
        [broken(clean(key.model, 60)), f"{clean(key.level, 20)}\n{key.format}", key.settings]
        for key in keys
    ]
    for header, rank, read in figures:
        for name, rows in zip(names, lines, strict=True):
            beneath = _boundary(rows) if header == "J/tok" else ""
            columns.append(Column(f"{header}{beneath}\n{broken(name)}", rank))
            for key, line in zip(keys, cells, strict=True):
                line.append(read(rows[key]) if key in rows else "")
    task = next((name for group in groups for name in group.tasks), None)
    if task:
        columns.append(Column(f"{clean(task, 16)}\naccuracy", 6))
        for key, line in zip(keys, cells, strict=True):
            told = [done for rows in lines if key in rows and (done := rows[key].task(task))]
            line.append(percent(told[0].accuracy) if told else "")
    table = Table("", tuple(columns), tuple(tuple(line) for line in cells)).filled()
    return Section(
        title=f"{counted(len(groups), 'device')} side by side, {clean(workload, 60)}",
        facts=tuple(facts),
        verdict=tuple(_verdict(names, lines)),
        tables=(table,),
    )


def _names(groups: Sequence[Group]) -> list[str]:
    """Name each board: by its device, and by its machine where two share a device."""
    devices = [clean(group.device.name, 30) for group in groups]
    return [
        f"{name} #{group.rows[0].machine[:6]}" if devices.count(name) > 1 else name
        for name, group in zip(devices, groups, strict=True)
    ]


def _line(row: Row) -> _Line:
    changed = row.settings.model_dump(exclude_defaults=True)
    words = [f"{name}={value}" for name, value in changed.items()]
    return _Line(row.artifact.model, row.level, row.artifact.format, "\n".join(words))


def _verdict(names: Sequence[str], lines: Sequence[dict[_Line, Row]]) -> list[str]:
    """Say where the same artifact is fastest, over all that every device has measured."""
    shared = [key for key in lines[0] if all(key in rows for rows in lines)]
    if not shared:
        return ["No artifact was measured on all of these devices with the same settings."]
    pace = [_typical([rows[key] for key in shared]) for rows in lines]
    best, last = max(pace), min(pace)
    fastest, slowest = names[pace.index(best)], names[pace.index(last)]
    over = counted(len(shared), "artifact that all have", "artifacts that all have")
    return [f"{fastest} generates {best / last:.1f} times as fast as {slowest}, over {over}."]


def _typical(rows: Sequence[Row]) -> float:
    """Return the geometric mean of rows' decode."""
    rates = [row.decode.value for row in rows if row.decode]
    return math.exp(math.fsum(map(math.log, rates)) / len(rates))


def _boundary(rows: Mapping[_Line, Row]) -> str:
    """Name what a joule includes: those of two boundaries are not compared."""
    told = {row.energy.boundary for row in rows.values() if row.energy and row.energy.boundary}
    return f" ({', '.join(sorted(told))})" if told else ""

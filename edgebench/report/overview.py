"""Put a report together: the answer, devices side by side, each table with its charts, the origins.

Knows groups, runs, and which parts a report has. Draws and measures nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgebench.analyze.choosing import Aspect, front
from edgebench.analyze.compare import Group
from edgebench.records.base import clean
from edgebench.records.run import Run
from edgebench.report.boards import side_by_side
from edgebench.report.charts import against, bars, flat
from edgebench.report.content import Chart, Column, Section, Table
from edgebench.report.format import DAY, counted, duration, mebibytes
from edgebench.report.measured import Measured, measured, row_labels
from edgebench.report.spreads import divergences, latency, over_devices
from edgebench.report.tables import sections
from edgebench.report.traces import heat, memory_by_context, power

MOST_CHARTED = 24  # tables that are drawn, the newest; the others stand as tables
NAMED = 6  # rows of a front that the answer names
RUN_COLUMNS = (
    "artifact", "measured", "device", "when", "status", "launches", "measured again", "took",
    "runtime", "run",
)  # fmt: skip
ASPECTS: tuple[Aspect, ...] = ("decode", "memory", "energy", "accuracy", "divergence")


@dataclass(frozen=True)
class Report:
    """A titled list of sections, the answer first."""

    title: str
    sections: tuple[Section, ...]


def make_report(groups: Sequence[Group], runs: Sequence[Run], title: str | None = None) -> Report:
    """Return the report of compared groups and of the runs that they were made of."""
    held = measured(runs)
    ordered = sorted(groups, key=lambda group: group.newest, reverse=True)
    charted = {id(group) for group in ordered[:MOST_CHARTED]}
    own = sections(groups)
    titled = [  # what the answer says isn't said twice
        replace(section, verdict=section.verdict if len(section.verdict) > NAMED else ())
        for section in own
    ]
    parts = [
        _drawn(section, group, held) if id(group) in charted else _not_drawn(section)
        for section, group in zip(titled, groups, strict=True)
    ]
    warnings, parts = _warnings(parts)
    boards = side_by_side(groups)
    spread = over_devices(groups)
    if boards:
        boards[0] = replace(boards[0], charts=tuple(spread))
    return Report(
        title=clean(title or _title(groups), 200),
        sections=(_answer(own, groups, runs), *boards, *warnings, *parts, _origins(runs)),
    )


def _title(groups: Sequence[Group]) -> str:
    models = list(dict.fromkeys(model for group in groups for model in group.models))
    devices = list(dict.fromkeys(group.device.name for group in groups))
    what = models[0] if len(models) == 1 else f"{len(models)} models"
    where = devices[0] if len(devices) == 1 else f"{len(devices)} devices"
    return f"{what} on {where}"


def _answer(own: Sequence[Section], groups: Sequence[Group], runs: Sequence[Run]) -> Section:
    """Say first what the figures come to: each table's verdict, and what none beats."""
    days = sorted(run.created[:DAY] for run in runs)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    failed = sum(run.status != "ok" for run in runs)
    fact = f"{counted(len(runs), 'run')} of {when}" + f", {failed} of them failed" * bool(failed)
    lines = []
    for section, group in zip(own, groups, strict=True):
        left = len(section.verdict) - NAMED
        more = [f"{counted(left, 'more sentence')} above the table."] if left > 0 else []
        words = [*section.verdict[:NAMED], *more, *_best(group)] or [
            "no figure that could be judged."
        ]
        lines += [f"{section.title}: {' '.join(words)}"] if len(groups) > 1 else words
    return Section("The answer", facts=(clean(f"{fact}."),), verdict=tuple(lines))


def _best(group: Group) -> list[str]:
    """Name the rows that no other beats in all that was measured."""
    good = [row for row in group.rows if (row.speed if group.workload else row.is_good)]
    best = front(good, group.tasks, ASPECTS)
    if len(good) < 2:
        return []
    labels = row_labels(group.rows)
    names = [flat(labels[row.key]) for row in best]
    if len(names) == len(good):
        return ["None is shown to be beaten in all respects (Pareto)."]
    told = ", ".join(names[:NAMED]) + f" and {len(names) - NAMED} more" * (len(names) > NAMED)
    return [f"Best trade-offs (Pareto): {told}."]


def _not_drawn(section: Section) -> Section:
    note = f"Not drawn: only the {MOST_CHARTED} newest tables are."
    return replace(section, notes=(*section.notes, note))


def _drawn(section: Section, group: Group, runs: Measured) -> Section:
    """Add a table's charts, and a line for each kind that has no data."""
    if not any(row.is_good for row in group.rows):
        return section
    kinds: dict[str, Sequence[Chart | None]] = {
        "accuracy against speed (what was timed answered no task)": against(group),
        "bars (no figure)": bars(group),
        "latency (no run kept each token's time)": [latency(group, runs)],
        "divergence (none was measured)": divergences(group),
        "power (no readings are stored)": power(group, runs),
        "temperature and clocks (this machine tells none)": heat(group, runs),
        "memory by context (no run says how large its KV cache is)": [
            memory_by_context(group, runs)
        ],
    }
    charts = tuple(chart for made in kinds.values() for chart in made if chart)
    absent = [why for why, made in kinds.items() if not any(made)]
    notes = (f"Not drawn: {'; '.join(absent)}.",) if absent else ()
    return replace(section, charts=charts, notes=(*section.notes, *notes))


def _warnings(parts: Sequence[Section]) -> tuple[list[Section], list[Section]]:
    """Take what tables are warned of out of their notes, to tell it in one place."""
    told: dict[str, None] = {}
    left = []
    for part in parts:
        start = f"{part.title}: " if len(parts) > 1 else ""
        warned = [note for note in part.notes if note.startswith("! ")]
        told |= dict.fromkeys(start + note[2:] for note in warned)
        notes = tuple(note for note in part.notes if note not in warned)
        left.append(replace(part, notes=notes))
    facts = (f"{counted(len(told), 'warning')} on what was measured, and how.",)
    return ([Section("Warnings", facts=facts, notes=tuple(told))] if told else []), left


def _origins(runs: Sequence[Run]) -> Section:
    """Say where every figure comes from: machines, artifacts, runs."""
    return Section(
        "Conditions and provenance", tables=(_machines(runs), _artifacts(runs), _runs(runs))
    )


def _machines(runs: Sequence[Run]) -> Table:
    columns = ("device", "board", "processor", "GPU", "memory", "system", "power mode", "machine")
    rows = dict.fromkeys(
        (
            clean(run.device.name, 40),
            clean(run.device.board or "", 60),
            clean(run.device.cpu or "", 80),
            clean(run.device.gpu or "", 80),
            mebibytes(run.device.memory_bytes),
            clean(
                " ".join(
                    part for part in (run.device.os, run.device.kernel, run.device.l4t) if part
                ),
                120,
            ),
            clean(run.device.power_mode or "", 40),
            clean(run.device.machine or "", 16),
        )
        for run in runs
    )
    return Table("Machines", _columns(columns), tuple(rows)).filled()


def _artifacts(runs: Sequence[Run]) -> Table:
    columns = ("artifact", "format", "level", "file", "bits a weight", "made from", "sha256")
    rows = dict.fromkeys(
        (
            clean(run.artifact.name, 80),
            run.artifact.format,
            clean(run.artifact.level, 24),
            mebibytes(run.artifact.size_bytes),
            f"{run.artifact.bits_per_weight:.2f}",
            clean(run.artifact.requantized_from or "", 24),
            clean(run.artifact.sha256, 16),
        )
        for run in runs
    )
    return Table("Artifacts", _columns(columns), tuple(rows)).filled()


def _runs(runs: Sequence[Run]) -> Table:
    rows = []
    for run in sorted(runs, key=lambda run: run.created, reverse=True):
        launches = len(run.speed.launches) if run.speed else 0
        discarded = run.speed.discarded if run.speed else 0
        runtime = f"{run.runtime.name} {run.runtime.version}" if run.runtime else ""
        error = f": {run.error.message}" if run.error else ""
        rows.append(
            (
                clean(run.artifact.name, 80),
                clean(run.label, 40),
                clean(run.device.name, 40),
                clean(run.created[:16].replace("T", " "), 20),
                clean(f"{run.status}{error}", 200),
                str(launches or ""),
                str(discarded or ""),
                duration(run.wall_s) if run.wall_s else "",
                clean(runtime, 80),
                clean(run.run_id, 8),
            )
        )
    return Table("Runs", _columns(RUN_COLUMNS), tuple(rows)).filled()


def _columns(names: Sequence[str]) -> tuple[Column, ...]:
    return tuple(Column(name) for name in names)

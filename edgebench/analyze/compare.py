"""Set models, levels and settings side by side, with paired differences from a baseline.

Knows rows and which of them may stand in one table. Differences are taken over the same items and
the same rounds alone; where these are not the same there is none, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from edgebench.analyze.baseline import Baseline, choose_baseline, named_artifact, reference_row
from edgebench.analyze.names import settings_shared
from edgebench.analyze.pairs import paired
from edgebench.analyze.rows import EnergyFigures, Row, TaskFigures
from edgebench.analyze.setups import Job
from edgebench.analyze.speeds import SpeedRatio, decode_ratio
from edgebench.errors import UsageError
from edgebench.figures.energy import common_source, of_source, reason_without
from edgebench.records.base import Record, Told
from edgebench.records.device import DeviceInfo
from edgebench.records.settings import Workload
from edgebench.stats.estimates import holm

MARGIN = 0.01  # the loss of accuracy that most people would not mind

Key = tuple[object, ...]
Paired = dict[tuple[int, int, int], TaskFigures]  # by the records that are held together


class Group(Record):
    """Rows that may be compared: one machine, its conditions and a workload, a runtime a format."""

    device: DeviceInfo
    setup: Told
    used: Told = Field(default="", description="what all rows were set to")
    models: tuple[Told, ...]
    workload: Workload | None
    after_prompt: bool
    runtimes: dict[str, str] = Field(default={}, description="format -> its runtime")
    baselines: dict[str, Baseline] = Field(default={}, description="by model")
    margin: float = MARGIN
    rows: tuple[Row, ...]

    @property
    def baseline_name(self) -> str:
        """Return what differences are from: a level, an artifact, or each model's reference."""
        told = {baseline.artifact.name: baseline for baseline in self.baselines.values()}
        if len(told) == 1:
            (baseline,) = told.values()
            return baseline.level if len(self.models) == 1 else baseline.artifact.name
        return "reference" if told else ""

    @property
    def workload_name(self) -> str | None:
        """Return the workload's name."""
        return self.workload.name if self.workload else None

    @property
    def newest(self) -> str:
        """Return when the newest good run was made; empty where there is none."""
        return max(row.newest for row in self.rows)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Return the names of all tasks that any row answered."""
        return tuple(dict.fromkeys(task.task for row in self.rows for task in row.tasks))

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the names of all texts over which levels were compared."""
        return tuple(
            dict.fromkeys(divergence.text for row in self.rows for divergence in row.divergences)
        )


def compare(
    rows: Sequence[Row],
    baseline: str | None = None,
    margin: float = MARGIN,
    against: str | None = None,
) -> list[Group]:
    """Group rows and add each one's paired differences from its model's baseline.

    `margin` is the loss, as a share of items, that a level is asked to stay within; `against`
    names an artifact that rows of every model are held against. Raises UsageError where the level
    or the artifact named has no good run.
    """
    levels = {row.level for row in rows}
    if baseline and baseline not in levels:
        raise UsageError(
            f"no run of level {baseline!r}", hint=f"measured: {', '.join(sorted(levels))}"
        )
    families: dict[Key, list[Row]] = {}
    machines: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault((row.machine, row.artifact.model), []).append(row)
        machines.setdefault(row.machine, []).append(row)
    chosen: dict[Key, Baseline | None] = {}
    for key, family in families.items():
        has_level = any(row.level == baseline for row in family)
        chosen[key] = choose_baseline(family, baseline if has_level else None)
    if against is not None:
        common = named_artifact(rows, against)
        chosen = dict.fromkeys(families, common)
    return [
        _group(members, machines[members[0].machine], chosen, margin) for members in _tables(rows)
    ]


def _tables(rows: Sequence[Row]) -> list[list[Row]]:
    """Part rows into tables; an artifact that only answered tasks joins those of its machine."""
    timed: dict[Key, list[Row]] = {}
    for row in rows:
        if row.workload:
            job = Job.of(row.workload, row.after_prompt)
            timed.setdefault((*_place(row), job), []).append(row)
    tables = [part for members in timed.values() for part in _one_build(members)]
    left: dict[Key, list[Row]] = {}
    for row in rows:
        if row.workload is None and not _join(row, tables):
            left.setdefault(_place(row), []).append(row)
    return tables + [part for members in left.values() for part in _one_build(members)]


def _place(row: Row) -> Key:
    return (row.machine, row.device.name, row.device.board, row.setup)


def _join(row: Row, tables: Sequence[list[Row]]) -> bool:
    """Add a row without a workload to the tables where it tells something; say if there are any."""
    joined = False
    for members in tables:
        same_format = [
            member for member in members if member.artifact.format == row.artifact.format
        ]
        runs_there = all(member.runtime == row.runtime for member in same_format)
        alike = (members[0].machine, members[0].device.name) == (row.machine, row.device.name)
        if alike and runs_there and not any(_answers_alike(member, row) for member in members):
            members.append(row)
            joined = True
    return joined


def _answers_alike(member: Row, row: Row) -> bool:
    return (member.content, member.arithmetic) == (row.content, row.arithmetic)


def _one_build(rows: Sequence[Row]) -> list[list[Row]]:
    """Part rows where a format was run by two builds."""
    runtimes: dict[str, set[str]] = {}
    for row in rows:
        runtimes.setdefault(row.artifact.format, set()).add(row.runtime)
    if all(len(builds) == 1 for builds in runtimes.values()):
        return [list(rows)]
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(row.runtime, []).append(row)
    return list(parts.values())


def _group(
    rows: Sequence[Row],
    machine: Sequence[Row],
    chosen: Mapping[Key, Baseline | None],
    margin: float,
) -> Group:
    largest: dict[str, int] = {}
    for row in rows:
        size = max(row.artifact.parameters, largest.get(row.artifact.model, 0))
        largest[row.artifact.model] = size
    ordered = sorted(
        rows,
        key=lambda row: (
            -largest[row.artifact.model],
            row.artifact.model,
            row.artifact.format != "torch",
            -row.artifact.bits_per_weight,
            row.artifact.name,
            row.content,
            row.used,
        ),
    )
    first = next((row for row in ordered if row.workload), ordered[0])
    models = tuple(dict.fromkeys(row.artifact.model for row in ordered))
    baselines = {
        model: baseline
        for model in models
        if (baseline := chosen[first.machine, model]) is not None
    }
    members = _with_one_source(ordered)
    members = _with_losses(members, baselines, machine, margin)
    members = _with_ratios(members, baselines)
    return Group(
        device=first.device,
        setup=first.setup,
        used=settings_shared([row for row in members if row.workload] or members),
        models=models,
        workload=first.workload,
        after_prompt=first.after_prompt,
        runtimes={row.artifact.format: row.runtime for row in ordered if row.runtime},
        baselines=baselines,
        margin=margin,
        rows=tuple(members),
    )


def _with_one_source(rows: Sequence[Row]) -> list[Row]:
    """Give all rows the energy of one source, or none where they have none in common."""
    measured = [row for row in rows if row.speed and row.energies]
    if not measured:
        return list(rows)
    source = common_source([row.energies for row in measured], measured[0].provider)
    chosen = {id(row) for row in measured}
    return [_by_source(row, source) if id(row) in chosen else row for row in rows]


def _by_source(row: Row, source: str | None) -> Row:
    energy = of_source(row.energies, source)
    launches = len(row.speed.launches) if row.speed else 0
    figures = EnergyFigures.of(energy, launches) if energy else None
    reason = None if figures else reason_without(row.energies, row.provider, source)
    return row.model_copy(update={"energy": figures, "energy_reason": reason})


def _with_losses(
    rows: Sequence[Row], baselines: Mapping[str, Baseline], machine: Sequence[Row], margin: float
) -> list[Row]:
    judged = []
    paired_tasks: Paired = {}  # rows that differ in threads alone hold the same answers
    for row in rows:
        baseline = baselines.get(row.artifact.model)
        if baseline:
            row = _judged(row, baseline, machine, margin, paired_tasks)
        judged.append(row)
    for name in {task.task for row in judged for task in row.tasks}:
        judged = _corrected(judged, name)
    return judged


def _judged(
    row: Row, baseline: Baseline, machine: Sequence[Row], margin: float, known: Paired
) -> Row:
    """Hold a row's answers against the baseline's; the baseline itself is held against none."""
    held = reference_row(baseline, machine, row)
    is_it = held is not None and _answers_alike(row, held)
    tasks = row.tasks
    if not is_it:
        tasks = tuple(_paired(row, task, baseline, machine, margin, known) for task in row.tasks)
    update = {"is_baseline": is_it, "baseline": baseline.artifact.name, "tasks": tasks}
    return row.model_copy(update=update)


def _paired(
    row: Row,
    task: TaskFigures,
    baseline: Baseline,
    machine: Sequence[Row],
    margin: float,
    known: Paired,
) -> TaskFigures:
    held = reference_row(baseline, machine, row, task.task)
    theirs = held.task(task.task) if held else None
    key = id(task), id(theirs), id(baseline)
    if key not in known:
        known[key] = paired(task, baseline.artifact, theirs, margin)
    return known[key]


def _corrected(rows: Sequence[Row], name: str) -> list[Row]:
    """Correct the p-values of one task across levels (Holm)."""
    told = [row.task(name) for row in rows]
    values = [task.p_value for task in told if task and task.p_value is not None]
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


def _with_ratios(rows: Sequence[Row], baselines: Mapping[str, Baseline]) -> list[Row]:
    """Add each row's decode as a multiple of its baseline's, corrected over rows (Holm)."""
    ratios: dict[str, SpeedRatio] = {}
    for row in rows:
        theirs = _timed_baseline(row, baselines.get(row.artifact.model), rows)
        if row.speed and theirs and theirs.speed and theirs is not row:
            ratios[row.key] = decode_ratio(row.speed, theirs.speed)
    shown = {key: ratio.p_value for key, ratio in ratios.items() if ratio.p_value is not None}
    adjusted = dict(zip(shown, holm(list(shown.values())), strict=True))
    return [
        row.model_copy(
            update={
                "decode_ratio": ratios[row.key].model_copy(update={"p_holm": adjusted.get(row.key)})
            }
        )
        if row.key in ratios
        else row
        for row in rows
    ]


def _timed_baseline(row: Row, baseline: Baseline | None, rows: Sequence[Row]) -> Row | None:
    """Return the baseline's row of the same settings, else its only one."""
    timed = [
        other
        for other in rows
        if baseline is not None and other.content == baseline.content and other.speed
    ]
    alike = [other for other in timed if other.used == row.used]
    return next(iter(alike), timed[0] if len(timed) == 1 else None)

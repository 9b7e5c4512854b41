"""Set levels of one model side by side, with paired differences from a baseline.

Knows rows and which of them may stand in one table. Differences are taken over the same items and
the same rounds alone; where these are not the same there is none, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from edgebench.analyze.baseline import Baseline, answers_of, choose_baseline
from edgebench.analyze.pairs import paired
from edgebench.analyze.rows import EnergyFigures, Row
from edgebench.analyze.setups import Job
from edgebench.analyze.speeds import decode_ratio
from edgebench.errors import UsageError
from edgebench.figures.energy import common_source, of_source, reason_without
from edgebench.records.base import Record, Told
from edgebench.records.device import DeviceInfo
from edgebench.records.settings import Workload
from edgebench.stats.estimates import holm

MARGIN = 0.01  # the loss of accuracy that most people would not mind

Key = tuple[object, ...]


class Group(Record):
    """Rows that may be compared: one machine, set-up, model and workload, a runtime a format."""

    device: DeviceInfo
    setup: Told
    model: Told
    workload: Workload | None
    after_prompt: bool
    runtimes: dict[str, str] = Field(default={}, description="format -> its runtime")
    baseline: Baseline | None
    margin: float = MARGIN
    rows: tuple[Row, ...]

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
    rows: Sequence[Row], baseline: str | None = None, margin: float = MARGIN
) -> list[Group]:
    """Group rows and add each one's paired differences from its model's baseline.

    `margin` is the loss, as a share of items, that a level is asked to stay within. Raises
    UsageError where the level named as baseline has no good run.
    """
    levels = {row.level for row in rows}
    if baseline and baseline not in levels:
        raise UsageError(
            f"no run of level {baseline!r}", hint=f"measured: {', '.join(sorted(levels))}"
        )
    families: dict[Key, list[Row]] = {}
    for row in rows:
        families.setdefault((row.machine, row.artifact.model), []).append(row)
    chosen = {key: choose_baseline(family, baseline) for key, family in families.items()}
    groups = []
    for members in _tables(rows):
        key = (members[0].machine, members[0].artifact.model)
        groups.append(_group(members, chosen[key], families[key], margin))
    return groups


def _tables(rows: Sequence[Row]) -> list[list[Row]]:
    """Part rows into tables; an artifact that only answered tasks joins those of its model."""
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
    return (row.machine, row.device.name, row.device.board, row.setup, row.artifact.model)


def _join(row: Row, tables: Sequence[list[Row]]) -> bool:
    """Add a row without a workload to the tables where it tells something; say if there are any."""
    joined = False
    for members in tables:
        first = members[0]
        alike = (first.machine, first.device.name, first.artifact.model) == (
            row.machine,
            row.device.name,
            row.artifact.model,
        )
        same_format = [
            member for member in members if member.artifact.format == row.artifact.format
        ]
        runs_there = all(member.arithmetic == row.arithmetic for member in same_format)
        if alike and runs_there and row.content not in {member.content for member in members}:
            members.append(row)
            joined = True
    return joined


def _one_build(rows: Sequence[Row]) -> list[list[Row]]:
    """Part rows where a format was run by two builds, or an artifact with two types of cache."""
    runtimes: dict[str, set[str]] = {}
    for row in rows:
        runtimes.setdefault(row.artifact.format, set()).add(row.runtime)
    once = len({row.content for row in rows}) == len(rows)
    if once and all(len(builds) == 1 for builds in runtimes.values()):
        return [list(rows)]
    parts: dict[Key, list[Row]] = {}
    for row in rows:
        parts.setdefault((row.runtime, row.cache), []).append(row)
    return list(parts.values())


def _group(
    rows: Sequence[Row], baseline: Baseline | None, family: Sequence[Row], margin: float
) -> Group:
    ordered = sorted(
        rows,
        key=lambda row: (
            row.artifact.format != "torch",
            -row.artifact.bits_per_weight,
            row.artifact.name,
            row.content,
        ),
    )
    first = next((row for row in ordered if row.workload), ordered[0])
    members = _with_one_source(ordered)
    if baseline:
        members = _with_losses(members, baseline, family, margin)
        members = _with_ratios(members, baseline)
    return Group(
        device=first.device,
        setup=first.setup,
        model=first.artifact.model,
        workload=first.workload,
        after_prompt=first.after_prompt,
        runtimes={row.artifact.format: row.runtime for row in ordered if row.runtime},
        baseline=baseline,
        margin=margin,
        rows=tuple(members),
    )


def _with_one_source(rows: Sequence[Row]) -> list[Row]:
    """Give all rows the energy of one source, or none where they have none in common."""
    measured = [row for row in rows if row.speed and row.energies]
    if not measured:
        return list(rows)
    source = common_source([row.energies for row in measured], measured[0].provider)
    return [_by_source(row, source) if row in measured else row for row in rows]


def _by_source(row: Row, source: str | None) -> Row:
    energy = of_source(row.energies, source)
    launches = len(row.speed.launches) if row.speed else 0
    figures = EnergyFigures.of(energy, launches) if energy else None
    reason = None if figures else reason_without(row.energies, row.provider, source)
    return row.model_copy(update={"energy": figures, "energy_reason": reason})


def _with_losses(
    rows: Sequence[Row], baseline: Baseline, family: Sequence[Row], margin: float
) -> list[Row]:
    judged = [
        row
        if row.content == baseline.content
        else row.model_copy(
            update={
                "tasks": tuple(
                    paired(
                        task,
                        baseline.artifact,
                        answers_of(baseline, family, row, task.task),
                        margin,
                    )
                    for task in row.tasks
                )
            }
        )
        for row in rows
    ]
    for name in {task.task for row in judged for task in row.tasks}:
        judged = _corrected(judged, name)
    return judged


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


def _with_ratios(rows: Sequence[Row], baseline: Baseline) -> list[Row]:
    """Add each row's decode as a multiple of the baseline's, corrected over rows (Holm)."""
    theirs = next((row.speed for row in rows if row.content == baseline.content), None)
    if theirs is None:
        return list(rows)
    ratios = {
        row.content: decode_ratio(row.speed, theirs)
        for row in rows
        if row.speed and row.content != baseline.content
    }
    shown = {key: ratio.p_value for key, ratio in ratios.items() if ratio.p_value is not None}
    adjusted = dict(zip(shown, holm(list(shown.values())), strict=True))
    return [
        row.model_copy(
            update={
                "decode_ratio": ratios[row.content].model_copy(
                    update={"p_holm": adjusted.get(row.content)}
                )
            }
        )
        if row.content in ratios
        else row
        for row in rows
    ]

"""Make one row of each artifact, set-up and workload from the stored runs.

Knows which runs belong together and which of them count: of one case the newest, also where it
failed. Answers belong to an artifact's bytes and to the arithmetic that made them, so they stand
beside every speed that the artifact has on that machine. Compares nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, computed_field

from edgebench.analyze.setups import Job, Placed, content_of, placed
from edgebench.analyze.speeds import SpeedFigures, SpeedRatio, speed_figures, was_throttled
from edgebench.figures.energy import reason_without, source_for
from edgebench.figures.memory import Deployment, deployment_bytes
from edgebench.records.accuracy import Accuracy, Divergence, ItemResult, RaceResult
from edgebench.records.artifact import Artifact
from edgebench.records.base import Count, Estimate, Record, Told
from edgebench.records.device import DeviceInfo
from edgebench.records.energy import Energy
from edgebench.records.run import Run
from edgebench.records.settings import Settings, Workload
from edgebench.stats.clusters import clusters_of


class TaskFigures(Record):
    """An artifact's accuracy at one task, and its paired difference from the baseline."""

    task: Told
    n: Count
    chance: float
    accuracy: Estimate
    difference: Estimate | None = None
    p_value: float | None = None
    p_holm: float | None = None
    why_no_difference: Told | None = None
    task_sha256: Told = ""
    metric: Told = ""
    majority: float | None = None
    skipped: Count = 0
    population: Count | None = None
    clusters: Count | None = None
    race: RaceResult | None = None
    margin: float | None = None
    no_worse: Literal["holds", "worse", "open"] | None = Field(
        default=None, description="than the baseline by more than the margin"
    )
    items_needed: Count | None = Field(default=None, description="more, to decide no_worse")
    wall_s: float = Field(default=0.0, description="what answering took")
    items: tuple[ItemResult, ...] = Field(default=(), exclude=True)
    reference_items: tuple[ItemResult, ...] = Field(
        default=(), exclude=True, description="the baseline's answers to the same items, in order"
    )


class Failure(Record):
    """A workload or task whose newest run has no figures."""

    label: Told
    is_task: bool
    status: Told
    message: Told
    hint: Told = ""
    replaced: Told | None = Field(
        default=None, description="when the older good run was made that no longer counts"
    )

    @property
    def words(self) -> str:
        """Say what failed, and that it did not always."""
        again = f" (a good run of {self.replaced[:10]} no longer counts)" if self.replaced else ""
        return f"{self.label} {self.status}: {self.message}{again}"


class EnergyFigures(Record):
    """Joules a generated token, by one source."""

    j_per_token: Estimate
    source: Told
    kind: Literal["measured", "derived", "estimated"]
    boundary: Told | None = None

    @classmethod
    def of(cls, energy: Energy, launches: int) -> EnergyFigures | None:
        """Return what a source says of decode; None where it says nothing.

        Runs before 0.2 have no launches: their interval held for one process, and is left out.
        """
        if energy.decode is None:
            return None
        joules = energy.decode.j_per_token
        if not launches:
            joules = Estimate(value=joules.value, n=1, method="one launch, too few to say more")
        return cls(
            j_per_token=joules,
            source=energy.source,
            kind=energy.kind,
            boundary=energy.boundary,
        )


class Row(Record):
    """The figures of one artifact in one set-up and one choice of settings with one workload."""

    artifact: Artifact
    device: DeviceInfo
    machine: Told
    setup: Told = Field(description="the machine's conditions: power mode, governor, ...")
    used: Told = Field(default="", description="threads and settings, in words")
    runtime: Told
    cache: Told
    arithmetic: Told
    provider: Told = "cpu"
    threads: Count | None = None
    flash_attention: Told = Field(default="", description="what `auto` came to")
    settings: Settings = Settings()
    workload: Workload | None = None
    after_prompt: bool = True
    speed: SpeedFigures | None = None
    is_baseline: bool = False
    baseline: Told | None = Field(default=None, description="the artifact it is held against")
    decode_ratio: SpeedRatio | None = Field(default=None, description="to the baseline")
    memory: Deployment | None = None
    energy: EnergyFigures | None = None
    energy_reason: Told | None = None
    energies: tuple[Energy, ...] = Field(default=(), exclude=True)
    tasks: tuple[TaskFigures, ...] = ()
    divergences: tuple[Divergence, ...] = ()
    throttled: bool = False
    warnings: tuple[Told, ...] = ()
    failures: tuple[Failure, ...] = ()
    newest: Told = Field(default="", description="when the newest good run was made")
    wall_s: float = Field(default=0.0, description="what measuring the workload took")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def level(self) -> str:
        """Return the artifact's level."""
        return self.artifact.level

    @property
    def content(self) -> str:
        """Tell the artifact's bytes."""
        return content_of(self.artifact)

    @property
    def key(self) -> str:
        """Tell the row from others of its table: the artifact's bytes and the settings."""
        return "|".join([self.machine, self.content, self.used, self.cache])

    @property
    def decode(self) -> Estimate | None:
        """Return the generated tokens a second."""
        return self.speed.decode if self.speed else None

    @property
    def is_good(self) -> bool:
        """Return whether there is any figure at all."""
        return bool(self.speed or self.tasks or self.divergences)

    def task(self, name: str) -> TaskFigures | None:
        """Return the figures of a task, or None."""
        return next((task for task in self.tasks if task.task == name), None)

    def failure(self, label: str) -> Failure | None:
        """Return how a workload or task failed, or None."""
        return next((failure for failure in self.failures if failure.label == label), None)


@dataclass(frozen=True)
class _Place:
    """What the runs of one row share beside the workload."""

    machine: str
    device: str
    board: str | None
    conditions: str
    settings: str
    runtime: str
    cache: str
    content: str

    @classmethod
    def of(cls, placed_run: Placed) -> _Place:
        device, setup = placed_run.run.device, placed_run.setup
        return cls(
            placed_run.machine,
            device.name,
            device.board,
            setup.conditions,
            setup.settings,
            setup.runtime,
            setup.cache,
            placed_run.content,
        )


@dataclass(frozen=True)
class _Answering:
    """What decides an artifact's answers: its bytes and how they were computed."""

    machine: str
    arithmetic: str
    content: str

    @classmethod
    def of(cls, placed_run: Placed) -> _Answering:
        return cls(placed_run.machine, placed_run.setup.arithmetic, placed_run.content)


def summarize(runs: Iterable[Run]) -> list[Row]:
    """Return one row for each artifact, set-up and workload, whatever order the runs come in."""
    ordered = placed(runs)
    answered: dict[_Answering, list[Placed]] = {}
    timed: dict[tuple[_Place, Job], list[Placed]] = {}
    for placed_run in ordered:
        if placed_run.run.workload is None:
            answered.setdefault(_Answering.of(placed_run), []).append(placed_run)
        else:
            job = Job.of(placed_run.run.workload, placed_run.after_prompt)
            timed.setdefault((_Place.of(placed_run), job), []).append(placed_run)
    rows = [
        _row(members, answered.get(_Answering.of(members[-1]), ())) for members in timed.values()
    ]
    with_speed = {_Answering.of(members[-1]) for members in timed.values()}
    alone = [members for key, members in answered.items() if key not in with_speed]
    return rows + [_row((), members) for members in alone]


def _row(timed: Sequence[Placed], answered: Sequence[Placed]) -> Row:
    """Make a row of a case's runs and of the artifact's answers, each from old to new."""
    last = (timed or answered)[-1]
    run = last.run
    answers = _newest_by_label(answered)
    good = [
        placed_run.run
        for placed_run in ([last] if timed else []) + answers
        if placed_run.run.status == "ok"
    ]
    energy = source_for(run.energy, _provider(run)) if run.speed else None
    launches = len(run.speed.launches) if run.speed else 0
    figures = EnergyFigures.of(energy, launches) if energy else None
    return Row(
        **_identity(last),
        speed=speed_figures(run.speed) if run.status == "ok" and run.speed else None,
        memory=deployment_bytes(run) if run.status == "ok" and timed else None,
        energy=figures,
        energy_reason=None if figures or not run.speed else _no_energy(run),
        energies=run.energy,
        tasks=tuple(
            _task(placed_run.run, placed_run.run.accuracy)
            for placed_run in answers
            if placed_run.run.accuracy
        ),
        divergences=tuple(
            placed_run.run.divergence for placed_run in answers if placed_run.run.divergence
        ),
        throttled=bool(timed) and was_throttled(run),
        warnings=tuple(dict.fromkeys(words for other in good for words in _warnings(other))),
        failures=_failures(timed, answered),
        newest=max((other.created for other in good), default=""),
        wall_s=run.wall_s,
    )


def _warnings(run: Run) -> list[str]:
    """Return what a run warns of, and which figures it lacks."""
    absent = [f"{figure}: {why}" for figure, why in run.absent.items()]
    return [*run.conditions.warnings, *absent]


def _identity(last: Placed) -> dict[str, Any]:
    """Return a row's fields that say what was measured, where and with what."""
    run = last.run
    return {
        "artifact": run.artifact,
        "device": run.device,
        "machine": last.machine,
        "setup": last.setup.conditions,
        "used": last.setup.settings,
        "runtime": last.setup.runtime,
        "cache": last.setup.cache,
        "arithmetic": last.setup.arithmetic,
        "provider": _provider(run),
        "threads": run.runtime.threads if run.runtime else None,
        "flash_attention": run.runtime.flash_attention if run.runtime else "",
        "settings": run.settings,
        "workload": run.workload,
        "after_prompt": last.after_prompt,
    }


def _newest_by_label(answered: Sequence[Placed]) -> list[Placed]:
    """Return each task's and text's newest run, where that is good.

    Of runs of one version of a task, one that answered every item counts before a race's part.
    """
    newest: dict[str, Placed] = {}
    for placed_run in answered:
        before = newest.get(placed_run.run.label)
        if before is None or not _says_less(placed_run.run, before.run):
            newest[placed_run.run.label] = placed_run
    return [placed_run for placed_run in newest.values() if placed_run.run.status == "ok"]


def _says_less(run: Run, before: Run) -> bool:
    if run.accuracy is None or before.accuracy is None:
        return False
    same = run.accuracy.task_sha256 == before.accuracy.task_sha256
    partial = run.accuracy.population is not None
    return same and partial and before.accuracy.population is None


def _failures(timed: Sequence[Placed], answered: Sequence[Placed]) -> tuple[Failure, ...]:
    by_label: dict[str, list[Run]] = {}
    for placed_run in (*timed, *answered):
        by_label.setdefault(placed_run.run.label if placed_run.run.task else "", []).append(
            placed_run.run
        )
    return tuple(
        _failure(members[-1], members[:-1])
        for members in by_label.values()
        if members[-1].status != "ok"
    )


def _failure(run: Run, before: Sequence[Run]) -> Failure:
    good = [other.created for other in before if other.status == "ok"]
    return Failure(
        label=run.label,
        is_task=run.workload is None,
        status=run.status,
        message=run.error.message if run.error else "no reason was given",
        hint=run.error.hint if run.error else "",
        replaced=max(good, default=None),
    )


def _provider(run: Run) -> str:
    if run.runtime is None:
        return run.settings.provider
    return "gpu" if run.runtime.gpu_layers else run.runtime.provider


def _no_energy(run: Run) -> str | None:
    return reason_without(run.energy, _provider(run)) if run.energy else run.energy_reason


def _task(run: Run, accuracy: Accuracy) -> TaskFigures:
    clusters = clusters_of([item.cluster for item in accuracy.items])
    return TaskFigures(
        task=accuracy.task,
        n=accuracy.n,
        chance=accuracy.chance,
        accuracy=accuracy.value,
        task_sha256=accuracy.task_sha256,
        metric=accuracy.metric,
        majority=accuracy.majority,
        skipped=len(accuracy.skipped),
        population=accuracy.population,
        clusters=len(set(clusters)) if clusters else None,
        race=accuracy.race,
        wall_s=run.wall_s,
        items=accuracy.items,
    )

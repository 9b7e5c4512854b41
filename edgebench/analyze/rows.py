"""Make one row of each artifact, set-up and workload from the stored runs.

Knows which runs belong together and which of them count: of one case the newest, also where it
failed. Answers belong to an artifact's bytes and to the arithmetic that made them, so they stand
beside every speed that the artifact has on that machine. Compares nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, computed_field

from edgebench.analyze.setups import Answering, Job, Place, Placed, content_of, placed
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
from edgebench.run.heads import Head, Seen, seen_of
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


def summarize(runs: Iterable[Run]) -> list[Row]:
    """Return one row for each artifact, set-up and workload, whatever order the runs come in."""
    return summarize_seen(seen_of(runs))


def summarize_seen(
    runs: Iterable[Seen], choose: Callable[[set[str]], set[str]] = lambda devices: devices
) -> list[Row]:
    """Return the rows of runs of which only those are read that count.

    `choose` is told the names of the rows' devices, and returns those whose rows are wanted.
    """
    answered: dict[Answering, list[Placed]] = {}
    timed: dict[tuple[Place, Job], list[Placed]] = {}
    cases: dict[tuple[int, int, str, bool], list[Placed]] = {}
    for held in placed(runs):
        # Runs of one head and place belong to one row: found once for all of them.
        case = (id(held.seen.head), id(held.setup), held.machine, held.after_prompt)
        if case not in cases:
            if held.head.workload is None:
                members = answered.setdefault(Answering.of(held), [])
            else:
                job = Job.of(held.head.workload, held.after_prompt)
                members = timed.setdefault((Place.of(held), job), [])
            cases[case] = members
        cases[case].append(held)
    beside = [(members, Answering.of(members[-1])) for members in timed.values()]
    with_speed = {key for _, key in beside}
    wanted: list[tuple[list[Placed], Answering]] = [
        *beside,
        *(([], key) for key in answered if key not in with_speed),
    ]
    devices = [(members or answered[key])[-1].head.device.name for members, key in wanted]
    chosen = choose(set(devices))
    said = _Saying(answered)
    return [
        _row(members, said.of(key))
        for (members, key), device in zip(wanted, devices, strict=True)
        if device in chosen
    ]


@dataclass(frozen=True)
class _Said:
    """What an artifact answered: all its runs from old to new, and of those that count the rest."""

    answered: Sequence[Placed]
    good: Sequence[Run]
    tasks: tuple[TaskFigures, ...]
    by_label: dict[str, list[Seen]]

    @classmethod
    def of(cls, answered: Sequence[Placed]) -> _Said:
        """Read the runs that count."""
        good = [held.seen.load() for held in _newest_by_label(answered)]
        tasks = tuple(_task(run, run.accuracy) for run in good if run.accuracy)
        return cls(answered, good, tasks, _by_label(answered))


class _Saying:
    """What artifacts answered, read once for all the rows that it stands in."""

    def __init__(self, answered: Mapping[Answering, Sequence[Placed]]) -> None:
        self._answered = answered
        self._read: dict[Answering, _Said] = {}

    def of(self, key: Answering) -> _Said | None:
        """Return what an artifact answered, or None."""
        if key in self._answered and key not in self._read:
            self._read[key] = _Said.of(self._answered[key])
        return self._read.get(key)


def _row(timed: Sequence[Placed], said: _Said | None) -> Row:
    """Make a row of a case's runs, from old to new, and of the artifact's answers."""
    answered = said.answered if said else ()
    answers = said.good if said else ()
    last = (timed or answered)[-1]
    run = last.seen.load()
    good = [*([run] if timed and run.status == "ok" else []), *answers]
    energy = source_for(run.energy, _provider(run)) if run.speed else None
    launches = len(run.speed.launches) if run.speed else 0
    figures = EnergyFigures.of(energy, launches) if energy else None
    return Row(
        **_identity(last, run),
        speed=speed_figures(run.speed) if run.status == "ok" and run.speed else None,
        memory=deployment_bytes(run) if run.status == "ok" and timed else None,
        energy=figures,
        energy_reason=None if figures or not run.speed else _no_energy(run),
        energies=run.energy,
        tasks=said.tasks if said else (),
        divergences=tuple(other.divergence for other in answers if other.divergence),
        throttled=bool(timed) and was_throttled(run),
        warnings=tuple(dict.fromkeys(words for other in good for words in _warnings(other))),
        failures=_failures(timed, said),
        newest=max((other.created for other in good), default=""),
        wall_s=run.wall_s,
    )


def _warnings(run: Run) -> list[str]:
    """Return what a run warns of, and which figures it lacks."""
    absent = [f"{figure}: {why}" for figure, why in run.absent.items()]
    return [*run.conditions.warnings, *absent]


def _identity(last: Placed, run: Run) -> dict[str, Any]:
    """Return a row's fields that say what was measured, where and with what."""
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
    for held in answered:
        before = newest.get(held.head.label)
        if before is None or not _says_less(held.head, before.head):
            newest[held.head.label] = held
    return [held for held in newest.values() if held.head.status == "ok"]


def _says_less(run: Head, before: Head) -> bool:
    if run.task_sha256 is None or before.task_sha256 is None:
        return False
    same = run.task_sha256 == before.task_sha256
    return same and run.is_partial and not before.is_partial


def _failures(timed: Sequence[Placed], said: _Said | None) -> tuple[Failure, ...]:
    """Return the workload and the tasks whose newest run failed."""
    by_label = _by_label(timed)
    for label, members in (said.by_label if said else {}).items():
        by_label[label] = [*by_label[label], *members] if label in by_label else members
    return tuple(
        _failure(members[-1].load(), members[:-1])
        for members in by_label.values()
        if members[-1].head.status != "ok"
    )


def _by_label(placed_runs: Sequence[Placed]) -> dict[str, list[Seen]]:
    by_label: dict[str, list[Seen]] = {}
    for held in placed_runs:
        head = held.seen.head
        by_label.setdefault(head.label if head.task else "", []).append(held.seen)
    return by_label


def _failure(run: Run, before: Sequence[Seen]) -> Failure:
    good = [other.created for other in before if other.head.status == "ok"]
    return Failure(
        label=run.label,
        is_task=run.workload is None,
        status=run.status,
        message=run.error.message if run.error else "no reason was given",
        hint=run.error.hint if run.error else "",
        replaced=max(good, default=None),
    )


def _provider(run: Run) -> str:
    return run.runtime.worked_on if run.runtime else run.settings.provider


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

"""What of a run tells its case and whether it counts, and the figures it was stored with.

A head is small, and shared by the runs of one case; a run of any size is read when it is needed.
Knows records, and where a run stands in a file. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Protocol

from edgebench.records.base import Estimate, Record, Text
from edgebench.records.device import DeviceInfo, RuntimeInfo, Snapshot
from edgebench.records.run import Run, Status
from edgebench.records.settings import Settings, Workload


class Head(Record):
    """What runs of one case have in common, as far as it decides which of them counts."""

    case_id: Text
    status: Status
    artifact: Text = ""
    model: Text = ""
    format: Text
    level: Text = ""
    content: str = ""
    size_bytes: int = 0
    device: DeviceInfo
    settings: Settings = Settings()
    runtime: RuntimeInfo | None = None
    snapshot: Snapshot = Snapshot()
    workload: Workload | None = None
    task: Text | None = None
    label: Text = ""
    has_speed: bool = False
    after_prompt: bool = False
    task_sha256: Text | None = None
    is_partial: bool = False

    @classmethod
    def of(cls, run: Run) -> Head:
        """Return a run's head."""
        artifact, accuracy = run.artifact, run.accuracy
        return cls.model_construct(
            case_id=run.case_id,
            status=run.status,
            artifact=artifact.name,
            model=artifact.model,
            format=artifact.format,
            level=artifact.level,
            content=artifact.content,
            size_bytes=artifact.size_bytes,
            device=run.device,
            settings=run.settings,
            runtime=run.runtime,
            snapshot=_first_snapshot(run),
            workload=run.workload,
            task=run.task,
            label=run.label,
            has_speed=run.speed is not None,
            after_prompt=run.speed is not None and run.speed.decode_from is not None,
            task_sha256=accuracy.task_sha256 if accuracy else None,
            is_partial=accuracy is not None and accuracy.population is not None,
        )


def _first_snapshot(run: Run) -> Snapshot:
    """Return what of the machine's condition at the start keeps runs apart."""
    launches = run.speed.launches if run.speed else ()
    before = run.conditions.before
    if launches and not before.governor:
        before = launches[0].before
    return Snapshot(
        governor=before.governor, clocks_fixed=before.clocks_fixed, on_battery=before.on_battery
    )


@dataclass(frozen=True)
class FigureOfRun:
    """A figure of a run as it was stored: its name, what it means, how it is read."""

    name: str
    meaning: str
    read: Callable[[Run], Estimate | float | None]


FIGURES_OF_RUN = (
    FigureOfRun(
        "prefill_tokens_per_s",
        "prompt tokens read a second",
        lambda run: run.speed.prefill.tokens_per_s if run.speed else None,
    ),
    FigureOfRun(
        "decode_tokens_per_s",
        "tokens generated a second",
        lambda run: run.speed.decode.tokens_per_s if run.speed else None,
    ),
    FigureOfRun(
        "ttft_s", "seconds to the first token", lambda run: run.speed.ttft_s if run.speed else None
    ),
    FigureOfRun(
        "load_s", "seconds to load the model", lambda run: run.speed.load_s if run.speed else None
    ),
    FigureOfRun(
        "launches",
        "worker processes that measured",
        lambda run: float(len(run.speed.launches)) if run.speed else None,
    ),
    FigureOfRun(
        "peak_rss_bytes",
        "the worker's largest memory",
        lambda run: run.memory.peak_rss_bytes if run.memory else None,
    ),
    FigureOfRun(
        "energy_j_per_token",
        "joules a generated token, by the first source that says them",
        lambda run: next((e.decode.j_per_token for e in run.energy if e.decode), None),
    ),
    FigureOfRun(
        "accuracy",
        "share of the task's items that were right",
        lambda run: run.accuracy.value if run.accuracy else None,
    ),
    FigureOfRun(
        "n",
        "items that were answered",
        lambda run: float(run.accuracy.n) if run.accuracy else None,
    ),
    FigureOfRun(
        "mean_kld",
        "mean KL divergence from the reference, in nats a token",
        lambda run: run.divergence.mean_kld if run.divergence else None,
    ),
    FigureOfRun("wall_s", "seconds that the case took", lambda run: run.wall_s),
)


def figures_of(run: Run) -> tuple[float | None, ...]:
    """Return a run's figures as they were stored, in the order of FIGURES_OF_RUN."""
    values = (figure.read(run) for figure in FIGURES_OF_RUN)
    return tuple(
        value.value if isinstance(value, Estimate) else None if value is None else float(value)
        for value in values
    )


UNDATED = datetime.min.replace(tzinfo=timezone.utc)


def moment_of(created: str) -> datetime:
    """Return the moment that a run was made; the beginning of time where it can't be read."""
    try:
        moment = datetime.fromisoformat(created.replace("Z", "+00:00"))
    except ValueError:
        return UNDATED
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


class Source(Protocol):
    """Where a run that was seen comes from."""

    def load(self, seen: Seen) -> Run:
        """Return the run, which may lack its timelines."""
        ...


@dataclass(frozen=True)
class _AtHand:
    run: Run

    def load(self, seen: Seen) -> Run:
        return self.run


class Seen:
    """A run that was seen: its head, and how to come by the rest.

    `place` tells its source which it is: its line's number, where it begins, its bytes.
    """

    __slots__ = ("_figures", "_source", "created", "head", "moment", "place", "run_id")

    def __init__(
        self,
        head: Head,
        told: tuple[str, str],
        source: Source,
        place: tuple[int, int, int] = (0, 0, 0),
        figures: tuple[float | None, ...] | None = None,
    ) -> None:
        self.head, self.place = head, place
        self.run_id, self.created = told
        self.moment = moment_of(self.created)
        self._source, self._figures = source, figures

    @classmethod
    def of(cls, run: Run) -> Seen:
        """Return a run that is at hand as one that was seen."""
        return cls(Head.of(run), (run.run_id, run.created), _AtHand(run))

    def load(self) -> Run:
        """Return the run, which may lack its timelines; read it where it isn't at hand.

        Raises ChangedError where another stands in its place by now.
        """
        return self._source.load(self)

    @property
    def is_dated(self) -> bool:
        """Return whether it says when it was made."""
        return self.moment != UNDATED

    @property
    def figures(self) -> tuple[float | None, ...]:
        """Return the figures that the run was stored with."""
        return figures_of(self.load()) if self._figures is None else self._figures


def seen_of(runs: Iterable[Run]) -> list[Seen]:
    """Return runs that are at hand as runs that were seen."""
    return [Seen.of(run) for run in runs]

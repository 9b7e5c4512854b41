"""A case that is being run: its worker, its time, and the run that it becomes.

Knows what becomes of a case whose worker dies. Knows no kind of case, and no order of cases.
"""

from __future__ import annotations

import datetime
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from edgebench.errors import EdgebenchError
from edgebench.figures.absent import failed_to_compute
from edgebench.plan.cases import Case, ItemsCase, SpeedCase
from edgebench.records.accuracy import Accuracy, Divergence, ItemResult
from edgebench.records.device import Conditions
from edgebench.records.energy import Energy, Timeline
from edgebench.records.messages import (
    AnyRequest,
    DivergenceResult,
    Open,
    Opened,
    ScoreResult,
    SpeedResult,
)
from edgebench.records.run import Run
from edgebench.records.speed import Launch, Memory, Speed
from edgebench.records.timing import Timing
from edgebench.run.bench import Bench
from edgebench.run.transports import Worker, WorkerError
from edgebench.run.whole import readable

Reply = TypeVar("Reply")

NO_ENERGY_OF_TASKS = "energy is measured with a workload, not with a task"
NOT_SO_FAR = "the case did not come that far"


@dataclass(frozen=True)
class Figures:
    """What a case came to; a kind of case fills in its own."""

    speed: Speed | None = None
    memory: Memory | None = None
    energy: tuple[Energy, ...] = ()
    energy_reason: str | None = None
    timelines: tuple[Timeline, ...] = ()
    accuracy: Accuracy | None = None
    divergence: Divergence | None = None
    launches: tuple[Launch, ...] = ()  # where there is no speed of them
    answers: tuple[ItemResult, ...] = ()  # where there is no accuracy of them
    absent: dict[str, str] = field(default_factory=dict)
    conditions: Conditions = field(default_factory=Conditions)


class CaseRun:
    """A case, the worker that serves it, and its failure where it has one."""

    def __init__(self, case: Case, bench: Bench) -> None:
        self.case, self.bench = case, bench
        self.id = bench.case_id(case)
        self.opened: Opened | None = None
        self.failure: WorkerError | None = None
        self._worker: Worker | None = None
        self._spent_s = 0.0
        self._timing = Timing()
        self._quiet = False

    def step(self, action: Callable[[], None], quiet: bool = False) -> bool:
        """Do a part of the case; return whether it went well. A failure ends the worker.

        A `quiet` one serves another case, whose observer hears instead.
        """
        if self.failure:
            return False
        self._quiet = quiet
        if not quiet:
            self.bench.observer.started(self.case)
        start = time.monotonic()
        try:
            action()
        except WorkerError as error:
            self.failure = error
        except EdgebenchError:
            raise  # what a person has to see to, such as a device that is gone
        except Exception as error:  # noqa: BLE001 - a mistake of ours may cost this case alone
            self.failure = WorkerError.of(
                "failed", type(error).__name__, f"{error}", "this is a fault of edgebench"
            )
        finally:
            self._spent_s += time.monotonic() - start
        if self.failure:
            self.close()
        return self.failure is None

    @property
    def is_open(self) -> bool:
        """Return whether a worker serves the artifact."""
        return self._worker is not None

    def open(self, context: int, sequences: int = 1, meters: tuple[str, ...] = ("none",)) -> Opened:
        """Start a worker and load the artifact; raise WorkerError where either fails."""
        subject, bench = self.case.subject, self.bench
        begin = time.monotonic()
        self._worker = bench.transport.start(bench.device, f"{subject.artifact.name}-{self.id}")
        if self._worker.hello.device.machine != bench.hello.device.machine:
            raise WorkerError.of("failed", "Machine", "another machine answers under this name")
        self._timing += Timing(start_s=time.monotonic() - begin)
        request = Open(
            runtime=subject.runtime,
            artifact=bench.transport.deliver(subject.artifact),
            settings=subject.settings,
            context=context,
            sequences=sequences,
            meters=meters,
        )
        self.opened = self.ask(request, Opened)
        return self.opened

    def ask(self, message: AnyRequest, wanted: type[Reply]) -> Reply:
        """Send a request and block until its result; raise WorkerError where it is another kind."""
        if self._worker is None:
            raise WorkerError.of("failed", "Closed", "the worker has ended")
        begin = time.monotonic()
        reply = self._worker.request(message, self.bench.timeout_s, self._tell)
        if not isinstance(reply, wanted):
            raise confused()
        self._timing += _timing_of(reply, time.monotonic() - begin)
        return reply

    def add_time(self, run: Run) -> None:
        """Count what earlier launches of the case took, by a run that is stored."""
        self._spent_s += run.wall_s
        self._timing += run.timing or Timing()

    def close(self) -> None:
        """End the worker."""
        if self._worker:
            self._worker.close()
            self._worker = None

    def store(self, figures: Figures) -> None:
        """Store the case's run and tell of it; what would not read back is left out of it."""
        try:
            run = readable(self._run(figures))
        except Exception as error:  # noqa: BLE001 - it was measured: at least that is stored
            run = self._run(Figures(absent={"figures": failed_to_compute(error)}))
        self.bench.store(run)
        self.bench.observer.ended(self.case, run)

    def _tell(self, done: int, total: int) -> None:
        if not (self._quiet or _tells_of_itself(self.case)):
            self.bench.observer.ticked(self.case, done, total)

    def _run(self, figures: Figures) -> Run:
        case, failure = self.case, self.failure
        is_speed = isinstance(case, SpeedCase)
        reason = figures.energy_reason or (NOT_SO_FAR if is_speed else NO_ENERGY_OF_TASKS)
        return Run(
            run_id=uuid.uuid4().hex,
            case_id=self.id,
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            status=failure.status if failure else "ok",
            error=failure.error if failure else None,
            artifact=case.subject.artifact,
            device=self.bench.device_info,
            conditions=figures.conditions,
            runtime=self.opened.runtime if self.opened else None,
            settings=case.subject.settings,
            workload=case.workload if isinstance(case, SpeedCase) else None,
            task=None if isinstance(case, SpeedCase) else case.task.name,
            speed=figures.speed,
            memory=figures.memory,
            energy=figures.energy,
            energy_reason=None if figures.energy else reason,
            timelines=figures.timelines,
            accuracy=figures.accuracy,
            divergence=figures.divergence,
            absent=figures.absent,
            launches=figures.launches,
            answers=figures.answers,
            wall_s=self._spent_s,
            timing=self._timing,
        )


def _tells_of_itself(case: Case) -> bool:
    """Return whether progress is told by what runs the case: a race's, or launches one by one."""
    if isinstance(case, SpeedCase):
        return case.workload.duration_s is None
    return isinstance(case, ItemsCase) and case.race is not None


def _timing_of(reply: object, took_s: float) -> Timing:
    """Return what a request's time was spent on, as far as its reply tells."""
    if isinstance(reply, Opened):  # beside the loading, it gets to know the meters
        return Timing(load_s=reply.load_s, meters_s=max(0.0, took_s - reply.load_s))
    if isinstance(reply, SpeedResult):
        return reply.timing
    if isinstance(reply, ScoreResult | DivergenceResult):
        return Timing(answers_s=took_s)
    return Timing()


def confused() -> WorkerError:
    """Return the error of a worker that answers something else than it was asked."""
    return WorkerError.of(
        "failed", "ProtocolError", "the worker answered something else than it was asked"
    )

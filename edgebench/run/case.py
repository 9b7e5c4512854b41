"""A case that is running: its worker, what came back so far, and the run that it becomes.

Knows what becomes of a case whose worker dies. Chooses no cases and no order.
"""

from __future__ import annotations

import datetime
import time
import uuid
from collections.abc import Callable
from typing import Protocol

from edgebench.device.conditions import condition_warnings
from edgebench.figures.energy import energies, joined
from edgebench.figures.speed import speed_of
from edgebench.plan.cases import Case, case_id
from edgebench.records.accuracy import Accuracy, Divergence
from edgebench.records.device import Conditions, DeviceInfo, Snapshot
from edgebench.records.energy import Timeline
from edgebench.records.formats import runtime_version
from edgebench.records.messages import AnyRequest, Open, Opened, Result, SpeedResult, Trial
from edgebench.records.run import Run, RunError
from edgebench.records.speed import Memory
from edgebench.run.transports import Transport, Worker, WorkerError


class Listener(Protocol):
    """Hears of a case's progress."""

    def started(self, case: Case) -> None:
        """A case begins, or goes on after its turn."""
        ...

    def ticked(self, case: Case, done: int, total: int) -> None:
        """A part of a case is done."""
        ...


class Host(Protocol):
    """What a case needs of the sweep that runs it."""

    @property
    def transport(self) -> Transport:
        """Where workers are started."""
        ...

    @property
    def device(self) -> DeviceInfo:
        """The device that the run is of."""
        ...

    @property
    def observer(self) -> Listener:
        """Who hears of progress."""
        ...

    @property
    def timeout_s(self) -> float:
        """Seconds without a sign of life after which a case is given up."""
        ...

    def keep(self, run: Run) -> None:
        """Store a case's run."""
        ...


class Active:
    """A case that is running: its worker, and what came back so far."""

    def __init__(self, case: Case, sweep: Host) -> None:
        self.case = case
        self.trials: list[Trial] = []
        self.memory: Memory | None = None
        self.after = Snapshot()
        self.accuracy: Accuracy | None = None
        self.divergence: Divergence | None = None
        self.energy_reason: str | None = None
        self.warnings: tuple[str, ...] = ()
        self.timelines: list[Timeline] = []
        self._sweep = sweep
        self._worker: Worker | None = None
        self._opened: Opened | None = None
        self.failure: WorkerError | None = None
        self._stored = False
        self._spent_s = 0.0
        self._id = case_id(case, runtime_version(case.runtime))

    def step(self, action: Callable[[Active], object], quiet: bool = False) -> None:
        """Do one part of the case; a failure ends this case alone, and is stored unless `quiet`."""
        if self.failure:
            return
        if not quiet:
            self._sweep.observer.started(self.case)
        start = time.monotonic()
        try:
            action(self)
        except WorkerError as error:
            self.failure = error
        finally:
            self._spent_s += time.monotonic() - start
        if self.failure:
            if not quiet:
                self.finish()
            self.close()

    def open(self, context: int, sequences: int) -> None:
        """Start the worker and load the artifact."""
        limit = self.case.artifact.context_length
        if limit and sequences == 1 and context > limit:
            message = f"the workload needs {context} tokens of context, the model has {limit}"
            raise WorkerError("unsupported", RunError(type="ContextLength", message=message))
        self._worker = self._sweep.transport.start(f"{self.case.artifact.name}-{self._id}")
        request = Open(
            runtime=self.case.runtime,
            artifact=self.case.artifact,
            settings=self.case.settings,
            context=min(context, limit) if limit else context,
            sequences=sequences,
            meters=self.case.meters if self.case.workload else ("none",),
        )
        result = self.ask(request)
        if isinstance(result, Opened):
            self._opened = result

    def ask(self, message: AnyRequest) -> Result:
        """Send one request and block until its result."""
        assert self._worker is not None
        return self._worker.request(message, self._sweep.timeout_s, self._tell)

    def keep(self, result: Result) -> None:
        """Keep what a speed request gave beside its trials."""
        if isinstance(result, SpeedResult):
            self.memory, self.after = result.memory, result.after
            self.energy_reason = result.energy_reason
            self.timelines = joined(self.timelines, result.timelines)

    @property
    def is_open(self) -> bool:
        """Return whether the worker serves the artifact."""
        return self._opened is not None and self._worker is not None

    def finish(self) -> None:
        """Store the case's run, once."""
        if self._stored:
            return
        run = self._run()
        self._stored = True
        self._sweep.keep(run)

    def close(self) -> None:
        """End the worker."""
        if self._worker:
            self._worker.close()
            self._worker = None

    def _tell(self, done: int, total: int) -> None:
        if self.case.task and self.case.tolerance is None:  # a race tells of itself
            self._sweep.observer.ticked(self.case, done, total)

    def _run(self) -> Run:
        opened, failure = self._opened, self.failure
        before = opened.before if opened else Snapshot()
        work = self.case.workload
        speed = None
        if work and opened and self.trials and not failure:
            speed = speed_of(work, opened.load_s, self.trials)
        energy = energies(self.timelines) if speed else ()
        reason = self.energy_reason
        if energy:
            reason = None
        elif work is None:
            reason = "energy is measured with a workload, not with a task"
        elif reason is None:
            reason = "the case did not come that far"
        return Run(
            run_id=uuid.uuid4().hex,
            case_id=self._id,
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            status=failure.status if failure else "ok",
            error=failure.error if failure else None,
            artifact=self.case.artifact,
            device=self._sweep.device,
            conditions=Conditions(
                before=before,
                after=self.after,
                warnings=(
                    # Heat and load move speed; they do not move answers.
                    *(condition_warnings(before, self.after) if work else ()),
                    *(opened.warnings if opened else ()),
                    *self.warnings,
                    *(warning for one in energy for warning in one.warnings),
                ),
            ),
            runtime=opened.runtime if opened else None,
            settings=self.case.settings,
            workload=work,
            task=self.case.task.name if self.case.task else None,
            speed=speed,
            memory=self.memory,
            energy=energy,
            energy_reason=reason,
            timelines=tuple(self.timelines) if energy else (),
            accuracy=self.accuracy if not failure else None,
            divergence=self.divergence if not failure else None,
            wall_s=self._spent_s,
        )

"""Run cases: a process each, interleaved where memory holds them, each stored as it ends.

Knows the order, the time-outs and what becomes of a case whose worker dies. Does not choose
cases, and makes no figures of its own.
"""

from __future__ import annotations

import datetime
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edgebench.conditions import condition_warnings
from edgebench.energy import energies, joined
from edgebench.figures import speed_of
from edgebench.messages import Open, Opened, ScoreResult, ScoreTask, SpeedResult, SpeedTest, Trial
from edgebench.plan import Case, case_id, in_order
from edgebench.records import (
    Accuracy,
    Conditions,
    DeviceInfo,
    Memory,
    Run,
    RunError,
    Snapshot,
    Timeline,
    Workload,
)
from edgebench.runtimes import runtime_version
from edgebench.store import Store
from edgebench.system import available_bytes
from edgebench.tasks.multiple_choice import accuracy_of
from edgebench.transports import Transport, Worker, WorkerError

SCORE_SEQUENCES = 65  # one holds what all items share, 64 are scored side by side
SCORE_CONTEXT = 2048
OVERHEAD_BYTES = 400 * 2**20  # buffers and Python, beside weights and KV cache
MEMORY_SHARE = 0.5


class Observer(Protocol):
    """Hears of a sweep's progress."""

    def started(self, case: Case) -> None:
        """A case begins, or goes on after its turn."""
        ...

    def ticked(self, case: Case, done: int, total: int) -> None:
        """A part of a case is done."""
        ...

    def ended(self, run: Run) -> None:
        """A case has ended and is stored."""
        ...


@dataclass
class Sweep:
    """Everything that cases are run with."""

    transport: Transport
    store: Store
    device: DeviceInfo
    observer: Observer
    timeout_s: float
    runs: list[Run] = field(default_factory=list)

    def run(self, cases: Sequence[Case]) -> list[Run]:
        """Run cases, speed before accuracy; return their runs, every one of them stored.

        On Ctrl-C the workers are ended and KeyboardInterrupt goes on; what is done stays stored.
        """
        speed, accuracy = in_order(cases)
        for group in _groups(speed):
            self._interleave(group)
        for case in accuracy:
            self._score(case)
        return self.runs

    def _interleave(self, cases: Sequence[Case]) -> None:
        """Measure one repetition of each case in turn, so that heat and noise fall on all."""
        active = [_Active(case, self) for case in cases]
        try:
            for one in active:
                one.step(self._open_speed)
            rounds = max(_workload(case).repetitions for case in cases)
            for turn in range(rounds):
                # Each round begins with another case, so that none always follows the same one.
                shift = turn % len(active)
                for one in active[shift:] + active[:shift]:
                    if turn < _workload(one.case).repetitions:
                        one.step(self._trial)
            for one in active:
                one.step(self._rest)
                one.finish()
        finally:
            for one in active:
                one.close()

    def _open_speed(self, one: _Active) -> None:
        work = _workload(one.case)
        one.open(context=work.context, sequences=1)
        one.keep(one.ask(SpeedTest(workload=work, repetitions=0, warm_up=True, idle=True)))

    def _trial(self, one: _Active) -> None:
        work = _workload(one.case)
        result = one.ask(SpeedTest(workload=work, repetitions=1, warm_up=False))
        if isinstance(result, SpeedResult):
            one.trials.extend(result.trials)
            one.keep(result)
            self.observer.ticked(one.case, len(one.trials), work.repetitions)

    def _rest(self, one: _Active) -> None:
        """Measure idle power once more, where there is a meter."""
        if any(line.totals for line in one.timelines):
            work = _workload(one.case)
            one.keep(one.ask(SpeedTest(workload=work, repetitions=0, warm_up=False, idle=True)))

    def _score(self, case: Case) -> None:
        one = _Active(case, self)
        try:
            one.step(self._answer)
            one.finish()
        finally:
            one.close()

    def _answer(self, one: _Active) -> None:
        assert one.case.task is not None
        one.open(context=SCORE_CONTEXT, sequences=SCORE_SEQUENCES)
        result = one.ask(ScoreTask(task=one.case.task))
        if isinstance(result, ScoreResult):
            one.accuracy = accuracy_of(one.case.task, result.items)
            one.warnings = result.warnings
            one.memory, one.after = result.memory, result.after


class _Active:
    """A case that is running: its worker, and what came back so far."""

    def __init__(self, case: Case, sweep: Sweep) -> None:
        self.case = case
        self.trials: list[Trial] = []
        self.memory: Memory | None = None
        self.after = Snapshot()
        self.accuracy: Accuracy | None = None
        self.energy_reason: str | None = None
        self.warnings: tuple[str, ...] = ()
        self.timelines: list[Timeline] = []
        self._sweep = sweep
        self._worker: Worker | None = None
        self._opened: Opened | None = None
        self._failure: WorkerError | None = None
        self._stored = False
        self._spent_s = 0.0
        self._id = case_id(case, runtime_version(case.runtime))

    def step(self, action: Callable[[_Active], None]) -> None:
        """Do one part of the case; a failure ends this case alone."""
        if self._failure:
            return
        self._sweep.observer.started(self.case)
        start = time.monotonic()
        try:
            action(self)
        except WorkerError as error:
            self._failure = error
        finally:
            self._spent_s += time.monotonic() - start
        if self._failure:
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

    def ask(self, message: Open | SpeedTest | ScoreTask) -> Opened | SpeedResult | ScoreResult:
        """Send one request and block until its result."""
        assert self._worker is not None
        return self._worker.request(message, self._sweep.timeout_s, self._tell)

    def keep(self, result: Opened | SpeedResult | ScoreResult) -> None:
        """Keep what a speed request gave beside its trials."""
        if isinstance(result, SpeedResult):
            self.memory, self.after = result.memory, result.after
            self.energy_reason = result.energy_reason
            self.timelines = joined(self.timelines, result.timelines)

    def finish(self) -> None:
        """Store the case's run, once."""
        if self._stored:
            return
        run = self._run()
        self._sweep.store.append(run)
        self._stored = True
        self._sweep.runs.append(run)
        self._sweep.observer.ended(run)

    def close(self) -> None:
        """End the worker."""
        if self._worker:
            self._worker.close()
            self._worker = None

    def _tell(self, done: int, total: int) -> None:
        if self.case.task:
            self._sweep.observer.ticked(self.case, done, total)

    def _run(self) -> Run:
        opened, failure = self._opened, self._failure
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
                    *condition_warnings(before, self.after),
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
            wall_s=self._spent_s,
        )


def _workload(case: Case) -> Workload:
    assert case.workload is not None
    return case.workload


def _groups(cases: Sequence[Case]) -> Iterator[list[Case]]:
    """Split cases into groups that memory holds at once."""
    room = available_bytes() * MEMORY_SHARE
    group: list[Case] = []
    used = 0.0
    for case in cases:
        need = 1.5 * case.artifact.size_bytes + OVERHEAD_BYTES
        if group and used + need > room:
            yield group
            group, used = [], 0.0
        group.append(case)
        used += need
    if group:
        yield group

"""Run cases: a process each, interleaved where memory holds them, each stored as it ends.

Knows the order of cases. What becomes of one of them is in `active.py`; how levels answer tasks,
race and are compared with their reference is in `answering.py`. Makes no figures of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edgebench.device.system import available_bytes
from edgebench.plan.cases import Case, in_order
from edgebench.records.device import DeviceInfo
from edgebench.records.messages import SpeedResult, SpeedTest
from edgebench.records.run import Run
from edgebench.records.settings import Workload
from edgebench.run.answering import answer_all
from edgebench.run.case import Active
from edgebench.run.store import Store
from edgebench.run.transports import Transport

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
    stored: Mapping[str, Run] = field(default_factory=dict)  # good runs there already, by case id
    runs: list[Run] = field(default_factory=list)

    def run(self, cases: Sequence[Case]) -> list[Run]:
        """Run cases, speed before accuracy; return their runs, every one of them stored.

        On Ctrl-C the workers are ended and KeyboardInterrupt goes on; what is done stays stored.
        """
        speed, accuracy = in_order(cases)
        for group in _groups(speed):
            self._interleave(group)
        answer_all(self, accuracy)
        return self.runs

    def keep(self, run: Run) -> None:
        """Store a case's run and tell of it."""
        self.store.append(run)
        self.runs.append(run)
        self.observer.ended(run)

    def _interleave(self, cases: Sequence[Case]) -> None:
        """Measure one repetition of each case in turn, so that heat and noise fall on all."""
        active = [Active(case, self) for case in cases]
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

    def _open_speed(self, one: Active) -> None:
        work = _workload(one.case)
        one.open(context=work.context, sequences=1)
        one.keep(one.ask(SpeedTest(workload=work, repetitions=0, warm_up=True, idle=True)))

    def _trial(self, one: Active) -> None:
        work = _workload(one.case)
        result = one.ask(SpeedTest(workload=work, repetitions=1, warm_up=False))
        if isinstance(result, SpeedResult):
            one.trials.extend(result.trials)
            one.keep(result)
            self.observer.ticked(one.case, len(one.trials), work.repetitions)

    def _rest(self, one: Active) -> None:
        """Measure idle power once more, where there is a meter."""
        if any(line.totals for line in one.timelines):
            work = _workload(one.case)
            one.keep(one.ask(SpeedTest(workload=work, repetitions=0, warm_up=False, idle=True)))


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

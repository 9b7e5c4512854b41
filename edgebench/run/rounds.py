"""Measure speed in rounds: in each, a launch of every level, in a random order.

A launch is a worker process of its own, alone on the machine, so that an interval over launches
holds what differs from one start of a program to the next. A launch beside which other programs
worked is measured again; levels whose launches lie far apart get further ones.

A case that was begun goes on: its new run holds the launches that are stored and the new ones, each
with the name of its own round, so that it is still compared with levels that were measured beside
it. Launches under other conditions (governor, clocks, battery, another build) are left behind.
Knows no figures but those that say whether to measure again.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgebench.errors import EdgebenchError
from edgebench.figures.absent import Absent
from edgebench.figures.conditions import condition_warnings
from edgebench.figures.energy import energies, joined, source_for
from edgebench.figures.noise import disturbed, noise_warnings, unsteady
from edgebench.figures.speed import largest_memory, speed_of
from edgebench.figures.sustained import at_the_end, sustained_of
from edgebench.plan.cases import SpeedCase
from edgebench.records.device import Conditions, Snapshot
from edgebench.records.energy import Energy, Timeline
from edgebench.records.messages import MeasureSpeed, Opened, SpeedResult, Trial
from edgebench.records.run import Run
from edgebench.records.speed import Launch, Sustained
from edgebench.run.bench import Bench
from edgebench.run.case import CaseRun, Figures
from edgebench.run.transports import WorkerError

# Under others of these a launch is of another set-up.
CONDITIONS = ("governor", "power_mode", "clocks_fixed", "on_battery")
LEAST_S = 1e-7  # of a token's seconds, which are stored with seven digits
MOST_TOKENS = 20_000  # of a launch whose seconds are stored


def measure_rounds(cases: Sequence[SpeedCase], bench: Bench, retries: int) -> None:
    """Measure and store every case; what was measured before an interruption is stored, too.

    Sustained load heats the machine, so it comes last, a level at a time.
    """
    brief = [case for case in cases if case.workload.duration_s is None]
    _in_rounds(brief, bench, retries)
    for case in cases:
        if case.workload.duration_s is not None:
            _in_rounds([case], bench, retries=0)


def _in_rounds(cases: Sequence[SpeedCase], bench: Bench, retries: int) -> None:
    sweep = uuid.uuid4().hex[:12]
    order = random.Random(sweep)  # seeded by what each launch's round records
    levels = [SpeedRun(case, bench, retries) for case in cases]
    try:
        for number in range(max((level.wanted for level in levels), default=0)):
            due = [level for level in levels if number < level.wanted]
            _round(due, f"{sweep}-{number}", order)
        for number in range(retries):
            again = [level for level in levels if level.is_unsteady]
            _round(again, f"{sweep}-again-{number}", order)
    finally:
        _finish(levels)


def _finish(levels: Sequence[SpeedRun]) -> None:
    """Store what was measured of each level, also where one of them can't be stored."""
    fault: EdgebenchError | None = None
    for level in levels:
        try:
            level.finish()
        except EdgebenchError as error:
            fault = fault or error
    if fault:
        raise fault


def _round(levels: Sequence[SpeedRun], name: str, order: random.Random) -> None:
    for turn, level in enumerate(order.sample(levels, len(levels))):
        level.launch(name, turn)


@dataclass
class SpeedRun:
    """A case of speed: its launches so far, and the run that they become."""

    case: SpeedCase
    bench: Bench
    retries: int
    launches: list[Launch] = field(default_factory=list)
    timelines: list[Timeline] = field(default_factory=list)
    discarded: int = 0

    def __post_init__(self) -> None:
        """Take what is stored of the case; begin nothing yet."""
        self._run = CaseRun(self.case, self.bench)
        self._energy_reason: str | None = None
        self._stored = self._has_measured = False
        self._earlier = self.bench.begun.get(self._run.id)
        if self._earlier and self._earlier.speed:
            self.launches = list(self._earlier.speed.launches)
            self.timelines = list(self._earlier.timelines)
        self.wanted = self.case.workload.launches - len(self.launches)
        self._absent = Absent()

    @property
    def is_unsteady(self) -> bool:
        """Return whether its launches lie so far apart that more are worth their time."""
        if self._run.failure:
            return False
        return self._absent.guarded("noise", lambda: unsteady(self.launches)) is True

    def launch(self, name: str, turn: int) -> None:
        """Measure one launch; again where other programs disturbed it, as often as is allowed."""
        while self._run.step(lambda: self._measure(name, turn)):
            if self.discarded >= self.retries or not self._is_disturbed():
                break
            self.discarded += 1
            self.launches.pop()
            self._drop_last_timelines()
        if self._run.failure:
            self.finish()  # stored at once: a later interruption can't lose it

    def _is_disturbed(self) -> bool:
        last = self.launches[-1]
        return self._absent.guarded("noise", lambda: disturbed(last, self._cores)) is True

    @property
    def _cores(self) -> int:
        return self.bench.hello.logical_cores

    def _measure(self, name: str, turn: int) -> None:
        work = self.case.workload
        limit = self.case.subject.artifact.context_length
        if limit and work.context > limit:
            message = f"the workload needs {work.context} tokens of context, the model has {limit}"
            raise WorkerError.of("unsupported", "ContextLength", message)
        try:
            opened = self._run.open(work.context, meters=self.case.meters)
            result = self._run.ask(MeasureSpeed(workload=work), SpeedResult)
        finally:
            self._run.close()
        if not self._has_measured and self._earlier and not self._goes_on(self._earlier, opened):
            self.launches, self.timelines = [], []
        self._has_measured = True
        trials = result.trials
        self.launches.append(
            Launch(
                round=name,
                turn=turn,
                load_s=opened.load_s,
                prefill_s=tuple(trial.prefill_s for trial in trials),
                ttft_s=tuple(trial.ttft_s for trial in trials),
                decode_s=tuple(trial.decode_s for trial in trials),
                token_s=_token_s(trials),
                warm_up_rounds=result.warm_up_rounds,
                settled=result.settled,
                memory=result.memory,
                before=opened.before,
                loaded=result.loaded,
                after=result.after,
                foreign_cpu=result.foreign_cpu,
                at_s=result.at_s,
                course=result.course,
            )
        )
        self._before_last = list(self.timelines)
        both = self._absent.guarded("energy", lambda: joined(self.timelines, result.timelines))
        self.timelines = self.timelines if both is None else both
        self._energy_reason = result.energy_reason
        self.bench.observer.ticked(self.case, len(self.launches), work.launches)

    def _goes_on(self, run: Run, opened: Opened) -> bool:
        """Return whether a stored run's build, threads and conditions are those of now."""
        then = run.speed.launches[-1].before if run.speed else Snapshot()
        alike = [getattr(then, name) == getattr(opened.before, name) for name in CONDITIONS]
        if opened.runtime != run.runtime or not all(alike):
            return False
        self._run.add_time(run)
        return True

    def _drop_last_timelines(self) -> None:
        self.timelines = self._before_last

    def finish(self) -> None:
        """Store the run, once; a case that never began is not stored."""
        if self._stored or not (self._has_measured or self._run.failure):
            return
        self._stored = True
        self._run.store(self._figures())

    def _figures(self) -> Figures:
        launches = tuple(self.launches)
        if self._run.failure or not launches:
            return Figures(
                launches=launches,
                energy_reason=self._energy_reason,
                absent=self._absent.reasons,
            )
        absent = self._absent
        speed = absent.guarded(
            "speed", lambda: speed_of(self.case.workload, launches, self.discarded)
        )
        computed = absent.guarded(
            "energy",
            lambda: energies(self.timelines, self.bench.device.entry.calibration),
        )
        energy = computed or ()
        if speed and self.case.workload.duration_s:
            speed = speed.model_copy(
                update={"sustained": absent.guarded("sustained", lambda: self._sustained(energy))}
            )
        memory = absent.guarded(
            "memory", lambda: largest_memory([launch.memory for launch in launches])
        )
        conditions = self._conditions(energy)
        return Figures(
            speed=speed,
            launches=() if speed else launches,
            memory=memory,
            energy=energy,
            energy_reason=absent.reasons.get("energy", self._energy_reason),
            timelines=tuple(self.timelines) if energy or "energy" in absent.reasons else (),
            conditions=conditions,
            absent=absent.reasons,
        )

    def _sustained(self, energy: Sequence[Energy]) -> Sustained | None:
        """Return how the only launch of a sustained workload went."""
        went = sustained_of(self.case.workload, self.launches[-1])
        provider = self._run.opened.runtime.worked_on if self._run.opened else ""
        shown = source_for(energy, provider)
        if went is None or shown is None or shown.decode is None:
            return went
        known = self.bench.device.entry.calibration
        at_its_end = energies(at_the_end(self.timelines), known)
        joules = next((e.decode for e in at_its_end if e.source == shown.source and e.decode), None)
        return went.model_copy(update={"end_j_per_token": joules and joules.j_per_token})

    def _conditions(self, energy: Sequence[Energy]) -> Conditions:
        launches = self.launches
        before, after = launches[0].before, launches[-1].after
        moved = self._absent.guarded(
            "conditions", lambda: condition_warnings(before, after, self._cores)
        )
        noise = self._absent.guarded("noise", lambda: noise_warnings(launches, self._cores))
        opened = self._run.opened.warnings if self._run.opened else ()
        warnings = (
            *(moved or ()),
            *opened,
            *(noise or ()),
            *(warning for source in energy for warning in source.warnings),
        )
        return Conditions(
            before=before,
            loaded=launches[-1].loaded,
            after=after,
            warnings=tuple(dict.fromkeys(warnings)),
        )


def _token_s(trials: Sequence[Trial]) -> tuple[float, ...]:
    """Return the seconds of each token; of more than are stored a random part, in their order."""
    seconds = [second for trial in trials for second in trial.token_s]
    if len(seconds) > MOST_TOKENS:
        places = random.Random(len(seconds)).sample(range(len(seconds)), MOST_TOKENS)
        seconds = [seconds[place] for place in sorted(places)]
    return tuple(max(round(second, 7), LEAST_S) for second in seconds)

"""A launch's measuring: warm up, rest, then time prefill and decode directly, in a known cache.

Knows sessions and the sampler through what they offer. Makes no statistics: it returns every trial.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from edgebench.device.conditions import snapshot
from edgebench.device.sampler import Sampler
from edgebench.device.system import cpu_times, foreign_cpu
from edgebench.records.device import Snapshot
from edgebench.records.messages import Trial
from edgebench.records.settings import Workload
from edgebench.records.speed import Moment
from edgebench.records.timing import Timing
from edgebench.worker.runtimes import Timed

WARM_UP_TOKENS = 8
STABLE_VARIATION = 0.05
MAX_WARM_UP_ROUNDS = 12
MIN_IDLE_S = 1.0
MARGIN = 1.1  # on what a meter needs
MOMENT_S = 10.0  # between two looks at heat and clocks under sustained load
MOMENTS = 10  # at least, however short it is

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class WarmUp:
    """Rounds of decode before the first trial, and whether the last three agreed."""

    rounds: int
    settled: bool


@dataclass(frozen=True)
class Measured:
    """A launch's trials, the condition at their end, and the processors that others kept busy.

    Of a sustained workload `at_s` says when each trial began, and `course` how the machine felt.
    """

    warm_up: WarmUp
    trials: tuple[Trial, ...]
    loaded: Snapshot
    foreign_cpu: float | None
    at_s: tuple[float, ...]
    course: tuple[Moment, ...]
    timing: Timing


def measure_speed(session: Timed, workload: Workload, sampler: Sampler, progress: Tell) -> Measured:
    """Warm up, then time the workload's repetitions with the meters read beside them.

    Prefill evaluates the prompt after `depth` tokens, and decode goes on from there: llama-bench's
    pp at that depth, and its tg at depth + prompt. A phase that is too short for the meters is
    repeated, for them alone. Idle power is measured before and after, the model resident. A
    sustained workload is repeated until its time has passed, its decode made longer now and again.
    """
    laps = _Laps()
    begun = warm_up(session, workload)
    laps.end("warm_up_s")
    _rest(sampler)
    laps.end("meters_s")
    begin = cpu_times()
    course = _Course(workload.duration_s or 0.0)
    if workload.duration_s is None:
        trials = _repeated(session, workload, sampler, laps, progress)
    else:
        trials = _sustained(session, workload, sampler, laps, course, progress)
    loaded = snapshot()  # at once: clocks fall when the work ends
    others = foreign_cpu(begin, cpu_times())
    _rest(sampler)
    laps.end("meters_s")
    timing = Timing(**laps.spent_s)
    return Measured(
        begun, tuple(trials), loaded, others, tuple(course.at_s), tuple(course.moments), timing
    )


def _repeated(
    session: Timed, workload: Workload, sampler: Sampler, laps: _Laps, progress: Tell
) -> list[Trial]:
    trials: list[Trial] = []
    for done in range(workload.repetitions):
        sampler.start()
        laps.end("meters_s")
        trials.append(_trial(session, workload, sampler))
        laps.end("trials_s")
        _lengthen_prefill(session, workload, sampler, trials[-1])
        _lengthen_decode(session, workload, sampler, trials[-1])
        sampler.stop()
        laps.end("meters_s")
        progress(done + 1, workload.repetitions)
    return trials


def _sustained(
    session: Timed,
    workload: Workload,
    sampler: Sampler,
    laps: _Laps,
    course: _Course,
    progress: Tell,
) -> list[Trial]:
    """Time trial after trial without a rest, the meters read all the while."""
    trials: list[Trial] = []
    sampler.start()
    course.begin()
    laps.end("meters_s")
    while not trials or not course.is_over:
        course.trial_begins()
        trials.append(_trial(session, workload, sampler))
        laps.end("trials_s")
        if course.is_due:
            _lengthen_decode(session, workload, sampler, trials[-1])
            course.look()
            laps.end("meters_s")
        course.tell(progress)
    sampler.stop()
    return trials


class _Laps:
    """Where the time of a launch goes: each lap ends in what it was spent on."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, what: str) -> None:
        """Count the time since the last lap's end as spent on `what`."""
        now = time.perf_counter()
        self.spent_s[what] = self.spent_s.get(what, 0.0) + now - self._last
        self._last = now


class _Course:
    """The time under sustained load: when each trial began, how the machine felt now and again."""

    def __init__(self, lasts_s: float) -> None:
        self.at_s: list[float] = []
        self.moments: list[Moment] = []
        self._lasts_s = lasts_s
        self._told_s = 0
        self._start = self._looked_s = 0.0

    def begin(self) -> None:
        """Begin to count, with a look at the machine before it is warm."""
        self._start = time.perf_counter()
        self.look()

    @property
    def _now_s(self) -> float:
        return time.perf_counter() - self._start

    @property
    def is_over(self) -> bool:
        """Return whether the time has passed."""
        return self._now_s >= self._lasts_s

    @property
    def is_due(self) -> bool:
        """Return whether it is time for what isn't done beside every trial."""
        return self._now_s >= self._looked_s + min(MOMENT_S, self._lasts_s / MOMENTS)

    def trial_begins(self) -> None:
        """Keep when a trial begins."""
        self.at_s.append(self._now_s)

    def look(self) -> None:
        """Look at the machine; a look that fails costs itself alone."""
        self._looked_s = self._now_s
        with suppress(Exception):
            self.moments.append(_moment(self._looked_s))

    def tell(self, progress: Tell) -> None:
        """Tell how many seconds have passed, each once."""
        seconds = int(min(self._now_s, self._lasts_s))
        if seconds > self._told_s:
            self._told_s = seconds
            progress(seconds, math.ceil(self._lasts_s))


def _moment(at_s: float) -> Moment:
    felt = snapshot()
    cpus = [clock for name, clock in felt.clocks_hz.items() if name.startswith("cpu")]
    return Moment(
        at_s=at_s,
        hottest_c=max(felt.temperature_c.values(), default=None),
        clock_hz=max(cpus, default=None),
        throttled=felt.throttled,
    )


def warm_up(session: Timed, workload: Workload) -> WarmUp:
    """Evaluate the prompt, then decode a few tokens after it until three rounds agree.

    Rounds agree when the coefficient of variation of the last three is under 5 %. There are
    twelve at most.
    """
    _read_prompt(session, workload)
    rounds: list[float] = []
    while len(rounds) < MAX_WARM_UP_ROUNDS:
        _return_to_prompt(session, workload)
        start = time.perf_counter_ns()
        session.decode(min(WARM_UP_TOKENS, workload.generate_tokens))
        rounds.append((time.perf_counter_ns() - start) / 1e9)
        last = rounds[-3:]
        if len(last) == 3 and statistics.stdev(last) < STABLE_VARIATION * statistics.mean(last):
            return WarmUp(len(rounds), settled=True)
    return WarmUp(len(rounds), settled=False)


def _read_prompt(session: Timed, workload: Workload) -> None:
    session.reset(workload.depth)
    session.prefill(session.synthetic(workload.prompt_tokens))


def _return_to_prompt(session: Timed, workload: Workload) -> bool:
    """Forget what was decoded after the prompt; read it again, and say so, where that can't be."""
    if session.keep(workload.decode_from) == workload.decode_from:
        return True
    _read_prompt(session, workload)
    return False


def _rest(sampler: Sampler) -> None:
    """Measure idle power, the model loaded, for as long as the slowest meter needs."""
    if not sampler.window_s:
        return
    sampler.start()
    start = time.perf_counter_ns()
    time.sleep(max(MIN_IDLE_S, MARGIN * sampler.window_s))
    sampler.add("idle", start, time.perf_counter_ns())
    sampler.stop()


def _trial(session: Timed, workload: Workload, sampler: Sampler) -> Trial:
    prompt = session.synthetic(workload.prompt_tokens)
    session.reset(workload.depth)
    start = time.perf_counter_ns()
    session.prefill(prompt)
    evaluated = time.perf_counter_ns()
    session.likeliest()
    first = time.perf_counter_ns()
    sampler.add("prefill", start, evaluated, (len(prompt), len(prompt)))

    begin = time.perf_counter_ns()
    times = session.decode(workload.generate_tokens)
    count = workload.generate_tokens
    sampler.add("decode", begin, times[-1], (count, count))
    edges = [begin, *times]
    return Trial(
        prefill_s=_seconds(start, evaluated),
        ttft_s=_seconds(start, first),
        decode_s=_seconds(begin, times[-1]),
        token_s=tuple(_seconds(a, b) for a, b in itertools.pairwise(edges)),
    )


def _seconds(start_ns: int, end_ns: int) -> float:
    """Return the seconds between two times; a clock that did not tick in between has ticked."""
    return max(1, end_ns - start_ns) / 1e9


def _lengthen_prefill(session: Timed, workload: Workload, sampler: Sampler, trial: Trial) -> None:
    """Repeat prefill in one window until it is long enough for the slowest meter."""
    prompt = session.synthetic(workload.prompt_tokens)
    if trial.prefill_s < sampler.window_s:
        times = math.ceil(MARGIN * sampler.window_s / trial.prefill_s)
        start = time.perf_counter_ns()
        # A model that can't forget a part of its cache would read its depth again in this window.
        if all(_prefill_again(session, workload, prompt) for _ in range(times)):
            end = time.perf_counter_ns()
            sampler.add("prefill", start, end, (times * len(prompt), len(prompt)))


def _lengthen_decode(session: Timed, workload: Workload, sampler: Sampler, trial: Trial) -> None:
    """Repeat decode in one window until it is long enough for the slowest meter."""
    if trial.decode_s < sampler.window_s:  # asked anew: the meter's pace may have shown by now
        times = math.ceil(MARGIN * sampler.window_s / trial.decode_s)
        tokens = workload.generate_tokens
        start = time.perf_counter_ns()
        if all(_decode_again(session, workload) for _ in range(times)):
            sampler.add("decode", start, time.perf_counter_ns(), (times * tokens, tokens))


def _decode_again(session: Timed, workload: Workload) -> bool:
    if session.keep(workload.decode_from) < workload.decode_from:
        return False
    session.decode(workload.generate_tokens)
    return True


def _prefill_again(session: Timed, workload: Workload, prompt: list[int]) -> bool:
    if session.keep(workload.depth) < workload.depth:
        return False
    session.prefill(prompt)
    return True

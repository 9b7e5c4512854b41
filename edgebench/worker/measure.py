"""The trial loop: warm up, then time prefill and decode directly, each from a known cache.

Knows sessions and meters through their protocols. Makes no statistics: it returns every trial.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable

from edgebench.device.sampler import Phase, Sampler
from edgebench.records.energy import MIN_PERIODS
from edgebench.records.messages import Trial
from edgebench.records.settings import Workload
from edgebench.worker.runtimes import Session

WARM_UP_TOKENS = 8
STABLE_VARIATION = 0.05
MAX_WARM_UP_ROUNDS = 12
TOUCH_TOKENS = 2
MIN_IDLE_S = 1.0


def warm_up(session: Session, workload: Workload) -> int:
    """Run the prompt once, then decode until three rounds agree; return the rounds of decode.

    Rounds agree when the coefficient of variation of the last three is under 5 %.
    """
    session.reset(workload.depth)
    session.prefill(_prompt(session, workload))
    rounds: list[float] = []
    while len(rounds) < MAX_WARM_UP_ROUNDS:
        session.reset(workload.depth)
        start = time.perf_counter_ns()
        session.decode(min(WARM_UP_TOKENS, workload.generate_tokens))
        rounds.append((time.perf_counter_ns() - start) / 1e9)
        last = rounds[-3:]
        if len(last) == 3 and statistics.stdev(last) < STABLE_VARIATION * statistics.mean(last):
            break
    return len(rounds)


def run_trials(
    session: Session,
    workload: Workload,
    repetitions: int,
    sampler: Sampler,
    progress: Callable[[int, int], None],
) -> tuple[Trial, ...]:
    """Time `repetitions` of a workload, with the meters read beside it.

    Prefill evaluates the prompt, and decode the generated tokens, both from `depth` tokens of
    context: llama-bench's pp and tg at that depth. A phase that is too short for the meters is
    repeated, for them alone.
    """
    prompt = _prompt(session, workload)
    trials = []
    for done in range(repetitions):
        # Another level may have run since: a few tokens bring threads and caches back.
        session.reset(workload.depth)
        session.decode(min(TOUCH_TOKENS, workload.generate_tokens))
        sampler.start()
        trials.append(_trial(session, workload, prompt, sampler))
        _lengthen(session, workload, prompt, sampler, trials[-1])
        sampler.stop()
        progress(done + 1, repetitions)
    return tuple(trials)


def rest(sampler: Sampler) -> None:
    """Measure idle power, the model loaded: at least 20 periods of the slowest meter."""
    if not sampler.slowest_s:
        return
    sampler.start()
    start = time.perf_counter_ns()
    time.sleep(max(MIN_IDLE_S, 1.1 * MIN_PERIODS * sampler.slowest_s))
    sampler.add("idle", start, time.perf_counter_ns())
    sampler.stop()


def _trial(session: Session, workload: Workload, prompt: list[int], sampler: Sampler) -> Trial:
    session.reset(workload.depth)
    start = time.perf_counter_ns()
    session.prefill(prompt)
    evaluated = time.perf_counter_ns()
    session.first_token()
    first = time.perf_counter_ns()
    sampler.add("prefill", start, evaluated, (len(prompt), len(prompt)))

    session.reset(workload.depth)
    begin = time.perf_counter_ns()
    times = session.decode(workload.generate_tokens)
    count = workload.generate_tokens
    sampler.add("decode", begin, times[-1], (count, count))
    edges = [begin, *times]
    return Trial(
        prefill_s=(evaluated - start) / 1e9,
        ttft_s=(first - start) / 1e9,
        decode_s=(times[-1] - begin) / 1e9,
        token_s=tuple((b - a) / 1e9 for a, b in itertools.pairwise(edges)),
    )


def _lengthen(
    session: Session, workload: Workload, prompt: list[int], sampler: Sampler, trial: Trial
) -> None:
    """Repeat a phase in one window until it is long enough for the slowest meter."""
    wanted_s = MIN_PERIODS * sampler.slowest_s
    phases: tuple[tuple[Phase, float, int], ...] = (
        ("prefill", trial.prefill_s, len(prompt)),
        ("decode", trial.decode_s, workload.generate_tokens),
    )
    for phase, took_s, tokens in phases:
        if took_s >= wanted_s:
            continue
        times = math.ceil(1.05 * wanted_s / took_s)
        start = time.perf_counter_ns()
        for _ in range(times):
            session.reset(workload.depth)
            if phase == "prefill":
                session.prefill(prompt)
            else:
                session.decode(tokens)
        sampler.add(phase, start, time.perf_counter_ns(), (times * tokens, tokens))


def _prompt(session: Session, workload: Workload) -> list[int]:
    return session.synthetic(workload.prompt_tokens)

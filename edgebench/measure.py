"""The trial loop: warm up, then time prefill and decode directly, each from a known cache.

Knows sessions and meters through their protocols. Makes no statistics: it returns every trial.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable

from edgebench.messages import Trial
from edgebench.records import Workload
from edgebench.runtimes import Session

WARM_UP_TOKENS = 8
STABLE_VARIATION = 0.05
MAX_WARM_UP_ROUNDS = 12
TOUCH_TOKENS = 2


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
    session: Session, workload: Workload, repetitions: int, progress: Callable[[int, int], None]
) -> tuple[Trial, ...]:
    """Time `repetitions` of a workload.

    Prefill evaluates the prompt, and decode the generated tokens, both from `depth` tokens of
    context: llama-bench's pp and tg at that depth.
    """
    prompt = _prompt(session, workload)
    trials = []
    for done in range(repetitions):
        # Another level may have run since: a few tokens bring threads and caches back.
        session.reset(workload.depth)
        session.decode(min(TOUCH_TOKENS, workload.generate_tokens))
        trials.append(_trial(session, workload, prompt))
        progress(done + 1, repetitions)
    return tuple(trials)


def _trial(session: Session, workload: Workload, prompt: list[int]) -> Trial:
    session.reset(workload.depth)
    start = time.perf_counter_ns()
    session.prefill(prompt)
    evaluated = time.perf_counter_ns()
    session.first_token()
    first = time.perf_counter_ns()

    session.reset(workload.depth)
    begin = time.perf_counter_ns()
    times = session.decode(workload.generate_tokens)
    edges = [begin, *times]
    return Trial(
        prefill_s=(evaluated - start) / 1e9,
        ttft_s=(first - start) / 1e9,
        decode_s=(times[-1] - begin) / 1e9,
        token_s=tuple((b - a) / 1e9 for a, b in itertools.pairwise(edges)),
    )


def _prompt(session: Session, workload: Workload) -> list[int]:
    return session.synthetic(workload.prompt_tokens)

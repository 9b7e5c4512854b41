"""Measure by simulation how often `pick` is wrong: studies whose truth is known, from runs to pick.

Each study draws launches, answers, joules and chunks of several levels (`lib/studies.py`), stores
them as runs, compares them and picks. Prints for each setting how often it picked, how often what
it picked breaks a constraint in truth (5 % of studies at most may), how often it was undecided, how
often it said "none" though a level keeps every constraint, and how often a loser that is better in
truth was said to be shown worse.

    python tools/sim_decisions.py --studies 1000
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from lib.studies import ACCURACY, Level, Noise, Setting, study

from edgebench.analyze.compare import compare
from edgebench.analyze.decision import Pick
from edgebench.analyze.pick import Constraints, pick
from edgebench.analyze.rows import summarize
from edgebench.analyze.weights import Objective

OUTCOMES = ("picked", "broken", "undecided", "none", "none, wrongly", "shown wrongly")


def outcomes(rng: np.random.Generator, setting: Setting) -> list[str]:
    """Return what one study's pick amounts to."""
    groups = compare(summarize(study(rng, setting)))
    group = next(group for group in groups if group.workload)
    decision = pick([group], setting.constraints, setting.objective)
    if decision.decision == "none":
        return ["none, wrongly" if any(map(setting.keeps, setting.levels)) else "none"]
    if decision.decision == "undecided" or decision.winner is None:
        return ["undecided"]
    taken = _level(setting, decision.winner.artifact)
    told = ["picked" if setting.keeps(taken) else "broken"]
    return told + (["shown wrongly"] if _shown_wrongly(decision, setting, taken) else [])


def _level(setting: Setting, name: str) -> Level:
    """Return the level that a pick names: `tiny-q4_0`, `tiny-q4_0 (4 threads)`."""
    return next(
        level
        for level in setting.levels
        if name.split(" ")[0] == f"{level.model}-{level.name}"
        and ("(" not in name or f"({level.threads} thread" in name)
    )


def _shown_wrongly(decision: Pick, setting: Setting, taken: Level) -> bool:
    worse = [_level(setting, loser.artifact) for loser in decision.losers if loser.why == "worse"]
    return any(_worth(level, setting) > _worth(taken, setting) + 1e-9 for level in worse)


def _worth(level: Level, setting: Setting) -> float:
    """Return the true weighted mean of logarithms."""
    logs = {
        "decode": math.log(level.decode),
        "energy": -math.log(level.energy_j),
        "memory": -math.log(level.bits),
        "accuracy": math.log(level.accuracy),
    }
    weights = Objective.read(setting.objective).weights
    return math.fsum(share * logs[aspect] for aspect, share in weights.items())


def rates(setting: Setting, studies: int, seed: int = 1) -> dict[str, float]:
    """Return how often each outcome comes up."""
    rng = np.random.default_rng(seed)
    counts = Counter(told for _ in range(studies) for told in outcomes(rng, setting))
    return {name: count / studies for name, count in counts.items()}


CLEAR = (
    Level("f16", 16, 10),
    Level("q8_0", 8.5, 18, 0.0, 0.01),
    Level("q6_k", 6.6, 22, 0.002, 0.02),
    Level("q4_k_m", 4.8, 33, 0.005, 0.04),
    Level("q3_k_m", 3.9, 37, 0.06, 0.10),
    Level("q2_k", 2.6, 42, 0.15, 0.20),
)
LIMITS = Constraints(min_decode_tokens_per_s=30, max_accuracy_loss=0.03)
ALMOST = tuple(Level(f"iq{index}", 4 + index / 10, 29.9, 0.0, 0.02) for index in range(6))
LOSING = tuple(
    Level(f"iq{index}", 4 + index / 10, 31 + 2 * index, 0.0501, 0.08) for index in range(6)
)
BOTH = tuple(
    Level(f"iq{index}", 4 + index / 10, 29.9 + 2 * (index % 2), 0.0501 * ((index + 1) % 2), 0.08)
    for index in range(6)
)
TOP = (Level("f16", 16, 10), Level("q8_0", 8.5, 18, 0.0, 0.01))
AMONG = Constraints(min_decode_tokens_per_s=30)
LOSS = Constraints(max_accuracy_loss=0.05)
ALL = Constraints(min_decode_tokens_per_s=30, max_ttft_s=20 / 30, max_accuracy_loss=0.03)


def _models(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    """Return levels of two models at two and four threads, the second model a fifth slower."""
    return tuple(
        replace(level, model=model, threads=threads, decode=level.decode * times * gain)
        for model, times in (("tiny", 1.0), ("small", 0.8))
        for level in levels
        for threads, gain in ((2, 0.9), (4, 1.0))
    )


def settings() -> list[Setting]:
    """Return every setting: clear ones, and truths at and just over the limits."""
    return [*_of_one_model(), *_of_limits(), *_of_models()]


def _of_limits() -> list[Setting]:
    """Return settings whose limits on energy, latency, accuracy and divergence are just broken."""
    just = tuple(replace(level, decode=31.0 + index) for index, level in enumerate(ALMOST))
    over = tuple(replace(it, power_w=0.3005 * it.decode) for it in just)
    slow = tuple(replace(level, decode=29.9) for level in ALMOST)
    p99 = Constraints(max_latency_s={"p99": slow[0].p99_s * 29.9 / 30})
    worse = tuple(replace(it, loss=0.0501, disagreement=0.08) for it in just)
    right = Constraints(min_accuracy={"basics": ACCURACY - 0.05})
    far = tuple(replace(it, kld=0.0505) for it in just)
    clusters = Noise(cluster=10, correlation=0.3)
    energy = Constraints(max_energy_j=0.3)
    return [
        Setting("six take just too much energy, fastest", TOP + over, energy),
        Setting("six take just too much energy, least", TOP + over, energy, "energy"),
        Setting("six with just too late a p99, fastest", TOP + slow, p99),
        Setting("six with just too late a p99, smallest", TOP + slow, p99, "memory"),
        Setting("six get just too little right, fastest", TOP + worse, right),
        Setting("six get just too little right, best", TOP + worse, right, "accuracy"),
        Setting("six get too little right, clusters", TOP + worse, right, noise=clusters),
        Setting("six stray just too far, fastest", TOP + far, Constraints(max_divergence=0.05)),
    ]


def _of_models() -> list[Setting]:
    """Return settings of two models at two numbers of threads, with weights too."""
    weighed = "decode=2,energy=1,accuracy=1"
    losing = _models(TOP + LOSING[:3])
    slow = _models(tuple(replace(it, decode=29.9) for it in ALMOST[:3]))
    level = tuple(replace(it, decode=29.9, model="tiny") for it in slow)
    both = Constraints(min_decode_tokens_per_s=30, max_accuracy_loss=0.05)
    return [
        Setting("models, clear", _models(CLEAR), LIMITS, launches=8),
        Setting("models, clear, weights", _models(CLEAR), LIMITS, weighed, launches=8),
        Setting("models, lose just too much, fastest", losing, LOSS, items=500),
        Setting("models, lose just too much, weights", losing, LOSS, weighed, items=500),
        Setting("models, just too slow, most accurate", slow, AMONG, "accuracy"),
        Setting("models, just too slow, weights", slow, AMONG, weighed),
        Setting("threads alike, just too slow, weights", level, AMONG, "decode=1,memory=1"),
        Setting("models, one of two limits, weights", _models(TOP + BOTH[:3]), both, weighed),
    ]


def _of_one_model() -> list[Setting]:
    clear = Setting("clear, between 1", CLEAR, LIMITS)
    almost = Setting("six just too slow, most accurate", TOP + ALMOST, AMONG, "accuracy")
    losing = Setting("six lose just too much, fastest", TOP + LOSING, LOSS, items=500)
    noisy = Noise(between=3)
    return [
        replace(clear, name="clear, between 0", noise=Noise(between=0)),
        clear,
        replace(clear, name="clear, between 3, 10 launches", noise=noisy, launches=10),
        replace(
            clear, name="clear, outliers, 10 launches", noise=Noise(outliers=0.05), launches=10
        ),
        replace(clear, name="clear, drift 5 %", noise=Noise(drift=0.05), launches=8),
        replace(clear, name="clear, three constraints", constraints=ALL),
        replace(clear, name="clear, most accurate", objective="accuracy"),
        replace(
            clear, name="clear, clusters of 4", noise=Noise(cluster=4, correlation=0.1), items=4000
        ),
        almost,
        replace(almost, name="six just too slow, fastest", objective="decode"),
        replace(
            almost, name="six just too slow, fastest, between 3", objective="decode", noise=noisy
        ),
        replace(
            almost,
            name="six just too slow, outliers",
            objective="decode",
            noise=Noise(outliers=0.05),
        ),
        replace(almost, name="six just too slow, smallest", objective="memory"),
        losing,
        replace(losing, name="six lose just too much, most accurate", objective="accuracy"),
        replace(
            losing, name="six lose too much, clusters", noise=Noise(cluster=10, correlation=0.3)
        ),
        replace(
            losing,
            name="six equally fast lose too much",
            levels=TOP + tuple(replace(it, decode=31) for it in LOSING),
        ),
        Setting(
            "each breaks one of two, fastest",
            TOP + BOTH,
            Constraints(min_decode_tokens_per_s=30, max_accuracy_loss=0.05),
            items=500,
        ),
        Setting(
            "six at the limit keep it",
            TOP + tuple(replace(it, decode=30.0) for it in ALMOST),
            AMONG,
        ),
    ]


def main() -> None:
    """Read the arguments and print a row for each setting."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--only", default="", help="settings whose name holds this")
    arguments = parser.parse_args()
    print(f"{'setting':45}" + "".join(f"{name:>15}" for name in OUTCOMES))
    for setting in settings():
        if arguments.only in setting.name:
            told = rates(setting, arguments.studies)
            print(
                f"{setting.name:45}" + "".join(f"{told.get(name, 0):15.3f}" for name in OUTCOMES),
                flush=True,
            )


if __name__ == "__main__":
    main()

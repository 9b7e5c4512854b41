"""Measure by simulation how often `pick` is wrong: studies whose truth is known, from runs to pick.

Each study draws launches and answers of several levels, stores them as runs, compares them and
picks. Prints for each setting how often it picked, how often what it picked breaks a constraint in
truth (5 % of studies at most may), how often it was undecided, and how often it said "none" though
a level keeps every constraint.

    python tools/sim_decisions.py --studies 1000
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.builders import make_accuracy, make_artifact, make_launch, make_run, make_speed

from edgebench.analyze.compare import compare
from edgebench.analyze.pick import Constraints, pick
from edgebench.analyze.rows import summarize
from edgebench.records.accuracy import ItemResult
from edgebench.records.run import Run
from edgebench.stats.clusters import clustered_proportion
from edgebench.stats.estimates import proportion_estimate

WITHIN, REPETITIONS = 0.02, 5
ACCURACY = 0.6  # of the reference


@dataclass(frozen=True)
class Level:
    """A level's true figures; `disagreement`: how often it answers unlike the reference."""

    name: str
    bits: float
    decode: float
    loss: float = 0.0
    disagreement: float = 0.0


@dataclass(frozen=True)
class Noise:
    """How launches and answers scatter. `between`: of launches, as a multiple of that within."""

    between: float = 1.0
    outliers: float = 0.0  # the share of launches that are a fifth slower
    drift: float = 0.0  # of all levels from the first round to the last, as a share
    cluster: int = 1  # items that share a context
    correlation: float = 0.0  # of what is lost within a cluster


@dataclass(frozen=True)
class Setting:
    """What is measured, and what is asked."""

    name: str
    levels: tuple[Level, ...]
    constraints: Constraints
    objective: str = "decode"
    launches: int = 5
    items: int = 1000
    noise: Noise = field(default_factory=Noise)

    def keeps(self, level: Level) -> bool:
        """Return whether a level keeps every constraint in truth."""
        asked = self.constraints
        slow = level.decode < (asked.min_decode_tokens_per_s or 0)
        late = 20 / level.decode > (asked.max_ttft_s or math.inf)
        lost = level.loss > (
            math.inf if asked.max_accuracy_loss is None else asked.max_accuracy_loss
        )
        return not (slow or late or lost)


def study(rng: np.random.Generator, setting: Setting) -> list[Run]:
    """Draw one study's runs; the first level is the reference, whose answers others change."""
    answers = _answers(rng, setting)
    runs = []
    for level, correct in zip(setting.levels, answers, strict=True):
        size = int(level.bits * 1e6)
        artifact = make_artifact(level=level.name, bits_per_weight=level.bits, size_bytes=size)
        launches = [
            make_launch(f"round {index}", decode, ttft_s=20 / decode)
            for index, decode in enumerate(_decodes(rng, level, setting).tolist())
        ]
        runs.append(make_run(artifact=artifact, speed=make_speed(level.decode, launches=launches)))
        runs.append(_task_run(artifact, correct, setting))
    return runs


def _decodes(rng: np.random.Generator, level: Level, setting: Setting) -> NDArray[np.float64]:
    n, noise = setting.launches, setting.noise
    repetitions = np.median(rng.normal(0, WITHIN, (n, REPETITIONS)), axis=1)
    logs = repetitions + rng.normal(0, noise.between * WITHIN, n)
    logs += np.where(rng.random(n) < noise.outliers, math.log(0.8), 0.0)
    logs += np.linspace(noise.drift / 2, -noise.drift / 2, n)
    return np.asarray(level.decode * np.exp(logs))


def _answers(rng: np.random.Generator, setting: Setting) -> list[NDArray[np.bool_]]:
    n, noise = setting.items, setting.noise
    reference = rng.random(n) < ACCURACY
    told = []
    for level in setting.levels:
        lost = (level.disagreement + level.loss) / 2
        won = (level.disagreement - level.loss) / 2
        rates = np.full(n, lost)
        if noise.correlation and lost:
            scale = (1 - noise.correlation) / noise.correlation
            groups = -(-n // noise.cluster)
            rates = np.repeat(rng.beta(lost * scale, (1 - lost) * scale, groups), noise.cluster)[:n]
        correct = reference.copy()
        correct[reference & (rng.random(n) < np.minimum(1, rates / ACCURACY))] = False
        correct[~reference & (rng.random(n) < won / (1 - ACCURACY))] = True
        told.append(correct)
    return told


@lru_cache(maxsize=8)
def _items(n: int, cluster: int) -> tuple[tuple[ItemResult, ItemResult], ...]:
    return tuple(
        (
            ItemResult(id=str(index), correct=False, chosen=0, cluster=name),
            ItemResult(id=str(index), correct=True, chosen=0, cluster=name),
        )
        for index in range(n)
        for name in ["" if cluster == 1 else str(index // cluster)]
    )


def _task_run(artifact: object, correct: NDArray[np.bool_], setting: Setting) -> Run:
    right = correct.tolist()
    pairs = _items(setting.items, setting.noise.cluster)
    items = tuple(pair[is_right] for pair, is_right in zip(pairs, right, strict=True))
    value = proportion_estimate(sum(right), len(right))
    if setting.noise.cluster > 1:
        value = clustered_proportion(right, [item.cluster for item in items])
    accuracy = make_accuracy([True]).model_copy(
        update={"n": len(right), "value": value, "items": items}
    )
    return make_run(artifact=artifact, workload=None, speed=None, task="basics", accuracy=accuracy)


def outcome(rng: np.random.Generator, setting: Setting) -> str:
    """Return what one study's pick amounts to."""
    groups = compare(summarize(study(rng, setting)))
    group = next(group for group in groups if group.workload)
    decision = pick([group], setting.constraints, setting.objective)
    if decision.decision == "none":
        return "none, wrongly" if any(map(setting.keeps, setting.levels)) else "none"
    if decision.decision == "undecided":
        return "undecided"
    taken = next(it for it in setting.levels if f"tiny-{it.name}" == decision.artifact)
    return "picked" if setting.keeps(taken) else "broken"


def rates(setting: Setting, studies: int, seed: int = 1) -> dict[str, float]:
    """Return how often each outcome comes up."""
    rng = np.random.default_rng(seed)
    counts = Counter(outcome(rng, setting) for _ in range(studies))
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


def settings() -> list[Setting]:
    """Return every setting: clear ones, and truths at and just over the limits."""
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
    names = ("picked", "broken", "undecided", "none", "none, wrongly")
    print(f"{'setting':45}" + "".join(f"{name:>15}" for name in names))
    for setting in settings():
        if arguments.only in setting.name:
            told = rates(setting, arguments.studies)
            print(
                f"{setting.name:45}" + "".join(f"{told.get(name, 0):15.3f}" for name in names),
                flush=True,
            )


if __name__ == "__main__":
    main()

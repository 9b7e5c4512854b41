"""Racing by simulation: how often it errs about the model, how often it decides, on how many items.

Answers are drawn in pairs: each level of a ladder has a true mean difference from the reference and
a share of items on which both differ. A race sees items in batches, stops at its verdict, and takes
its last look at the list's end. `family=1` shares alpha between the levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks import Figure, Range

if TYPE_CHECKING:
    import numpy as np

ALPHA = 0.05
BATCH = 32  # items between two verdicts, as in edgebench


@dataclass(frozen=True)
class Level:
    """How often a level's answers differ from the reference's, and its true mean difference."""

    name: str
    discordance: float
    mean: float


@dataclass(frozen=True)
class Finish:
    """Where a race ended."""

    verdict: str
    share: float  # of the items


LADDER = (
    Level("q8_0", 0.02, 0.0),
    Level("q6_k", 0.04, 0.002),
    Level("q5_k_m", 0.06, -0.002),
    Level("q4_k_m", 0.08, 0.0),
    Level("iq4_xs", 0.08, -0.002),
    Level("q3_k_m", 0.08, -0.03),
    Level("q2_k", 0.12, -0.06),
)


def measure(
    items: int = 2000,
    problems: int = 300,
    tolerances: str = "0.03,0.02,0.01",
    family: int = 0,
    seed: int = 1,
) -> list[Figure]:
    """Race every level at every tolerance."""
    import numpy as np

    from edgebench.stats.sequential import race_alpha

    alpha = race_alpha(len(LADDER), ALPHA) if family else ALPHA
    rng = np.random.default_rng(seed)
    figures = []
    for tolerance in map(float, tolerances.split(",")):
        every: list[Finish] = []
        for level in LADDER:
            ends = [
                race(_differences(rng, items, level), tolerance, alpha) for _ in range(problems)
            ]
            every += ends
            figures.append(_errors(level, tolerance, alpha, ends))
            figures += _decided(f"{level.name}, tolerance {tolerance:.0%}", ends)
        figures += _decided(f"all levels, tolerance {tolerance:.0%}", every)
    return figures


def race(differences: Any, tolerance: float, alpha: float) -> Finish:
    """Race one list of differences to its verdict."""
    from edgebench.stats.sequential import Race

    running = Race(tolerance, alpha)
    for start in range(0, len(differences), BATCH):
        if running.update(differences[start : start + BATCH].tolist()) != "open":
            break
    return Finish(running.finish(), running.n / len(differences))


def _differences(rng: np.random.Generator, items: int, level: Level) -> Any:
    """Return one list of differences: 1 only ours is right, -1 only the reference, else 0."""
    odds = [
        (level.discordance - level.mean) / 2,
        1 - level.discordance,
        (level.discordance + level.mean) / 2,
    ]
    return rng.choice([-1.0, 0.0, 1.0], size=items, p=odds)


def _errors(level: Level, tolerance: float, alpha: float, ends: list[Finish]) -> Figure:
    wrong = "outside" if level.mean >= -tolerance else "within"
    count = len(ends)
    errors = 100 * sum(end.verdict == wrong for end in ends) / count
    # Three standard errors of a share of alpha, so that a right race misses once in hundreds.
    most = 100 * (alpha + 3 * (alpha * (1 - alpha) / count) ** 0.5)
    name = f"{level.name}, tolerance {tolerance:.0%}: wrong, %"
    return Figure(name, Range(None, round(most, 2)), errors, n=count)


def _decided(name: str, ends: list[Finish]) -> list[Figure]:
    decided = 100 * sum(end.verdict != "open" for end in ends) / len(ends)
    shares = [100 * end.share for end in ends]
    spread = Range(min(shares), max(shares))
    return [
        Figure(f"{name}: decided, %", None, decided, n=len(ends)),
        Figure(f"{name}: items used, %", None, sum(shares) / len(ends), spread, len(ends)),
    ]

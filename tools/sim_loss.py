"""Measure by exact sums and simulation how often the test of a loss errs, and what it covers.

The size over right and wrong answers is summed exactly over all outcomes; clusters are simulated
with losses that cluster as much as told. Prints a table of each.

    python tools/sim_loss.py --n 50 --n 300 --studies 400
"""

from __future__ import annotations

import argparse
import itertools
import math
from dataclasses import dataclass

import numpy as np

from edgebench.stats.loss import loses_at_most, score_p

MARGINS = (0.005, 0.01, 0.02, 0.05)
CLUSTERINGS = ((5, 200), (10, 100), (20, 50), (50, 20), (200, 5))
CORRELATIONS = (0.02, 0.1, 0.3)


@dataclass(frozen=True)
class Rates:
    """How often a study of clusters errs: said to hold, said to be worse, truth outside."""

    holds: float
    worse: float
    outside: float


def size(n: int, margin: float, disagreement: float, side: int, alpha: float = 0.05) -> float:
    """Return how often the side's test rejects where the loss is exactly the margin."""
    p_won, p_lost = (disagreement - margin) / 2, (disagreement + margin) / 2
    total = 0.0
    for lost in _likely(n, p_lost):
        left = n - lost
        likely = _likely(left, min(1.0, p_won / (1 - p_lost)))
        edge = _edge(lost, n, margin, side, alpha, likely)
        rejected = [won for won in likely if side * (won - edge) >= 0]
        chance = _binomial(lost, n, p_lost)
        total += chance * sum(_binomial(won, left, p_won / (1 - p_lost)) for won in rejected)
    return total


def _edge(lost: int, n: int, margin: float, side: int, alpha: float, likely: range) -> int:
    """Return the number won at which the test begins to reject (side 1) or ends (side -1)."""
    low, high = likely.start - 1, likely.stop
    while high - low > 1:
        middle = (low + high) // 2
        rejects = score_p(middle, lost, n, margin, side) <= alpha
        if rejects == (side > 0):
            high = middle
        else:
            low = middle
    return high if side > 0 else low


def _likely(n: int, p: float) -> range:
    reach = 5 * math.sqrt(n * p * (1 - p) + 1) + 4
    return range(max(0, math.floor(n * p - reach)), min(n, math.ceil(n * p + reach)) + 1)


def _binomial(k: int, n: int, p: float) -> float:
    if p <= 0:
        return float(k == 0)
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))


def clustered(
    rng: np.random.Generator, clusters: int, each: int, loss: float, correlation: float
) -> tuple[list[bool], list[bool], list[int]]:
    """Return answers of ours and of a reference that knows all, and their clusters.

    A cluster's items are lost at a rate drawn from a beta distribution of the mean and
    correlation given.
    """
    scale = (1 - correlation) / correlation
    rates = np.repeat(rng.beta(loss * scale, (1 - loss) * scale, clusters), each)
    ours = rng.random(clusters * each) >= rates
    return ours.tolist(), [True] * len(ours), np.repeat(np.arange(clusters), each).tolist()


def rates_of(
    clusters: int, each: int, correlation: float, alpha: float, studies: int, seed: int = 1
) -> Rates:
    """Simulate studies whose true loss is 2 % and judge them against a margin of 2 %."""
    rng = np.random.default_rng(seed)
    counts = np.zeros(3)
    for _ in range(studies):
        answers = clustered(rng, clusters, each, 0.02, correlation)
        judged = loses_at_most(*answers, 0.02, alpha)
        bounds = judged.difference.bounds
        inside = bounds is not None and bounds.low <= -0.02 <= bounds.high
        counts += [judged.verdict == "holds", judged.verdict == "worse", not inside]
    return Rates(*(counts / studies))


def main() -> None:
    """Read the arguments and print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, action="append", help="items; may be given repeatedly")
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--studies", type=int, default=400, help="of clusters, in each setting")
    arguments = parser.parse_args()
    print("largest size over disagreements of 1 to 5 margins, 10 % and 20 %: holds, worse")
    for n, margin in itertools.product(arguments.n or [50, 100, 300, 1000, 3000], MARGINS):
        rates = [margin * factor for factor in (1, 1.2, 1.5, 2, 3, 5)] + [0.1, 0.2]
        rates = [rate for rate in rates if margin <= rate <= 0.4]
        sizes = [
            max(size(n, margin, rate, side, arguments.alpha) for rate in rates) for side in (1, -1)
        ]
        print(
            f"  n {n:5} margin {margin:5.1%}   holds {sizes[0]:.4f}   worse {sizes[1]:.4f}",
            flush=True,
        )
    print("clusters, true loss 2 %, margin 2 %: one-sided errors, and coverage of 95 % intervals")
    for (clusters, each), correlation in itertools.product(CLUSTERINGS, CORRELATIONS):
        one_sided = rates_of(clusters, each, correlation, arguments.alpha, arguments.studies)
        both = rates_of(clusters, each, correlation, 0.025, arguments.studies)
        print(
            f"  {clusters:4} of {each:4} correlation {correlation:4.2f} holds {one_sided.holds:.3f}"
            f"   worse {one_sided.worse:.3f}   covers {1 - both.outside:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

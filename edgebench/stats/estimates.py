"""Shares with their interval, and tests over the same items, pure: numbers in, estimates out.

Knows Wilson's interval, McNemar's exact test and Holm's correction. Knows nothing of runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgebench.records.base import Estimate

Z95 = 1.959963984540054  # the normal quantile at 0.975


def proportion_estimate(successes: int, n: int) -> Estimate:
    """Estimate a proportion with Wilson's score interval (Wilson 1927).

    Raises ValueError on n = 0 or successes outside 0..n.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} isn't a proportion")
    p = successes / n
    z2 = Z95 * Z95
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Estimate(value=p, low=min(p, low), high=max(p, high), n=n, method="Wilson")


def mcnemar_exact(a: Sequence[bool], b: Sequence[bool]) -> float:
    """Return the two-sided p-value of McNemar's exact test over the same items."""
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    m, k = only_a + only_b, min(only_a, only_b)
    if m == 0:
        return 1.0
    tail = sum(math.comb(m, i) for i in range(k + 1))
    return min(1.0, float(2 * tail / 2**m))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiplicity (Holm 1979), in the given order."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted

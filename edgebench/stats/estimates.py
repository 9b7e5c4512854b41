"""Intervals and tests, pure: numbers in, estimates out.

Knows medians with bootstrap intervals, Wilson intervals, paired differences and McNemar's exact
test. Knows nothing of runs or levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgebench.records.base import Estimate

Z95 = 1.959963984540054  # the normal quantile at 0.975
RESAMPLES = 4000
SEED = 20602164  # fixed, so that the same samples give the same interval


def median_estimate(samples: Sequence[float]) -> Estimate:
    """Estimate the median of samples with a percentile bootstrap interval.

    At five samples the interval is their range: nothing narrower is honest.
    Raises ValueError on no samples, and on samples that are not finite.
    """
    if not samples:
        raise ValueError("no samples")
    values = np.asarray(samples, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a sample is not a finite number")
    rng = np.random.default_rng(SEED)
    picks = rng.integers(0, len(values), size=(RESAMPLES, len(values)))
    medians = np.median(values[picks], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return Estimate(
        value=float(np.median(values)),
        low=float(low),
        high=float(high),
        n=len(values),
        method="median, bootstrap",
    )


def rate_estimate(seconds: Sequence[float], tokens: int) -> Estimate:
    """Estimate tokens per second from the seconds that each repetition took."""
    return median_estimate([tokens / second for second in seconds])


def proportion_estimate(successes: int, n: int) -> Estimate:
    """Estimate a proportion with Wilson's score interval (Wilson 1927).

    Raises ValueError on n = 0 or successes outside 0..n.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no proportion")
    p = successes / n
    z2 = Z95 * Z95
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Estimate(value=p, low=min(p, low), high=max(p, high), n=n, method="Wilson")


def paired_difference(a: Sequence[bool], b: Sequence[bool]) -> Estimate:
    """Estimate accuracy(a) - accuracy(b) over the same items, in the same order.

    The interval is Bonett and Price's (2012) adjusted Wald interval for paired proportions. A
    paired bootstrap is not used: where two levels give the same answers it claims an interval
    of width zero.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"{len(a)} and {len(b)} answers are no pairs")
    n = len(a)
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    p_a, p_b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = Z95 * math.sqrt((p_a + p_b - (p_a - p_b) ** 2) / (n + 2))
    value = (only_a - only_b) / n
    return Estimate(
        value=value,
        low=max(-1.0, min(value, p_a - p_b - half)),
        high=min(1.0, max(value, p_a - p_b + half)),
        n=n,
        method="paired, Bonett-Price",
    )


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


def items_to_decide(difference: Estimate, limit: float) -> int | None:
    """Return how many items in all would bring the interval to one side of `limit`.

    Assumes that the difference stays as it is and the width shrinks with the square root of n.
    None where the difference sits on the limit, so that no number would do.
    """
    gap = abs(limit - difference.value)
    half = (difference.high - difference.low) / 2
    if gap < 1e-9:
        return None
    return max(difference.n, math.ceil(difference.n * (half / gap) ** 2))

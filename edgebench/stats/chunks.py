"""Intervals of figures that are taken chunk by chunk along a text, pure.

Neighbouring chunks are alike (their divergences correlate by 0.54 to 0.64 where it was measured),
and so are the rows within one: intervals that take them for independent hold too rarely. Knows
chunks in the order of the text. Knows nothing of models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgebench.records.base import Bounds, Estimate
from edgebench.stats.student import normal_quantile, t_quantile, t_tail

Floats = NDArray[np.float64]

LEAST = 12  # chunks; with fewer their correlation can't be told, and no interval would hold
CAUTION = 1.0  # standard errors by which the correlation may be larger than it was seen
LARGEST_CORRELATION = 0.9
FEW = 10  # rows; with fewer on one side their clustering in chunks can't be told
DESIGN_EFFECT = 3.0  # taken there: 2.7 was seen where it could be
UPPER = 0.975


class _Spread(NamedTuple):
    """The variance of a mean over chunks, and how many degrees of freedom it was estimated with."""

    variance: float
    freedom: int


def mean_of_chunks(values: Sequence[float]) -> Estimate:
    """Estimate the mean over chunks in the order of their text, such as each chunk's divergence.

    Student's t, its variance and degrees of freedom those of a sequence whose neighbours correlate
    as these do (Zwiers & von Storch 1995, for the equivalent number of values; the bias of the
    correlation is Kendall's 1954). No interval with fewer than LEAST chunks. n is the chunks.
    Raises ValueError on no chunk and on values that aren't finite.
    """
    checked = np.asarray(values, np.float64)
    if checked.ndim != 1 or not len(checked) or not np.isfinite(checked).all():
        raise ValueError("no chunks, or a value that isn't finite")
    n, value = len(checked), math.fsum(checked) / len(checked)
    if n < LEAST:
        return Estimate(value=value, n=n, method=f"mean by chunk; {LEAST} would give an interval")
    spread = _spread_of_mean(checked)
    reach = t_quantile(UPPER, spread.freedom) * math.sqrt(spread.variance)
    return Estimate(
        value=value,
        low=value - reach,
        high=value + reach,
        n=n,
        method="mean by chunk, neighbours correlated",
    )


def p_above_in_chunks(values: Sequence[float], limit: float) -> float | None:
    """Return the p-value of "the mean over chunks exceeds the limit"; None below LEAST chunks.

    It is that of "it is below" for values and limit of the other sign. See `mean_of_chunks`; a
    single side asks for Johnson's (1978) correction, since chunks' divergences are skewed.
    """
    checked = np.asarray(values, np.float64)
    if len(checked) < LEAST or not np.isfinite(checked).all():
        return None
    spread, gap = _spread_of_mean(checked), float(checked.mean()) - limit
    if spread.variance == 0:
        return float(gap <= 0)
    error, deviation = math.sqrt(spread.variance), float(checked.std(ddof=1))
    skewness = float(((checked - checked.mean()) ** 3).mean()) / deviation**3
    shift = skewness * spread.variance / (6 * deviation) + skewness * gap**2 / (3 * deviation)
    return t_tail((gap + shift) / error, spread.freedom)


def share_of_chunks(successes: Sequence[int], rows: Sequence[int]) -> Estimate:
    """Estimate the share of rows that succeed, given each chunk's successes and rows, in order.

    Wilson's interval for as many independent rows as would give the share the variance that its
    chunks show (Korn & Graubard 1998). No interval with fewer than LEAST chunks; n is the chunks.
    Raises ValueError where the counts don't go together.
    """
    hits, sizes = np.asarray(successes, np.float64), np.asarray(rows, np.float64)
    if hits.shape != sizes.shape or hits.ndim != 1 or not len(hits):
        raise ValueError(f"{len(successes)} chunks of successes, {len(rows)} of rows")
    if not ((hits >= 0) & (hits <= sizes) & (sizes > 0)).all():
        raise ValueError("a chunk has more successes than rows, or no rows")
    n, total = len(hits), float(sizes.sum())
    share = float(hits.sum()) / total
    if n < LEAST:
        return Estimate(value=share, n=n, method=f"share; {LEAST} chunks would give an interval")
    spread = _spread_of_mean((hits - share * sizes) / sizes.mean())
    simple = share * (1 - share) / total  # its variance if rows were independent
    effect = max(1.0, spread.variance / simple) if simple else DESIGN_EFFECT
    if min(hits.sum(), total - hits.sum()) < FEW:
        effect = max(effect, DESIGN_EFFECT)
    widened = t_quantile(UPPER, spread.freedom) / normal_quantile(UPPER)
    low, high = _wilson(share, total / effect / widened**2)
    return Estimate(
        value=share,
        low=min(share, low),
        high=max(share, high),
        n=n,
        method="share by chunk, Wilson",
    )


def _spread_of_mean(values: Floats) -> _Spread:
    n = len(values)
    deviations = values - values.mean()
    squares = float((deviations**2).sum())
    if squares == 0:
        return _Spread(0.0, n - 1)
    seen = float((deviations[1:] * deviations[:-1]).sum()) / squares
    likely = (n * seen + 1) / (n - 4)  # around a mean of its own it comes out too small
    caution = CAUTION * math.sqrt(max(0.0, 1 - likely**2) / n)
    rho = min(max(0.0, likely + caution), LARGEST_CORRELATION)
    times = (1 + rho) / (1 - rho)  # so many chunks tell as much as one that stands alone
    inflation = times - 2 * rho * (1 - rho**n) / (n * (1 - rho) ** 2)
    variance = squares / max(n - inflation, n / 4)
    return _Spread(variance * inflation / n, max(2, math.floor(n / times - 1)))


def _wilson(share: float, n: float) -> Bounds:
    """Return Wilson's (1927) interval for a number of rows that needn't be whole."""
    z2 = normal_quantile(UPPER) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Bounds(max(0.0, centre - half), min(1.0, centre + half))

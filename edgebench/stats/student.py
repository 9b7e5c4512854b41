"""The normal and Student's t distribution, for want of scipy: tails and quantiles.

Knows degrees of freedom from 1 up, whole or not. Knows nothing of samples.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

NORMAL = NormalDist()
TINY = 1e-300
TERMS = 500


def normal_quantile(p: float) -> float:
    """Return the number below which a standard normal variable lies with probability p."""
    return NORMAL.inv_cdf(p)


def normal_tail(z: float) -> float:
    """Return the probability that a standard normal variable exceeds z."""
    return math.erfc(z / math.sqrt(2)) / 2


def t_tail(t: float, freedom: float) -> float:
    """Return the probability that Student's t with `freedom` degrees exceeds t."""
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    half = _incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2
    return half if t >= 0 else 1 - half


@lru_cache(maxsize=4096)
def t_quantile(p: float, freedom: float) -> float:
    """Return the number below which Student's t with `freedom` degrees lies with probability p.

    Raises ValueError on p outside 0..1 and on less than one degree of freedom.
    """
    if not 0 < p < 1 or freedom < 1:
        raise ValueError(f"no t quantile at {p} with {freedom} degrees of freedom")
    if p < 0.5:
        return -t_quantile(1 - p, freedom)
    low, high = 0.0, 1.0
    while t_tail(high, freedom) > 1 - p:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, freedom) > 1 - p else (low, middle)
    return (low + high) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function by its continued fraction (Lentz)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(log_front + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    total = d
    for m in range(1, TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1 / _not_zero(1 + step * d)
            c = _not_zero(1 + step / c)
            total *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * total


def _not_zero(number: float) -> float:
    return number if abs(number) > TINY else TINY

"""What a few launches say: their typical figure, where a repeat would land, ratios by round.

A sample is one launch's figure (of a speed: the median of its repetitions). Launches differ by
more than repetitions within one do, so a single launch says nothing about the next. Knows nothing
of levels or runs. Figures that are all positive are treated on the log scale.

The typical figure is the median of the launches: of 20 launches one or so is much slower than the
others, and a mean follows it (a repeat then leaves a mean's interval in 11 to 16 %, see
tools/sim_launches.py), while the median does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebench.records.base import Estimate
from edgebench.stats.student import t_quantile, t_tail

Floats = NDArray[np.float64]
Pairs = Mapping[str, float] | Iterable[tuple[str, float]]

LEAST_FOR_INTERVAL = 3  # launches; with two, a repeat may land 13 standard deviations away
LEAST_FOR_BOUND = 5
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Drift:
    """How figures move from launch to launch, as a share of themselves (0.01: +1 % a launch)."""

    per_launch: float
    p_value: float


def over_launches(samples: Sequence[float]) -> Estimate:
    """Estimate the typical launch, and where it will lie when as many launches are made again.

    The interval holds a repeat's median in 95 % of repeats; there is none below three launches.
    Raises ValueError on no samples, and on samples that are not finite.
    """
    values = _checked(samples)
    n = len(values)
    value = float(np.median(values))
    if n < LEAST_FOR_INTERVAL:
        return Estimate(value=value, n=n, method=f"median of {_launches(n)}, too few to say more")
    reach = t_quantile((1 + CONFIDENCE) / 2, n - 1) * math.sqrt(2) * _error_of(values)
    low, high = _around(value, reach, values)
    method = f"median of {_launches(n)}; a repeat lands within"
    return Estimate(value=value, low=low, high=high, n=n, method=method)


def bound_below(samples: Sequence[float], alpha: float = 0.05) -> float | None:
    """Return what the long-run typical figure exceeds, wrong in a share alpha; None below five."""
    return _bound(samples, alpha, -1)


def bound_above(samples: Sequence[float], alpha: float = 0.05) -> float | None:
    """Return what the long-run typical figure falls short of; see `bound_below`."""
    return _bound(samples, alpha, 1)


def p_above(samples: Sequence[float], limit: float) -> float | None:
    """Return the p-value of "the long-run typical figure exceeds the limit"; None below five.

    It is below alpha exactly where `bound_below` at that alpha exceeds the limit.
    """
    return _p_value(samples, limit, 1)


def p_below(samples: Sequence[float], limit: float) -> float | None:
    """Return the p-value of "the long-run typical figure is below the limit"; None below five."""
    return _p_value(samples, limit, -1)


def ratio(a: Pairs, b: Pairs) -> Estimate | None:
    """Estimate a / b from launches paired by their round; None where they share no round.

    The value is the geometric mean of the rounds' ratios, the interval Student's on the log: what
    a round's launches have in common, such as heat, cancels. Below three rounds it has none.
    Raises ValueError on figures that are not positive.
    """
    logs = _log_ratios(a, b)
    n = len(logs)
    if n == 0:
        return None
    centre = math.fsum(logs) / n
    rounds = "1 round" if n == 1 else f"{n} rounds"
    if n < LEAST_FOR_INTERVAL:
        method = f"geometric mean over {rounds}, too few to say more"
        return Estimate(value=math.exp(centre), n=n, method=method)
    reach = t_quantile((1 + CONFIDENCE) / 2, n - 1) * float(logs.std(ddof=1)) / math.sqrt(n)
    return Estimate(
        value=math.exp(centre),
        low=math.exp(centre - reach),
        high=math.exp(centre + reach),
        n=n,
        method=f"geometric mean over {rounds}, t",
    )


def ratio_p(a: Pairs, b: Pairs) -> float | None:
    """Return the two-sided p-value of "a and b are alike" over rounds; None below three."""
    logs = _log_ratios(a, b)
    n = len(logs)
    if n < LEAST_FOR_INTERVAL:
        return None
    error = float(logs.std(ddof=1)) / math.sqrt(n)
    centre = math.fsum(logs) / n
    if error == 0:
        return float(centre == 0)
    return 2 * t_tail(abs(centre) / error, n - 1)


def standard_error(samples: Sequence[float]) -> float:
    """Return the typical launch's standard error, on the log scale for positive figures.

    Raises ValueError on fewer than two samples, and on samples that are not finite.
    """
    values = _checked(samples)
    if len(values) < 2:
        raise ValueError("a single launch has no standard error")
    return _error_of(values)


def spread(samples: Sequence[float]) -> float | None:
    """Return how much launches differ, as a share of their median; None below two.

    From the median distance to the median, so that one slow launch does not decide it.
    """
    values = _checked(samples)
    centre = float(np.median(values))
    if len(values) < 2 or centre == 0:
        return None
    return 1.4826 * float(np.median(np.abs(values - centre))) / abs(centre)


def drift(samples_in_order: Sequence[float]) -> Drift | None:
    """Return the trend over launches in the order they were made; None below four.

    By least squares on the log; the p-value is that of no trend. Raises ValueError on figures
    that are not positive.
    """
    logs = _logs(samples_in_order)
    n = len(logs)
    if n < 4:
        return None
    if np.ptp(logs) == 0:
        return Drift(per_launch=0.0, p_value=1.0)
    steps = np.arange(n) - (n - 1) / 2
    weight = float((steps**2).sum())
    slope = float(steps @ logs) / weight
    left = logs - logs.mean() - slope * steps
    error = math.sqrt(float(left @ left) / (n - 2) / weight)
    p_value = 2 * t_tail(abs(slope) / error, n - 2) if error else 0.0
    return Drift(per_launch=math.expm1(slope), p_value=p_value)


def _bound(samples: Sequence[float], alpha: float, side: int) -> float | None:
    values = _checked(samples)
    if not 0 < alpha < 0.5:
        raise ValueError(f"an alpha of {alpha} is not between 0 and 0.5")
    if len(values) < LEAST_FOR_BOUND:
        return None
    reach = t_quantile(1 - alpha, len(values) - 1) * _error_of(values)
    return _around(float(np.median(values)), reach, values)[side > 0]


def _p_value(samples: Sequence[float], limit: float, side: int) -> float | None:
    values = _checked(samples)
    if len(values) < LEAST_FOR_BOUND:
        return None
    centre = float(np.median(values))
    if _positive(values):
        gap = math.log(centre / limit) if limit > 0 else math.inf
    else:
        gap = centre - limit
    error = _error_of(values)
    if error == 0:
        return float(side * gap <= 0)
    return t_tail(side * gap / error, len(values) - 1)


def _around(value: float, reach: float, values: Floats) -> tuple[float, float]:
    if _positive(values):
        return value * math.exp(-min(reach, 700.0)), value * math.exp(min(reach, 700.0))
    return value - reach, value + reach


def _error_of(values: Floats) -> float:
    """Return the median's standard error, from the standard deviation, on the scale in use.

    The deviation is the usual one: where a launch was slow it grows, and so does the interval. For
    the variance of a normal sample's median see Kenney & Keeping (1962); within 2 % from 3 up.
    """
    n = len(values)
    scale = float((np.log(values) if _positive(values) else values).std(ddof=1))
    return scale * math.sqrt(math.pi / 2 / (n + (0.57 if n % 2 else 1.3)))


def _positive(values: Floats) -> bool:
    return bool((values > 0).all())


def _log_ratios(a: Pairs, b: Pairs) -> Floats:
    ours, theirs = dict(a), dict(b)
    shared = [name for name in ours if name in theirs]
    return _logs([ours[name] for name in shared]) - _logs([theirs[name] for name in shared])


def _logs(samples: Sequence[float]) -> Floats:
    values = np.asarray(samples, dtype=np.float64)
    if not (np.isfinite(values) & (values > 0)).all():
        raise ValueError("a figure is not a positive number")
    return np.log(values)


def _checked(samples: Sequence[float]) -> Floats:
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError("no samples")
    if not np.isfinite(values).all():
        raise ValueError("a sample is not a finite number")
    return values


def _launches(n: int) -> str:
    return "1 launch" if n == 1 else f"{n} launches"

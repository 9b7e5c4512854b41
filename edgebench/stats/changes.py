"""Whether launches made at two times differ by more than launches do.

Samples are one launch's figure each, all positive; they are compared on the log scale. Knows no
rounds: what was measured in turn is compared by `stats/launches.py`'s ratio. Knows nothing of what
differs between two days but not between launches: who asks for a least change guards against it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgebench.records.base import Estimate, Record
from edgebench.stats.launches import LEAST_FOR_INTERVAL, standard_error
from edgebench.stats.student import t_quantile, t_tail


class Times(Record):
    """How many times the earlier figure the later one is, with a 95 % interval where known."""

    ratio: Estimate
    p_value: float | None = None


def times_as_much(before: Sequence[float], after: Sequence[float]) -> Times:
    """Compare the typical launches of two times by Welch's t on the log of their medians.

    There is neither interval nor p-value where either has fewer than three launches. Raises
    ValueError on no samples and on samples that are not positive.
    """
    if min((*before, *after), default=0.0) <= 0 or not before or not after:
        raise ValueError("a figure is not a positive number")
    value = _median(after) / _median(before)
    n = min(len(before), len(after))
    if n < LEAST_FOR_INTERVAL:
        method = "fewer than three launches on one side"
        return Times(ratio=Estimate(value=value, n=n, method=method))
    first, second = standard_error(before) ** 2, standard_error(after) ** 2
    if first + second == 0:
        exact = Estimate(value=value, low=value, high=value, n=n, method="no launch differs")
        return Times(ratio=exact, p_value=float(value == 1))
    error = math.sqrt(first + second)
    # Welch-Satterthwaite: the degrees of freedom of two variances that are not alike.
    freedom = (first + second) ** 2 / (first**2 / (len(before) - 1) + second**2 / (len(after) - 1))
    reach = min(700.0, t_quantile(0.975, freedom) * error)
    ratio = Estimate(
        value=value,
        low=value * math.exp(-reach),
        high=value * math.exp(reach),
        n=n,
        method="ratio of medians over launches, Welch",
    )
    return Times(ratio=ratio, p_value=2 * t_tail(abs(math.log(value)) / error, freedom))


def _median(samples: Sequence[float]) -> float:
    ordered = sorted(samples)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2

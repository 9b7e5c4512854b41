"""How much more must be measured so that the evidence decides, and what it could show at all.

Forecasts take account of how little the evidence so far says of the truth: the gap to the limit
is not taken as known but as one of those that fit what was seen, so the chance that is told is met
on average over truths (tools/sim_advice.py). Knows estimates and launches, not levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edgebench.records.base import Estimate
from edgebench.stats.launches import LEAST_FOR_BOUND, over_launches, p_above, standard_error
from edgebench.stats.student import normal_quantile, normal_tail, t_quantile, t_tail

ALPHA = 0.05  # of each one-sided test
POWER = 0.8
MOST_ITEMS = 10_000_000
MOST_LAUNCHES = 500


def chance_to_decide(
    difference: Estimate, n_now: int, n_total: int, margin: float, alpha: float = ALPHA
) -> float:
    """Return the chance that `n_total` items, those of now among them, decide about the margin.

    `difference` is `loses_at_most`'s: its interval lies at `alpha` on each side. Clusters are
    accounted for by its width. 0 where it has no interval. Raises ValueError where n_total is
    below n_now or there are no items.
    """
    if not 0 < n_now <= n_total:
        raise ValueError(f"{n_total} items of which {n_now} were answered")
    if difference.bounds is None:
        return 0.0
    low, high = difference.bounds
    if low > -margin or high < -margin:
        return 1.0
    z = normal_quantile(1 - alpha)
    # The bounds' middle, not the value: few disagreements shift it as pseudo-counts would.
    gap, error_now = (low + high) / 2 + margin, (high - low) / (2 * z)
    return _chance(gap, error_now, n_now / n_total, z, normal_tail)


def items_to_decide(
    difference: Estimate, n_now: int, margin: float, power: float = POWER, alpha: float = ALPHA
) -> int | None:
    """Return how many items in all decide about the margin with the chance `power`.

    None where ten million would not, or the difference has no interval.
    """
    if difference.bounds is None:
        return None
    return _smallest(
        lambda n: chance_to_decide(difference, n_now, n, margin, alpha) >= power, n_now, MOST_ITEMS
    )


def smallest_loss_shown(
    n: int, disagreement: float, margin: float = 0.0, power: float = POWER, alpha: float = ALPHA
) -> float:
    """Return the smallest loss that `n` items show to exceed the margin with the chance `power`.

    With a margin of 0 it is also the smallest limit that a level which loses nothing is shown to
    keep. `disagreement` is the share of items on which one of two levels alone is right.
    Raises ValueError on no items.
    """
    if n < 1:
        raise ValueError("no items")
    reach = normal_quantile(1 - alpha) + normal_quantile(power)
    rate = max(disagreement, margin)
    score = reach * math.sqrt(rate / n)
    return margin + max(score, 1 - alpha ** (1 / n))


def items_that_could(
    margin: float, disagreement: float, power: float = POWER, alpha: float = ALPHA
) -> int | None:
    """Return how many items show a level that loses nothing to keep the margin, with `power`.

    None for a margin of 0, which no number of items shows.
    """
    if margin <= 0:
        return None
    return _smallest(
        lambda n: smallest_loss_shown(n, disagreement, 0.0, power, alpha) <= margin, 1, MOST_ITEMS
    )


def launches_to_decide(
    samples: Sequence[float], limit: float, power: float = POWER, alpha: float = ALPHA
) -> int | None:
    """Return how many launches in all show the typical figure to be above or below the limit.

    With the chance `power`, and never below five. None where 500 would not do, or with fewer than
    two launches, whose spread nobody knows.
    """
    n = len(samples)
    if n < 2:
        return None
    if n >= LEAST_FOR_BOUND:
        above = p_above(samples, limit) or 0.0
        if min(above, 1 - above) <= alpha:
            return n
    value, error = over_launches(samples).value, standard_error(samples)
    positive = min(samples) > 0 and limit > 0
    gap = math.log(value / limit) if positive else value - limit
    if error == 0:
        return max(n, LEAST_FOR_BOUND) if gap else None

    def decides(total: int) -> bool:
        z = t_quantile(1 - alpha, total - 1)
        return _chance(gap, error, n / total, z, lambda t: t_tail(t, n - 1)) >= power

    return _smallest(decides, max(n + 1, LEAST_FOR_BOUND), MOST_LAUNCHES)


def _chance(
    gap: float, error_now: float, share: float, z: float, tail: Callable[[float], float]
) -> float:
    """Return the chance that the gap will exceed z of its errors once `share` of all is today's.

    The final gap lies about today's with the error that is still to be lost.
    """
    error_then = error_now * math.sqrt(share)
    wander = error_now * math.sqrt(max(0.0, 1 - share))
    if wander == 0:
        return float(abs(gap) > z * error_then)
    need = z * error_then
    return min(1.0, tail((need - gap) / wander) + tail((need + gap) / wander))


def _smallest(enough: Callable[[int], bool], least: int, most: int) -> int | None:
    """Return the smallest number that is enough, taken that all above it are; None beyond most."""
    if not enough(most):
        return None
    low, high = least - 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high

"""How much more must be measured so that the evidence decides, and what it could show at all.

Forecasts take account of how little the evidence so far says of the truth: the gap to the limit
is not taken as known but as one of those that fit what was seen, so the chance that is told is met
on average over truths (tests/unit/test_advice.py). Knows estimates and launches, not levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgebench.records.base import Estimate
from edgebench.stats.launches import (
    LEAST_FOR_BOUND,
    over_launches,
    p_above,
    p_below,
    standard_error,
)
from edgebench.stats.student import normal_quantile, normal_tail, t_quantile

ALPHA = 0.05  # of each one-sided test
POWER = 0.8
# Losses are seldom more than a share of the disagreements: their deviation, as such a share.
USUAL_LOSS = 0.25
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
    seen, error = (low + high) / 2, (high - low) / (2 * z)
    usual = USUAL_LOSS * error * error * n_now
    return _chance(seen, -margin, Errors(error, usual), n_now / n_total, z)


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
    return margin + max(reach * math.sqrt(rate / n), 1 - math.pow(alpha, 1 / n))


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
    least = max(n, LEAST_FOR_BOUND)
    return _smallest(
        lambda total: chance_of_launches(samples, limit, total, alpha) >= power,
        least,
        MOST_LAUNCHES,
    )


def chance_of_launches(
    samples: Sequence[float], limit: float, n_total: int, alpha: float = ALPHA
) -> float:
    """Return the chance that `n_total` launches, those of now among them, decide about the limit.

    0 below two launches, whose spread nobody knows, and where `n_total` is below five.
    Raises ValueError where n_total is below the launches there are.
    """
    n = len(samples)
    if n_total < n:
        raise ValueError(f"{n_total} launches of which {n} were made")
    if n < 2 or n_total < LEAST_FOR_BOUND:
        return 0.0
    if n >= LEAST_FOR_BOUND:
        above, below = p_above(samples, limit), p_below(samples, limit)
        if min(1.0 if above is None else above, 1.0 if below is None else below) <= alpha:
            return 1.0
    value, error = over_launches(samples).value, standard_error(samples)
    positive = min(samples) > 0 and limit > 0
    gap = math.log(value / limit) if positive else value - limit
    # So few launches know their own spread badly: Student's factor stands for that.
    doubt = error * t_quantile(POWER, n - 1) / normal_quantile(POWER)
    z = t_quantile(1 - alpha, n_total - 1)
    return _chance(gap, 0.0, Errors(doubt), n / n_total, z)


@dataclass(frozen=True)
class Errors:
    """The standard error so far, and the deviation of such figures from 0 where that is known."""

    now: float
    usual: float = math.inf


def _chance(seen: float, limit: float, errors: Errors, share: float, z: float) -> float:
    """Return the chance that a figure will lie z errors off the limit.

    `share`: today's part of all that will then have been measured. The final figure is a mean of
    today's and of what comes, which lies about the truth; the truth lies about today's figure,
    drawn towards 0 where such figures are seldom far from it.
    """
    trust = 1 / (1 + (errors.now / errors.usual) ** 2) if errors.usual else 0.0
    middle = share * seen + (1 - share) * trust * seen - limit
    wander = errors.now * math.sqrt(max(0.0, (1 - share) * (share + (1 - share) * trust)))
    need = z * errors.now * math.sqrt(share)
    if wander == 0:
        return float(abs(middle) > need)
    return min(1.0, normal_tail((need - middle) / wander) + normal_tail((need + middle) / wander))


def _smallest(enough: Callable[[int], bool], least: int, most: int) -> int | None:
    """Return the smallest number that is enough, taken that all above it are; None beyond most."""
    if not enough(most):
        return None
    low, high = least - 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high

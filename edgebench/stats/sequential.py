"""Sequential bounds that stay valid however early one stops: is a level within tolerance yet?

Knows paired differences (ours minus the reference's, each in [-1, 1]) that come in random order.
What it says is about the model, that is, about all the items that might have been drawn: having
asked a whole list leaves as much in doubt as a list of that length does. Knows nothing of levels,
tasks or runs, and cannot see whether the order was random: shuffle the items once, with a seed,
before the first. Items that share a cluster are no news to each other: ask a cluster's items in one
go and give their mean as one difference (`cluster_means`).

A race is a bet. Against "the mean is at most m" a gambler stakes a share of his capital on every
item; were the claim true, his capital would exceed 1/alpha with probability alpha at most, whenever
he looks (Ville 1939). Which share is staked may depend on the items before, never on this one.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgebench.records.base import Estimate
from edgebench.stats.loss import loses_at_most_differences, quick_verdict

Verdict = Literal["within", "outside", "open"]
Floats = NDArray[np.float64]

ALPHA = 0.05
# The share of alpha that is kept for one last look, with the test for a fixed number of items,
# once the list has ended. The race itself then takes up to 7 % more items; of races that near the
# list's end it decides more (2000 items, 8 % differ, nothing lost, limit 1 %: 23 instead of 11 %).
LAST_SHARE = 0.2
# Shares staked, as multiples of effect/variance, and the capital that starts on each. They decide
# how soon a race ends and not how often it errs; tools/benchmarks/racing.py measures the former.
STAKES = np.array([[0.6], [1.0], [4.0]])
LOG_START = np.log(np.array([[0.45], [0.45], [0.10]]))
LARGEST_STAKE = 0.9  # of the capital: one item never ruins the gambler
SMALLEST_EFFECT = 0.005  # what is bet on where the tolerance is smaller still
PRIOR_ITEMS, PRIOR_SQUARE = 20, 0.10  # what the variance is taken for before any item
STEPS = 26  # halvings of an interval no longer than 2: bounds to 3e-8


def race_alpha(levels: int, alpha: float = ALPHA) -> float:
    """Return each level's share of `alpha` where several race at once (Bonferroni).

    The chance that any of them is judged wrongly is then `alpha` at most. Holm's steps would need
    p-values at one common moment, which races that stop apart do not have.
    Raises ValueError on fewer than one level and on alpha outside 0..1.
    """
    if levels < 1:
        raise ValueError(f"{levels} levels cannot race")
    return _checked_alpha(alpha) / levels


def cluster_means(differences: Sequence[float], clusters: Sequence[Hashable]) -> list[float]:
    """Return each cluster's mean difference, in the order in which the clusters first come.

    Raises ValueError on unlike lengths.
    """
    members: dict[Hashable, list[float]] = {}
    for difference, cluster in zip(differences, clusters, strict=True):
        members.setdefault(cluster, []).append(difference)
    return [math.fsum(cluster) / len(cluster) for cluster in members.values()]


class Race:
    """Judge a level's mean difference against -tolerance, item by item.

    `tolerance`: by how much the mean of ours minus the reference's may be below 0, in 0..1.
    `alpha`: how often the verdict may be wrong. Each bound has it to itself, since whatever the
    truth, only one of the two verdicts is wrong; so `bounds` are two bounds at 1 - alpha each.
    `last_share`: of alpha, kept for the look at the whole list.

    Betting with a mixture of constant multiples ("diversified Kelly", Waudby-Smith & Ramdas 2024,
    Estimating means of bounded random variables by betting).
    Raises ValueError on numbers outside these ranges.
    """

    def __init__(
        self, tolerance: float, alpha: float = ALPHA, last_share: float = LAST_SHARE
    ) -> None:
        if not 0 <= tolerance < 1:
            raise ValueError(f"a tolerance of {tolerance} is not in 0..1")
        self._limit = -float(tolerance)
        self._alpha = _checked_alpha(alpha)
        if not 0 < last_share < 1:
            raise ValueError(f"a share of {last_share} is not between 0 and 1")
        self._racing = (1 - last_share) * self._alpha
        self._kept = last_share * self._alpha
        self._values: Floats = np.empty(0)
        self._verdict: Verdict = "open"
        self._has_looked = False

    def update(self, differences: Sequence[float]) -> Verdict:
        """Take the next items' differences, in their random order, and return the verdict.

        "within": the lower bound is above -tolerance; "outside": the upper bound is below it.
        The first of the two stands, whatever comes after.
        Raises ValueError on a difference outside -1..1, and then takes none of them, and after
        the last look.
        """
        if self._has_looked:
            raise ValueError("the race has ended")
        self._values = np.concatenate([self._values, _checked(differences)])
        if self._verdict == "open":
            self._verdict = self._judge()
        return self._verdict

    def finish(self) -> Verdict:
        """Take the one last look that is left when a list has ended, and return the verdict.

        Where the race is open it is judged as any fixed number of items, at the share of alpha
        that was kept for it. Taking it before the list's end, because of what has come, is wrong.
        """
        if self._verdict == "open" and self.n and not self._has_looked:
            last = quick_verdict(self._values.tolist(), -self._limit, self._kept)
            words: dict[str, Verdict] = {"holds": "within", "worse": "outside", "open": "open"}
            self._verdict, self._has_looked = words[last], True
        return self._verdict

    @property
    def verdict(self) -> Verdict:
        """Return the verdict so far."""
        return self._verdict

    @property
    def n(self) -> int:
        """Return how many items (or clusters) have come."""
        return len(self._values)

    @property
    def mean(self) -> float:
        """Return the mean difference of the items so far. Raises ValueError before the first."""
        if not self.n:
            raise ValueError("no items yet")
        return math.fsum(self._values) / self.n

    @property
    def bounds(self) -> Estimate:
        """Return the mean so far between its lower and upper bound, valid at any stopping time.

        Each bound is the tightest of all so far, but never beyond the mean of the items so far.
        Raises ValueError before the first item.
        """
        mean = self.mean
        low = self._bound(self._values, self._limit)
        high = -self._bound(-self._values, -self._limit)
        if self._has_looked:
            last = loses_at_most_differences(self._values.tolist(), -self._limit, self._kept)
            if last.difference.bounds:
                low = max(low, last.difference.bounds.low)
                high = min(high, last.difference.bounds.high)
        return Estimate(
            value=mean,
            low=min(mean, low),
            high=max(mean, high),
            n=self.n,
            method=f"betting sequence, {100 * self._alpha:.3g} % on each side",
        )

    def _judge(self) -> Verdict:
        above = self._first_win(self._values, self._limit)
        below = self._first_win(-self._values, -self._limit)
        if above == below:  # neither has won: both cannot on the same item
            return "open"
        return "within" if above < below else "outside"

    def _first_win(self, values: Floats, limit: float) -> int:
        """Return the item at which "the mean is at most `limit`" fell, or n where it stands."""
        won = self._log_capital(values, limit) >= -math.log(self._racing)
        return int(won.argmax()) if won.any() else len(values)

    def _bound(self, values: Floats, limit: float) -> float:
        """Return the largest m so that the bet against "the mean is at most m" has been won.

        The capital falls as m rises, so halving finds it. It starts from `limit`, where the
        verdict was given: bound and verdict then never differ.
        """
        target = -math.log(self._racing)

        def won(m: float) -> bool:
            return bool(self._log_capital(values, m).max() >= target)

        low, high = (limit, 1.0) if won(limit) else (-1.0, limit)
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if won(middle) else (low, middle)
        return low

    def _log_capital(self, values: Floats, m: float) -> Floats:
        """Return the log of the capital after each item, betting that the mean exceeds `m`."""
        effect = max(-self._limit, SMALLEST_EFFECT)
        count = np.arange(len(values), dtype=np.float64)
        square = np.cumsum(values**2) - values**2
        stake = effect / ((PRIOR_ITEMS * PRIOR_SQUARE + square) / (PRIOR_ITEMS + count))
        most = LARGEST_STAKE / max(1 + m, 1e-9)
        gains = np.log1p(np.minimum(STAKES * stake, most) * (values - m))
        logs = LOG_START + np.cumsum(gains, axis=1)
        top = logs.max(axis=0)
        total: Floats = top + np.log(np.exp(logs - top).sum(axis=0))
        return total


def _checked(differences: Sequence[float]) -> Floats:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError("differences are not one row of numbers")
    if not (np.abs(values) <= 1).all():  # so is not a number
        raise ValueError("a difference is not in -1..1")
    return values


def _checked_alpha(alpha: float) -> float:
    if not 0 < alpha < 1:
        raise ValueError(f"an alpha of {alpha} is not between 0 and 1")
    return float(alpha)

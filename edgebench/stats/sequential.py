"""Sequential bounds that stay valid however early one stops: is a level within tolerance yet?

Knows paired differences (ours minus the reference's, each in [-1, 1]) that come in random order,
with or without a known number of items in all. Knows nothing of levels, tasks or runs, and cannot
see whether the order was random: shuffle the items once, with a seed, before the first.

A race is a bet. Against "the mean is at most m" a gambler stakes a share of his capital on every
item; were the claim true, his capital would exceed 1/alpha with probability alpha at most, whenever
he looks (Ville 1939). Which share is staked may depend on the items before, never on this one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgebench.records.base import Estimate

Verdict = Literal["within", "outside", "open"]
Floats = NDArray[np.float64]

# Shares staked, as multiples of effect/variance, and the capital that starts on each. They decide
# how soon a race ends and not how often it errs; tools/bench_racing.py measures the former.
STAKES = np.array([[0.6], [1.0], [4.0]])
LOG_START = np.log(np.array([[0.45], [0.45], [0.10]]))
LARGEST_STAKE = 0.9  # of the capital: one item never ruins the gambler
SMALLEST_EFFECT = 0.005  # what is bet on where the tolerance is smaller still
PRIOR_ITEMS, PRIOR_SQUARE = 20, 0.10  # what the variance is taken for before any item
STEPS = 26  # halvings of an interval no longer than 2: bounds to 3e-8
SLACK = 1e-12  # sums of floats that stand for the same number


def race_alphas(levels: int, alpha: float = 0.05) -> tuple[float, ...]:
    """Share `alpha` between levels that race at once, equally (Bonferroni).

    The chance that any of them is judged wrongly is then `alpha` at most. Holm's steps would need
    p-values at one common moment, which races that stop apart do not have.
    Raises ValueError on fewer than one level and on alpha outside 0..1.
    """
    if levels < 1:
        raise ValueError(f"{levels} levels cannot race")
    return (_checked_alpha(alpha) / levels,) * levels


class Race:
    """Judge a level's mean difference against -tolerance, item by item.

    `tolerance`: by how much the mean of ours minus the reference's may be below 0, in 0..1.
    `alpha`: how often the verdict may be wrong. Each bound has it to itself, since whatever the
    truth, only one of the two verdicts is wrong; so `bounds` are two bounds at 1 - alpha each.
    `population`: items in all, where they are drawn without replacement from a fixed list; the
    verdict is then about that list's mean, and is exact once all have come. Without it the
    verdict is about the mean of what the items were drawn from.

    Betting with a mixture of constant multiples ("diversified Kelly", Waudby-Smith & Ramdas 2024,
    Estimating means of bounded random variables by betting); without replacement after
    Waudby-Smith & Ramdas 2020, Confidence sequences for sampling without replacement.
    Raises ValueError on numbers outside these ranges.
    """

    def __init__(
        self, tolerance: float, alpha: float = 0.05, population: int | None = None
    ) -> None:
        if not 0 <= tolerance < 1:
            raise ValueError(f"a tolerance of {tolerance} is not in 0..1")
        if population is not None and population < 1:
            raise ValueError(f"a population of {population} items")
        self._limit = -float(tolerance)
        self._alpha = _checked_alpha(alpha)
        self._population = population
        self._values: Floats = np.empty(0)
        self._verdict: Verdict = "open"

    def update(self, differences: Sequence[float]) -> Verdict:
        """Take the next items' differences, in their random order, and return the verdict.

        "within": the lower bound is above -tolerance; "outside": the upper bound is below it.
        The first of the two stands, whatever comes after, until the whole population has come:
        then the mean itself decides, and a mean of exactly -tolerance is within.
        Raises ValueError on a difference outside -1..1 and on more items than the population has,
        and then takes none of them.
        """
        values = _checked(differences)
        if self._population is not None and self.n + len(values) > self._population:
            raise ValueError(f"more items than the population's {self._population}")
        self._values = np.concatenate([self._values, values])
        if self.n == self._population or self._verdict == "open":
            self._verdict = self._judge()
        return self._verdict

    @property
    def verdict(self) -> Verdict:
        """Return the verdict so far."""
        return self._verdict

    @property
    def n(self) -> int:
        """Return how many items have come."""
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
        return Estimate(
            value=mean,
            low=min(mean, low),
            high=max(mean, high),
            n=self.n,
            method=f"betting sequence, {_percent(self._alpha)} on each side",
        )

    def _judge(self) -> Verdict:
        low, high = _certain(self._values, self._population)
        if low >= self._limit - SLACK:
            return "within"
        if high < self._limit - SLACK:
            return "outside"
        if self.n == 0:
            return "open"
        above = self._first_win(self._values, self._limit)
        below = self._first_win(-self._values, -self._limit)
        if above == below:  # neither has won: both cannot on the same item
            return "open"
        return "within" if above < below else "outside"

    def _first_win(self, values: Floats, limit: float) -> int:
        """Return the item at which "the mean is at most `limit`" fell, or n where it stands."""
        won = self._log_capital(values, limit) >= -math.log(self._alpha)
        return int(won.argmax()) if won.any() else len(values)

    def _bound(self, values: Floats, limit: float) -> float:
        """Return the largest m so that the bet against "the mean is at most m" has been won.

        The capital falls as m rises, so halving finds it. It starts from `limit`, where the
        verdict was given: bound and verdict then never differ.
        """
        target = -math.log(self._alpha)

        def won(m: float) -> bool:
            return bool(self._log_capital(values, m).max() >= target)

        certain = _certain(values, self._population)[0]
        low, high = (limit, 1.0) if won(limit) else (-1.0, limit)
        for _ in range(STEPS if len(values) != self._population else 0):
            middle = (low + high) / 2
            low, high = (middle, high) if won(middle) else (low, middle)
        return certain if len(values) == self._population else max(low, certain)

    def _log_capital(self, values: Floats, m: float) -> Floats:
        """Return the log of the capital after each item, betting that the mean exceeds `m`."""
        effect = max(-self._limit, SMALLEST_EFFECT)
        before = np.cumsum(values) - values
        count = np.arange(len(values), dtype=np.float64)
        square = np.cumsum(values**2) - values**2
        stake = effect / ((PRIOR_ITEMS * PRIOR_SQUARE + square) / (PRIOR_ITEMS + count))
        expected: Floats = np.full(len(values), m)
        if self._population is not None:  # the mean of those left, were `m` the mean of all
            left = self._population - count
            expected = (self._population * m - before) / left
            stake = stake * self._population / left
        most = LARGEST_STAKE / np.maximum(1 + expected, 1e-9)
        gains = np.log1p(np.minimum(STAKES * stake, most) * (values - expected))
        logs = LOG_START + np.cumsum(gains, axis=1)
        top = logs.max(axis=0)
        total: Floats = top + np.log(np.exp(logs - top).sum(axis=0))
        return total


def empirical_bernstein(
    differences: Sequence[float], alpha: float = 0.05, population: int | None = None
) -> Estimate:
    """Estimate the mean difference, with bounds that hold at any stopping time.

    The predictable plug-in empirical Bernstein sequence, two-sided at 1 - alpha (Waudby-Smith &
    Ramdas 2024; without replacement from `population` items, as in their paper of 2020).
    Closed form and well known, but wider than a race's bounds.
    Raises ValueError on no items, differences outside -1..1, and more items than `population`.
    """
    values = _checked(differences)
    n = len(values)
    if n == 0 or (population is not None and n > population):
        raise ValueError(f"{n} items of {population or 'any number'}")
    mean = math.fsum(values) / n
    certain = _certain(values, population)
    low, high = _bernstein((values + 1) / 2, _checked_alpha(alpha), population)
    if n == population:
        low, high = mean, mean
    return Estimate(
        value=mean,
        low=min(mean, max(low, certain[0])),
        high=max(mean, min(high, certain[1])),
        n=n,
        method=f"empirical Bernstein sequence, {_percent(alpha)}",
    )


def _bernstein(units: Floats, alpha: float, population: int | None) -> tuple[float, float]:
    """Return the bounds over values in 0..1, as bounds over -1..1."""
    count = np.arange(1, len(units) + 1, dtype=np.float64)
    before = np.cumsum(units) - units
    means = (0.5 + before + units) / (count + 1)
    squares = 0.25 + np.cumsum((units - means) ** 2)
    variance = np.concatenate([[0.25], (squares / (count + 1))[:-1]])
    centre = np.concatenate([[0.5], means[:-1]])
    log_alpha = math.log(2 / alpha)
    bet = np.minimum(np.sqrt(2 * log_alpha / (variance * count * np.log1p(count))), 0.5)
    left = math.inf if population is None else population - count + 1
    weight = np.cumsum(bet * (1 + (count - 1) / left))
    middle = np.cumsum(bet * (units + before / left)) / weight
    spent = 4 * (units - centre) ** 2 * (-np.log1p(-bet) - bet) / 4
    half = (log_alpha + np.cumsum(spent)) / weight
    low, high = float((middle - half).max()), float((middle + half).min())
    return max(-1.0, 2 * low - 1), min(1.0, 2 * high - 1)


def _certain(values: Floats, population: int | None) -> tuple[float, float]:
    """Return the range the population's mean has, whatever the items that are left."""
    if population is None:
        return -1.0, 1.0
    total, left = math.fsum(values), population - len(values)
    return (total - left) / population, (total + left) / population


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


def _percent(alpha: float) -> str:
    return f"{100 * (1 - alpha):.4g} %"

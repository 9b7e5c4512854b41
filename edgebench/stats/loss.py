"""Does one level lose at most a margin against another? The one test of it, for all who ask.

Knows two levels' answers to the same items, and which items share a cluster. Knows nothing of runs.
`compare`, `pick` and the end of a race all judge with `loses_at_most`, so they cannot disagree.

Right and wrong answers are judged by Tango's (1998) score of the paired difference: with few
disagreements by its exact unconditional p-value (Hsueh, Liu & Chen 2001, Biometrics 57), else by
the normal one, corrected for continuity. Clusters, and graded answers, are judged by `clusters`.
The interval holds the margins that neither test rejects: it and the verdict agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgebench.records.base import Estimate
from edgebench.stats.advice import items_to_decide
from edgebench.stats.clusters import LEAST_CLUSTERS, mean_over_clusters, sign_flip_p
from edgebench.stats.estimates import mcnemar_exact
from edgebench.stats.student import normal_quantile, normal_tail

Floats = NDArray[np.float64]
Answers = Sequence[bool] | Sequence[float]
Verdict = Literal["holds", "worse", "open"]

EXACT_MOST = 30  # disagreements up to which the score's error is computed, not approximated
NUISANCE_POINTS = 32
LEAST_MEAN = -1 + 1e-9
STEPS = 40  # halvings of an interval of 2
SECANTS = 8


@dataclass(frozen=True)
class LossVerdict:
    """Whether ours loses at most `margin` against theirs.

    `holds`: shown at `alpha`; `worse`: that it loses more is shown at `alpha`; else `open`, with
    the reason. `difference` is ours minus theirs, with `alpha` on each side of its interval, and
    no interval where nothing can be said. `needed`: items in all that decide with 80 %.
    """

    verdict: Verdict
    p_holds: float
    p_worse: float
    difference: Estimate
    margin: float
    alpha: float
    needed: int | None = None
    reason: str | None = None


def loses_at_most(
    ours: Answers,
    theirs: Answers,
    clusters: Sequence[Hashable] | None,
    margin: float,
    alpha: float = 0.05,
) -> LossVerdict:
    """Judge whether ours loses at most `margin` against theirs, over the same items in order.

    Answers are right or wrong, or graded in 0..1. With fewer than five clusters it is open.
    Raises ValueError on no items, unlike lengths, answers outside 0..1, a margin outside 0..1 and
    an alpha outside 0..0.5.
    """
    differences = _differences(ours, theirs)
    if clusters is not None and len(clusters) != len(differences):
        raise ValueError(f"{len(differences)} answers are in {len(clusters)} clusters")
    if clusters is not None and len(set(clusters)) < len(differences):
        _check_question(margin, alpha)
        return _by_cluster(differences, clusters, margin, alpha)
    return loses_at_most_differences(differences.tolist(), margin, alpha)


def loses_at_most_differences(
    differences: Sequence[float], margin: float, alpha: float = 0.05
) -> LossVerdict:
    """Judge as `loses_at_most` from the differences of items of which no two share a cluster."""
    _check_question(margin, alpha)
    checked = _differences(differences, np.zeros(len(differences)).tolist(), -1.0)
    if not _is_ternary(checked):
        return _by_cluster(checked, range(len(checked)), margin, alpha)
    return loses_at_most_counts(*_won_and_lost(checked), len(checked), margin, alpha)


def quick_verdict(differences: Sequence[float], margin: float, alpha: float = 0.05) -> Verdict:
    """Return the verdict of `loses_at_most_differences` alone, without its interval."""
    checked = _differences(differences, np.zeros(len(differences)).tolist(), -1.0)
    if not _is_ternary(checked):
        return loses_at_most_differences(differences, margin, alpha).verdict
    won, lost = _won_and_lost(checked)
    p_holds, p_worse = (score_p(won, lost, len(checked), margin, side) for side in (1, -1))
    return _verdict(p_holds, p_worse, alpha)


@lru_cache(maxsize=8192)
def loses_at_most_counts(
    won: int, lost: int, n: int, margin: float, alpha: float = 0.05
) -> LossVerdict:
    """Judge as `loses_at_most` from the items that ours alone, and theirs alone, got right."""
    if min(won, lost) < 0 or n < 1 or won + lost > n:
        raise ValueError(f"{won} and {lost} of {n} items")
    _check_question(margin, alpha)
    p_holds, p_worse = (score_p(won, lost, n, margin, side) for side in (1, -1))
    verdict = _verdict(p_holds, p_worse, alpha)
    low, high = score_bounds(won, lost, n, alpha)
    # Root finding stops short of the root: on which side of the margin a bound lies is the test's.
    above, below = math.nextafter(-margin, 1), math.nextafter(-margin, -1)
    low = max(low, above) if verdict == "holds" else min(low, -margin)
    high = min(high, below) if verdict == "worse" else max(high, -margin)
    value = (won - lost) / n
    method = f"paired score, {_percent(alpha)} on each side"
    difference = Estimate(
        value=value, low=min(low, value), high=max(high, value), n=n, method=method
    )
    needed = n if verdict != "open" else items_to_decide(difference, n, margin, alpha=alpha)
    reason = "too few items to say" if verdict == "open" else None
    return LossVerdict(verdict, p_holds, p_worse, difference, margin, alpha, needed, reason)


def difference_p(
    ours: Answers, theirs: Answers, clusters: Sequence[Hashable] | None = None
) -> float:
    """Return the two-sided p-value of "ours and theirs are equally good" over the same items.

    McNemar's exact test, or one that flips whole clusters. Raises ValueError as `loses_at_most`.
    """
    differences = _differences(ours, theirs)
    if clusters is not None and 1 < len(set(clusters)) < len(differences):
        return sign_flip_p(differences.tolist(), clusters)
    if clusters is not None and len(set(clusters)) == 1 < len(differences):
        return 1.0  # a single cluster says nothing
    if _is_ternary(differences):
        return mcnemar_exact((differences > 0).tolist(), (differences < 0).tolist())
    return sign_flip_p(differences.tolist(), range(len(differences)))


def score_p(won: int, lost: int, n: int, margin: float, side: int) -> float:
    """Return the p-value of "the mean is above -margin" (side 1) or "below" (side -1)."""
    if margin < 0:
        return score_p(lost, won, n, -margin, -side)
    if won + lost > EXACT_MOST:
        return _normal_p(won, lost, n, margin, side)
    return _exact_p(won, lost, n, margin, side)


def _normal_p(won: int, lost: int, n: int, margin: float, side: int) -> float:
    """Return the score's normal p-value, corrected for continuity and, where it grows, skewness."""
    if margin < 0:
        return _normal_p(lost, won, n, -margin, -side)
    p_lost = float(_rate_lost(np.array(won), np.array(lost), n, margin))
    square = 2 * p_lost - margin
    deviation = math.sqrt(max(square - margin * margin, 1e-12))
    z = (side * (won - lost + n * margin) - 0.5) / (deviation * math.sqrt(n))
    skew = -margin + 3 * margin * square - 2 * margin**3  # the third moment about a mean of -margin
    skew /= deviation**3 * math.sqrt(n)
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return min(1.0, normal_tail(z) + max(0.0, side * skew / 6 * (z * z - 1) * density))


def score_bounds(won: int, lost: int, n: int, alpha: float) -> tuple[float, float]:
    """Return the means that neither side's test rejects at `alpha`."""
    return _bound(won, lost, n, alpha), -_bound(lost, won, n, alpha)


def _bound(won: int, lost: int, n: int, alpha: float) -> float:
    """Return the largest mean that "above" is shown at `alpha`, from the normal one by secants."""
    z = normal_quantile(1 - alpha)
    error = math.sqrt((won + lost + 2) / (n + 2) / (n + 2))

    def excess(mean: float, p_value: Callable[[int, int, int, float, int], float]) -> float:
        p = p_value(won, lost, n, -mean, 1)
        return normal_quantile(min(1 - 1e-12, max(1e-12, 1 - p))) - z

    low, high = LEAST_MEAN, -LEAST_MEAN
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle, _normal_p) > 0 else (low, middle)
    if won + lost > EXACT_MOST:
        return low
    before, mean = low, max(LEAST_MEAN, low - error / 2)
    was, now = excess(before, score_p), excess(mean, score_p)
    for _ in range(SECANTS):
        if abs(now) < 0.003 or mean == before:
            break
        slope = min(-0.3 / error, (now - was) / (mean - before))  # it falls about one an error
        step = max(-2 * error, min(2 * error, -now / slope))
        before, was = mean, now
        mean = max(LEAST_MEAN, min(-LEAST_MEAN, mean + step))
        now = excess(mean, score_p)
    return -1.0 if mean == LEAST_MEAN else mean


def _by_cluster(
    differences: Floats, clusters: Sequence[Hashable], margin: float, alpha: float
) -> LossVerdict:
    n, groups = len(differences), len(set(clusters))
    value = math.fsum(differences) / n
    if groups < LEAST_CLUSTERS:
        what = "clusters" if groups < n else "items"
        reason = f"too few {what} to say"
        none = Estimate(value=value, n=groups, method=f"paired, {reason}")
        return LossVerdict("open", 1.0, 1.0, none, margin, alpha, None, reason)
    over = mean_over_clusters(differences.tolist(), clusters, -1.0, 1.0)
    p_holds, p_worse = over.p_above(-margin), over.p_below(-margin)
    verdict = _verdict(p_holds, p_worse, alpha)
    low, high = over.bounds(alpha)
    how = "by cluster" if groups < n else "graded"
    difference = Estimate(
        value=value,
        low=min(low, value),
        high=max(high, value),
        n=groups,
        method=f"paired {how}, {_percent(alpha)} on each side",
    )
    if verdict != "open":
        return LossVerdict(verdict, p_holds, p_worse, difference, margin, alpha, n)
    needed = items_to_decide(difference, n, margin, alpha=alpha)
    reason = "too few clusters to say" if groups < n else "too few items to say"
    return LossVerdict(verdict, p_holds, p_worse, difference, margin, alpha, needed, reason)


def _verdict(p_holds: float, p_worse: float, alpha: float) -> Verdict:
    if p_holds <= alpha:
        return "holds"
    return "worse" if p_worse <= alpha else "open"


def _rate_lost(won: NDArray[np.int64], lost: NDArray[np.int64], n: int, margin: float) -> Floats:
    """Return the likeliest rate of items lost, were the mean -margin (Tango 1998)."""
    b = -(won + lost) - (2 * n - won + lost) * margin
    c = lost * (margin * (1 + margin))
    rate: Floats = (np.sqrt(np.maximum(b * b - 8 * n * c, 0)) - b) / (4 * n)
    return rate


def _tango(won: NDArray[np.int64], lost: NDArray[np.int64], n: int, margin: float) -> Floats:
    """Return Tango's (1998) score of a mean of -margin."""
    variance = n * (2 * _rate_lost(won, lost, n, margin) - margin * (1 + margin))
    score: Floats = (won - lost + n * margin) / np.sqrt(np.maximum(variance, 1e-12))
    return score


@lru_cache(maxsize=65536)
def _exact_p(won: int, lost: int, n: int, margin: float, side: int) -> float:
    """Return the largest probability, under a mean of -margin, of a score as far out.

    The share of items won is not known, so all are tried under which as few disagreements as were
    seen are not quite out of the question (Berger & Boos 1994): what is left out, at most
    1e-4, is added.
    """
    seen = won + lost
    score = side * float(_tango(np.array(won), np.array(lost), n, margin))
    top = (seen + 8 + 4.5 * math.sqrt(seen + 4)) / n
    top = min(max(top, margin * (1 + 1e-9)), 1.0)
    shares = (top - margin) / 2 * np.linspace(0, 1, NUISANCE_POINTS) ** 2
    most = min(n, math.ceil(n * top + 6 * math.sqrt(n * top) + 6))
    ours, theirs = np.nonzero(np.add.outer(np.arange(most + 1), np.arange(most + 1)) <= most)
    far = side * _tango(ours, theirs, n, margin) >= score - 1e-9
    ours, theirs = ours[far], theirs[far]
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    same = n - ours - theirs
    ways = logs[n] - logs[ours] - logs[theirs] - logs[same]
    counts = np.stack([ours, theirs, same, ways], axis=1).astype(np.float64)
    rates = np.stack([shares, shares + margin, 1 - margin - 2 * shares])
    # A rate of 0 with a count of 0 is a factor of 1; with any other it is as good as 0.
    powers = np.vstack([np.log(np.maximum(rates, 1e-300)), np.ones(len(shares))])
    worst = float(np.exp(counts @ powers).sum(axis=0).max()) if len(ours) else 0.0
    return min(1.0, worst + 1e-4)


def _differences(ours: Answers, theirs: Answers, least: float = 0.0) -> Floats:
    if len(ours) != len(theirs) or not len(ours):
        raise ValueError(f"{len(ours)} and {len(theirs)} answers are no pairs")
    sides = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    for side in sides:
        if not ((side >= least) & (side <= 1)).all():  # so is not a number
            raise ValueError(f"an answer is not in {least:g}..1")
    return sides[0] - sides[1]


def _is_ternary(differences: Floats) -> bool:
    return bool(np.isin(differences, (-1.0, 0.0, 1.0)).all())


def _won_and_lost(differences: Floats) -> tuple[int, int]:
    return int((differences > 0).sum()), int((differences < 0).sum())


def _check_question(margin: float, alpha: float) -> None:
    if not 0 <= margin < 1:
        raise ValueError(f"a margin of {margin} is not in 0..1")
    if not 0 < alpha < 0.5:
        raise ValueError(f"an alpha of {alpha} is not between 0 and 0.5")


def _percent(alpha: float) -> str:
    return f"{100 * alpha:.3g} %"

"""Bootstrap intervals and the question "no worse by more than a margin", pure.

Knows paired differences, clusters of items that share a context, means over chunks, and tests of
non-inferiority that keep their error where disagreements are rare. Knows nothing of runs or
levels. A bootstrap sees only the values it is given: where all are alike its interval has width
zero, so right and wrong answers are better left to `stats.paired_difference` and `equivalence`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgebench.records.base import Estimate
from edgebench.stats.estimates import RESAMPLES, SEED, Z95

Floats = NDArray[np.float64]

BLOCK = 4_000_000  # draws held in memory at once
LARGEST = 1e150  # beyond it sums and squares may overflow
LEVEL = 0.05  # of each one-sided test
Z_LEVEL = 1.6448536269514722  # the normal quantile at 0.95
Z_POWER = 0.8416212335729143  # and at 0.80
EXACT_MOST = 60  # disagreements up to which the score test's error is computed, not approximated
NUISANCE_POINTS = 48


@dataclass(frozen=True)
class Equivalence:
    """Whether ours is no worse than the reference by more than `margin`, over `n` items.

    `holds`: shown at 5 %; `worse`: the contrary is shown at 5 %; neither: not decided yet.
    `p_value` is that of `holds`.
    """

    holds: bool
    worse: bool
    p_value: float
    margin: float
    n: int


def bootstrap_difference(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """Estimate mean(a) - mean(b) over the same items, in the same order.

    Percentile bootstrap over items, its percentiles moved out as a t interval's would be for so
    few items (Hesterberg 2015, What teachers should know about the bootstrap). n is the items.
    Raises ValueError on fewer than two pairs, unlike lengths, and numbers that are not finite.
    """
    differences = _differences(a, b)
    return _ratio_bootstrap(differences, np.ones(len(differences)), "paired bootstrap")


def mean_by_chunk(values: Sequence[float]) -> Estimate:
    """Estimate the mean over chunks of text, such as the KL divergence of each.

    Bootstrap as in `bootstrap_difference`; chunks count alike, and are taken to be independent.
    Raises ValueError on fewer than two chunks and values that are not finite.
    """
    checked = _checked(values)
    return _ratio_bootstrap(checked, np.ones(len(checked)), "mean by chunk, bootstrap")


def clustered_bootstrap(values: Sequence[float], clusters: Sequence[Hashable]) -> Estimate:
    """Estimate the mean over items, resampling whole clusters (items that share a context).

    Each resample's mean is its sum over its number of items, so that clusters of unlike size
    count as they should (Davison & Hinkley 1997; Miller 2024, Adding error bars to
    evals, for why). n is the number of clusters, which is what the width depends on.
    Raises ValueError on fewer than two clusters, unlike lengths, and values that are not finite.
    """
    sums, sizes = _by_cluster(_checked(values), clusters)
    return _ratio_bootstrap(sums, sizes, "mean, clustered bootstrap")


def clustered_difference(
    a: Sequence[float], b: Sequence[float], clusters: Sequence[Hashable]
) -> Estimate:
    """Estimate mean(a) - mean(b) over the same items, resampling whole clusters of them.

    As `clustered_bootstrap` of the differences; n is the number of clusters.
    Raises ValueError as that does, and where a and b are no pairs.
    """
    sums, sizes = _by_cluster(_differences(a, b), clusters)
    return _ratio_bootstrap(sums, sizes, "paired clustered bootstrap")


def clusters_of(names: Sequence[str]) -> list[Hashable] | None:
    """Return each item's cluster, or None where no two items share one; "" stands alone."""
    clusters: list[Hashable] = [name or index for index, name in enumerate(names)]
    return clusters if 1 < len(set(clusters)) < len(clusters) else None


def clustered_sign_flip(differences: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """Return the two-sided p-value of a mean difference of 0, flipping whole clusters' signs.

    A permutation test by cluster, as McNemar's is by item: what a cluster's items have in common
    counts once. Raises ValueError on fewer than two clusters and unlike lengths.
    """
    sums = _by_cluster(_checked(differences), clusters)[0]
    seen, sums = abs(math.fsum(sums)), np.sort(np.abs(sums[sums != 0]))
    if not len(sums):
        return 1.0
    rng = np.random.default_rng(SEED)
    signs = rng.integers(0, 2, size=(RESAMPLES, len(sums)), dtype=np.int8) * 2 - 1
    flipped = np.abs(signs @ sums)
    extreme = int((flipped >= seen - 1e-9).sum())
    return (extreme + 1) / (RESAMPLES + 1)


def equivalence(differences: Sequence[float], margin: float) -> Equivalence:
    """Test whether the mean of ours minus the reference's is above -margin, at 5 % one-sided.

    `holds` where the one-sided 95 % lower bound exceeds -margin, `worse` where the upper bound is
    below it. Where every difference is -1, 0 or 1 the statistic is Tango's (1998) score; with few
    disagreements its p-value is the exact unconditional one (Hsueh, Liu & Chen 2001, Biometrics
    57), else the normal one. Other differences get Student's t, for which n should be large.
    Raises ValueError on no items, values that are not finite, and a margin below 0, or of 1 and
    above for differences of -1, 0 and 1.
    """
    checked, limit = _checked(differences, least=1), _checked_margin(margin)
    n = len(checked)
    if _is_ternary(checked):
        if limit >= 1:
            raise ValueError(f"a margin of {margin}: no mean is that far below")
        ours, theirs = int((checked > 0).sum()), int((checked < 0).sum())
        above, below = (_score_p(ours, theirs, n, limit, side) for side in (1, -1))
    else:
        above, below = _student_p(checked, limit)
    return Equivalence(above < LEVEL, below < LEVEL, above, limit, n)


def items_still_needed(differences: Sequence[float], margin: float) -> int | None:
    """Return how many more items would decide `equivalence` with 80 % probability.

    Assumes that mean and variance stay as observed (for -1, 0 and 1 with one disagreement added
    to each side, so that none seen is not none). 0 where it is decided; None where the mean is
    at -margin, so that no number would do. Raises ValueError as `equivalence` does.
    """
    found = equivalence(differences, margin)
    if found.holds or found.worse:
        return 0
    checked = _checked(differences, least=1)
    n = len(checked)
    gap = abs(float(checked.mean()) + found.margin)
    if gap < 1e-9:
        return None
    if _is_ternary(checked):
        variance = (int(np.abs(checked).sum()) + 2) / (n + 2)
    else:
        variance = float(checked.var(ddof=1)) if n > 1 else gap * gap
    wanted = math.ceil(variance * ((Z_LEVEL + Z_POWER) / gap) ** 2)
    return max(1, wanted - n)


def _ratio_bootstrap(sums: Floats, sizes: Floats, method: str) -> Estimate:
    """Estimate sum(sums) / sum(sizes) by resampling the pairs, whatever order they come in."""
    order = np.lexsort((sizes, sums))
    sums, sizes = sums[order], sizes[order]
    n = len(sums)
    value = math.fsum(sums) / math.fsum(sizes)
    rng = np.random.default_rng(SEED)
    alike = bool((sizes == sizes[0]).all())
    means = np.empty(RESAMPLES)
    rows = max(1, BLOCK // n)
    for start in range(0, RESAMPLES, rows):
        stop = min(RESAMPLES, start + rows)
        picks = rng.integers(0, n, size=(stop - start, n), dtype=np.int32)
        weights = n * sizes[0] if alike else sizes[picks].sum(axis=1)
        means[start:stop] = sums[picks].sum(axis=1) / weights
    tail = _expanded_tail(n)
    low, high = (float(bound) for bound in np.quantile(means, [tail, 1 - tail]))
    return Estimate(value=value, low=min(value, low), high=max(value, high), n=n, method=method)


def _expanded_tail(n: int) -> float:
    """Return the percentile that makes a bootstrap of n values as wide as a t interval."""
    wide = math.sqrt(n / (n - 1)) * _t_quantile(Z95, n - 1)
    return math.erfc(wide / math.sqrt(2)) / 2


def _t_quantile(z: float, freedom: int) -> float:
    """Turn a normal quantile into Student's (Wallace 1959; within 1.2 % from 3 degrees)."""
    z *= (8 * freedom + 3) / (8 * freedom + 1)
    return math.sqrt(freedom * math.expm1(min(700.0, z * z / freedom)))


def _t_tail(t: float, freedom: int) -> float:
    """Return the probability that Student's t exceeds t (Wallace 1959)."""
    shrink = (8 * freedom + 1) / (8 * freedom + 3)
    z = math.copysign(shrink * math.sqrt(freedom * math.log1p(t * t / freedom)), t)
    return math.erfc(z / math.sqrt(2)) / 2


def _student_p(values: Floats, margin: float) -> tuple[float, float]:
    """Return the p-values of "mean > -margin" and "mean < -margin".

    Values that are all alike have no t; they get the sign test's 2**-n.
    """
    n = len(values)
    gap = math.fsum(values) / n + margin
    if n < 2 or np.ptp(values) == 0:
        return (2.0**-n if gap > 0 else 1.0), (2.0**-n if gap < 0 else 1.0)
    t = gap / (float(values.std(ddof=1)) / math.sqrt(n))
    return _t_tail(t, n - 1), _t_tail(-t, n - 1)


@lru_cache(maxsize=4096)
def _score_p(ours: int, theirs: int, n: int, margin: float, side: int) -> float:
    """Return the p-value of "mean > -margin" (side 1) or "mean < -margin" (side -1)."""
    score = side * float(_tango(np.array(ours), np.array(theirs), n, margin))
    if ours + theirs > EXACT_MOST:
        return math.erfc(score / math.sqrt(2)) / 2
    return _exact_p(score, ours + theirs, n, margin, side)


def _tango(ours: NDArray[np.int64], theirs: NDArray[np.int64], n: int, margin: float) -> Floats:
    """Return Tango's (1998) score of a mean of -margin, for counts of 1 and of -1 in n."""
    b = -(ours + theirs) - (2 * n - ours + theirs) * margin
    c = theirs * (margin * (1 + margin))
    p_theirs = (np.sqrt(np.maximum(b * b - 8 * n * c, 0)) - b) / (4 * n)
    variance = n * (2 * p_theirs - margin * (1 + margin))
    score: Floats = (ours - theirs + n * margin) / np.sqrt(np.maximum(variance, 1e-12))
    return score


def _exact_p(score: float, seen: int, n: int, margin: float, side: int) -> float:
    """Return the largest probability, under a mean of -margin, of a score as far out.

    The share of 1s is not known, so all are tried under which as few disagreements as were seen
    are not quite out of the question (Berger & Boos 1994): what is left out, at most
    1e-4, is added.
    """
    top = (seen + 8 + 4.5 * math.sqrt(seen + 4)) / n
    top = min(max(top, margin * (1 + 1e-9)), 1.0)
    shares = (top - margin) / 2 * np.linspace(0, 1, NUISANCE_POINTS) ** 2
    most = min(n, math.ceil(n * top + 6 * math.sqrt(n * top) + 6))
    ours, theirs = np.nonzero(np.add.outer(np.arange(most + 1), np.arange(most + 1)) <= most)
    far = side * _tango(ours, theirs, n, margin) >= score - 1e-9
    ours, theirs = ours[far], theirs[far]
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    ways = logs[n] - logs[ours] - logs[theirs] - logs[n - ours - theirs]
    worst = 0.0
    for share in shares:
        with np.errstate(divide="ignore", invalid="ignore"):
            same = max(0.0, 1 - margin - 2 * share)
            terms = [(ours, share), (theirs, share + margin), (n - ours - theirs, same)]
            power = sum(np.where(k > 0, k * np.log(p), 0.0) for k, p in terms)
        worst = max(worst, float(np.exp(ways + power).sum()))
    return min(1.0, worst + 1e-4)


def _by_cluster(values: Floats, clusters: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """Return each cluster's sum and number of items."""
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values are in {len(clusters)} clusters")
    members: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values.tolist(), clusters, strict=True):
        members.setdefault(cluster, []).append(value)
    if len(members) < 2:
        raise ValueError("one cluster has no interval")
    sums = np.array([math.fsum(one) for one in members.values()])
    return sums, np.array([float(len(one)) for one in members.values()])


def _differences(a: Sequence[float], b: Sequence[float]) -> Floats:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values are no pairs")
    return _checked(a) - _checked(b)


def _checked(values: Sequence[float], least: int = 2) -> Floats:
    checked = np.asarray(values, dtype=np.float64)
    if checked.ndim != 1 or len(checked) < least:
        raise ValueError(f"fewer than {least} values")
    if not (np.abs(checked) <= LARGEST).all():  # so is not a number
        raise ValueError("a value is not a finite number")
    return checked


def _checked_margin(margin: float) -> float:
    if not 0 <= margin <= LARGEST:
        raise ValueError(f"a margin of {margin}")
    return float(margin)


def _is_ternary(values: Floats) -> bool:
    return bool(np.isin(values, (-1.0, 0.0, 1.0)).all())

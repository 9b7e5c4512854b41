"""Items that share a context stand or fall together: the mean over clusters of them, in bounds.

Knows values in a known range and which cluster each belongs to. Knows nothing of levels.

A t interval or a bootstrap over clusters sees only the clusters it has: where most lose nothing
and a few lose much, as levels do, a handful of clusters shows none of the latter, and the interval
leaves the truth out in up to half of all studies. Here every draw of Dirichlet weights over the
clusters adds a cluster that was not seen and goes as badly as one may (Gaffke 2005; Learned-Miller
& Thomas 2019, A new confidence interval for the mean of a bounded random variable). With clusters
of one item, each right or wrong, that is Clopper and Pearson's exact bound.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebench.records.base import Estimate

Floats = NDArray[np.float64]

SEED = 20602164  # fixed, so that the same answers give the same figures
LEAST_CLUSTERS = 5
DRAWS = 4000
BLOCK = 2_000_000  # weights held in memory at once
# How much of its range the unseen cluster goes, beyond what one item of it does: at most this
# share, unless a seen one went further. Errors stay within 5 % for correlations up to 0.3 within
# clusters (tools/sim_loss.py); 1 would hold for any, and with 20 clusters be three times as wide.
UNSEEN = 0.3


@dataclass(frozen=True)
class ClusterMean:
    """A mean over clusters, with sorted draws below and above which it may lie."""

    value: float
    clusters: int
    items: int
    lower: Floats
    upper: Floats

    def p_above(self, limit: float) -> float:
        """Return the p-value of "the mean is above `limit`"."""
        return (int(np.searchsorted(self.lower, limit, "right")) + 1) / (len(self.lower) + 1)

    def p_below(self, limit: float) -> float:
        """Return the p-value of "the mean is below `limit`"."""
        left = len(self.upper) - int(np.searchsorted(self.upper, limit, "left"))
        return (left + 1) / (len(self.upper) + 1)

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Return the limits between which neither p-value is `alpha` or less."""
        index = max(0, math.floor(alpha * (len(self.lower) + 1)) - 1)
        return float(self.lower[index]), float(self.upper[-1 - index])


def clusters_of(names: Sequence[str]) -> list[Hashable] | None:
    """Return each item's cluster, or None where no two items share one; "" stands alone."""
    clusters: list[Hashable] = [name or index for index, name in enumerate(names)]
    return clusters if len(set(clusters)) < len(clusters) else None


def mean_over_clusters(
    values: Sequence[float], clusters: Sequence[Hashable], least: float, most: float
) -> ClusterMean:
    """Draw where the mean of values in `least`..`most` may lie, given which share a cluster.

    Raises ValueError on unlike lengths, fewer than two clusters and values outside the range.
    """
    checked = _checked(values, least, most)
    sums, sizes = by_cluster(checked, clusters)
    order = np.lexsort((sizes, sums))  # whatever order they come in
    sums, sizes = sums[order], sizes[order]
    mean, size = math.fsum(checked) / len(checked), float(sizes.mean())
    share = 1 / size + (1 - 1 / size) * UNSEEN
    averages = sums / sizes
    worst = min(float(averages.min()), mean + share * (least - mean))
    best = max(float(averages.max()), mean + share * (most - mean))
    lower, upper = np.empty(DRAWS), np.empty(DRAWS)
    rng = np.random.default_rng(SEED)
    rows = max(1, BLOCK // (len(sums) + 1))
    for start in range(0, DRAWS, rows):
        weights = rng.standard_exponential((min(rows, DRAWS - start), len(sums) + 1))
        unseen = weights[:, -1] * size
        total = weights[:, :-1] @ sums
        count = weights[:, :-1] @ sizes + unseen
        lower[start : start + rows] = (total + unseen * worst) / count
        upper[start : start + rows] = (total + unseen * best) / count
    return ClusterMean(mean, len(sums), len(checked), np.sort(lower), np.sort(upper))


def clustered_proportion(values: Sequence[bool], clusters: Sequence[Hashable]) -> Estimate:
    """Estimate the share that is right where items share clusters; n is the clusters.

    Without an interval below five clusters. Raises ValueError as `mean_over_clusters` does.
    """
    checked = [float(value) for value in values]
    n = len(set(clusters))
    if n < LEAST_CLUSTERS:
        mean = math.fsum(checked) / len(checked) if checked else math.nan
        return Estimate(value=mean, n=n, method="share by cluster, too few to say more")
    over = mean_over_clusters(checked, clusters, 0.0, 1.0)
    low, high = over.bounds(0.025)
    return Estimate(
        value=over.value,
        low=max(0.0, min(low, over.value)),
        high=min(1.0, max(high, over.value)),
        n=n,
        method="share by cluster, Dirichlet weights",
    )


def sign_flip_p(differences: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """Return the two-sided p-value of a mean difference of 0, flipping whole clusters' signs.

    A permutation test by cluster, as McNemar's is by item: what a cluster's items have in common
    counts once. Raises ValueError on fewer than two clusters and unlike lengths.
    """
    sums = by_cluster(_checked(differences, -math.inf, math.inf), clusters)[0]
    seen, sums = abs(math.fsum(sums)), np.sort(np.abs(sums[sums != 0]))
    if not len(sums):
        return 1.0
    rng = np.random.default_rng(SEED)
    signs = rng.integers(0, 2, size=(DRAWS, len(sums)), dtype=np.int8) * 2 - 1
    extreme = int((np.abs(signs @ sums) >= seen - 1e-9).sum())
    return (extreme + 1) / (DRAWS + 1)


def by_cluster(values: Floats, clusters: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """Return each cluster's sum and number of items."""
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values are in {len(clusters)} clusters")
    members: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values.tolist(), clusters, strict=True):
        members.setdefault(cluster, []).append(value)
    if len(members) < 2:
        raise ValueError("a single cluster has no interval")
    sums = np.array([math.fsum(cluster) for cluster in members.values()])
    return sums, np.array([float(len(cluster)) for cluster in members.values()])


def _checked(values: Sequence[float], least: float, most: float) -> Floats:
    checked = np.asarray(values, dtype=np.float64)
    if checked.ndim != 1 or len(checked) < 2:
        raise ValueError("fewer than 2 values")
    if not np.isfinite(checked).all():
        raise ValueError("a value is not a finite number")
    if not ((checked >= least) & (checked <= most)).all():
        raise ValueError(f"a value is not in {least:g}..{most:g}")
    return checked

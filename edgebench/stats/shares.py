"""Is the share of right answers above, or below, a limit? One-sided, by clusters where there are.

Knows right and wrong answers, and which items share a cluster. Knows nothing of levels. Items that
stand alone are judged by the exact binomial test (Clopper & Pearson 1934), clusters by
`clusters.mean_over_clusters`, of which that test is the case of one item each.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from edgebench.stats.clusters import LEAST_CLUSTERS, mean_over_clusters


@dataclass(frozen=True)
class ShareTest:
    """The p-values of "the share is at least the limit" and of "it is below the limit"."""

    p_above: float
    p_below: float


def share_test(
    right: Sequence[bool], clusters: Sequence[Hashable] | None, limit: float
) -> ShareTest | None:
    """Hold the long-run share of right answers against a limit; None below five clusters.

    Raises ValueError on no answers and on a limit outside 0..1.
    """
    if not right or not 0 <= limit <= 1:
        raise ValueError(f"{len(right)} answers, a limit of {limit}")
    if clusters is not None and len(set(clusters)) < len(right):
        if len(set(clusters)) < LEAST_CLUSTERS:
            return None
        mean = mean_over_clusters([float(answer) for answer in right], clusters, 0.0, 1.0)
        return ShareTest(mean.p_above(limit), mean.p_below(limit))
    n, k = len(right), sum(right)
    return ShareTest(_at_least(k, n, limit), _at_least(n - k, n, 1 - limit))


def _at_least(k: int, n: int, p: float) -> float:
    """Return the chance that a binomial variable is `k` or more."""
    if k <= 0:
        return 1.0
    if p <= 0 or p >= 1:
        return float(p >= 1)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    hits = np.arange(k, n + 1)
    logs = factorials[n] - factorials[hits] - factorials[n - hits]
    logs = logs + hits * np.log(p) + (n - hits) * np.log1p(-p)
    return float(min(1.0, np.exp(logs).sum()))

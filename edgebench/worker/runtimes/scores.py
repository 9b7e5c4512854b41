"""Log-likelihoods of scored tokens from rows of logits. Knows arrays; knows no runtime."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from edgebench.records.spans import Score, Span
from edgebench.stats.logits import sum_row


def targets_of(span: Span) -> list[tuple[int, int]]:
    """Return the (row, token) of a span whose rows of logits stand alone."""
    return list(enumerate(span.tokens[span.start :]))


def scores_of(
    logits: Any, targets: Sequence[list[tuple[int, int]]], threads: int = 1
) -> list[Score]:
    """Score spans from logits [rows, vocabulary]; each target is a (row, token) of its span.

    The exponentials are shared between `threads`, which numpy lets run at once. Raises
    EdgebenchError where a logit is not finite.
    """
    import numpy as np

    peak, log_sum = _row_sums(logits, threads)
    scores = []
    for span in targets:
        index = np.array([row for row, _ in span])
        token = np.array([token for _, token in span])
        picked = logits[index, token].astype(np.float64)
        likelihood = float((picked - log_sum[index]).sum())
        scores.append(Score(likelihood, bool((picked >= peak[index]).all())))
    return scores


def _row_sums(logits: Any, threads: int) -> tuple[Any, Any]:
    """Return each row's largest logit and the log of the sum of all exponentials, [rows]."""
    import numpy as np

    rows, vocabulary = logits.shape
    peak, log_sum = np.empty(rows), np.empty(rows)

    def fill(part: range) -> None:
        scratch = np.empty(vocabulary, np.float32)
        for row in part:
            _, peak[row], log_sum[row], _ = sum_row(logits[row], scratch)

    if threads < 2 or rows < 2 * threads:
        fill(range(rows))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, [range(first, rows, threads) for first in range(threads)]))
    return peak, log_sum

"""Log-likelihoods of scored tokens from rows of logits. Knows arrays; knows no runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from edgebench.errors import EdgebenchError
from edgebench.records.spans import Score, Span


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

    top, norm = _norms(logits, threads)
    if not np.isfinite(norm).all():
        raise EdgebenchError("the model gives logits that are not finite")
    scores = []
    for span in targets:
        index = np.array([row for row, _ in span])
        token = np.array([token for _, token in span])
        picked = logits[index, token].astype(np.float64)
        scores.append(
            Score(float((picked - norm[index]).sum()), bool((picked >= top[index]).all()))
        )
    return scores


def _norms(logits: Any, threads: int) -> tuple[Any, Any]:
    """Return each row's largest logit and the log of the sum of all exponentials, [rows]."""
    import numpy as np

    rows, vocabulary = logits.shape
    top, norm = np.empty(rows), np.empty(rows)

    def fill(part: range) -> None:
        mass = np.empty(vocabulary, np.float32)
        for row in part:
            values = logits[row]
            peak = values.max()
            with np.errstate(invalid="ignore"):  # what is not finite is told below
                np.subtract(values, peak, out=mass, dtype=np.float32)
            np.exp(mass, out=mass)
            # Summed by pairs: single precision is exact to 1e-6 here.
            top[row], norm[row] = peak, float(peak) + math.log(float(mass.sum()) or 1.0)

    if threads < 2 or rows < 2 * threads:
        fill(range(rows))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, [range(first, rows, threads) for first in range(threads)]))
    return top, norm

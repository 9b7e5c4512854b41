"""Intervals over chunks of text hold where neighbouring chunks are alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgebench.stats.chunks import DESIGN_EFFECT, LEAST, mean_of_chunks, share_of_chunks
from edgebench.stats.estimates import proportion_estimate

STUDIES = 1500
ROWS = 255


def correlated(rho: float, chunks: int, seed: int) -> Any:
    """Return studies [STUDIES, chunks] of standard normal values that follow each other AR(1)."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(STUDIES, chunks))
    for chunk in range(1, chunks):
        fresh = math.sqrt(1 - rho * rho) * values[:, chunk]
        values[:, chunk] = rho * values[:, chunk - 1] + fresh
    return values


def coverage(estimates: list[Any], truth: float) -> float:
    """Return the share of intervals that hold the truth."""
    return float(np.mean([one.low <= truth <= one.high for one in estimates]))


@pytest.mark.parametrize("chunks", [16, 30, 64])
@pytest.mark.parametrize("rho", [0.0, 0.54, 0.64])
def test_mean_of_correlated_chunks_is_covered(rho: float, chunks: int) -> None:
    """As many as 95 of 100 intervals hold the truth, within what simulation can tell."""
    values = 1 + 0.2 * correlated(rho, chunks, 1)
    assert coverage([mean_of_chunks(row) for row in values.tolist()], 1) >= 0.93


@pytest.mark.parametrize("rho", [0.0, 0.54, 0.64])
def test_skewed_chunks_are_covered(rho: float) -> None:
    """Divergences are skewed: a few chunks are much worse than the others."""
    values = np.exp(0.6 * correlated(rho, 36, 2))
    assert coverage([mean_of_chunks(row) for row in values.tolist()], math.exp(0.18)) >= 0.93


def test_independent_chunks_pay_little_for_caution() -> None:
    """Where chunks are independent the interval is at most a half wider than Student's."""
    values = correlated(0.0, 64, 3)
    widths = [one.high - one.low for one in map(mean_of_chunks, values.tolist())]
    assert np.median(widths) < 1.5 * 2 * 2.0 / 8


@pytest.mark.parametrize(("share", "rho"), [(0.93, 0.0), (0.93, 0.6), (0.985, 0.6), (0.9985, 0.3)])
def test_share_of_clustered_rows_is_covered(share: float, rho: float) -> None:
    """Rows of a chunk are alike, and chunks like their neighbours; Wilson by row holds in 77 %."""
    rng = np.random.default_rng(4)
    scale = 0.33 if rho else 0.0
    centre = math.log(share / (1 - share))
    chances = 1 / (1 + np.exp(-(centre + scale * correlated(rho, 40, 5))))
    hits = rng.binomial(ROWS, chances)
    truth = float(chances.mean())
    found = [share_of_chunks(row, [ROWS] * 40) for row in hits.tolist()]
    assert coverage(found, truth) >= 0.93
    if rho and share == 0.93:
        by_row = [proportion_estimate(int(row.sum()), 40 * ROWS) for row in hits]
        assert coverage(by_row, truth) < 0.85


def test_rows_that_all_succeed_have_an_interval() -> None:
    """No failure among 10,000 rows isn't proof of none: the rule of three, widened."""
    found = share_of_chunks([ROWS] * 40, [ROWS] * 40)
    assert found.value == found.high == 1
    assert found.low is not None
    assert DESIGN_EFFECT * 3 / (40 * ROWS) < 1 - found.low < DESIGN_EFFECT * 6 / (40 * ROWS)


def test_few_chunks_have_no_interval() -> None:
    """Their correlation can't be told; the figure stands alone, and says what would help."""
    for found in (
        mean_of_chunks([0.1] * (LEAST - 1)),
        share_of_chunks([9] * (LEAST - 1), [10] * (LEAST - 1)),
    ):
        assert found.bounds is None
        assert str(LEAST) in found.method


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [math.inf] * 20])
def test_what_is_no_number_is_refused(values: list[float]) -> None:
    """No chunk, and values that aren't finite, are errors."""
    with pytest.raises(ValueError, match="finite"):
        mean_of_chunks(values)


@pytest.mark.parametrize(("hits", "rows"), [([3], [2]), ([1, 2], [3]), ([], []), ([0], [0])])
def test_counts_that_do_not_go_together_are_refused(hits: list[int], rows: list[int]) -> None:
    """More successes than rows, or unlike numbers of chunks."""
    with pytest.raises(ValueError, match="rows"):
        share_of_chunks(hits, rows)

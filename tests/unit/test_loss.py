"""The one test of "loses at most": its error, its interval, clusters, and what it says if asked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.simulations import LONG, studies, tool

from edgebench.stats.clusters import (
    clustered_proportion,
    clusters_of,
    mean_over_clusters,
    sign_flip_p,
)
from edgebench.stats.estimates import mcnemar_exact
from edgebench.stats.loss import (
    EXACT_MOST,
    difference_p,
    loses_at_most,
    loses_at_most_counts,
    loses_at_most_differences,
    score_p,
)

sim = tool("sim_loss")

SIZES = (
    [(n, margin) for n in (50, 100, 200, 300, 600, 1000, 3000) for margin in sim.MARGINS]
    if LONG
    else [(50, 0.05), (100, 0.01), (300, 0.01), (300, 0.05), (1000, 0.05), (3000, 0.02)]
)
COUNTS = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 300))


@pytest.mark.parametrize(("n", "margin"), SIZES)
@pytest.mark.parametrize("side", [1, -1])
def test_neither_side_errs_more_than_it_may(n: int, margin: float, side: int) -> None:
    """Summed exactly over outcomes, a loss of just the margin is misjudged in at most 5 %."""
    for disagreement in (margin, 1.5 * margin, 4 * margin) if LONG else (margin, 2 * margin):
        assert sim.size(n, margin, disagreement, side) <= 0.05


def test_no_disagreement_is_the_rule_of_three() -> None:
    """300 items that all agree rule out a loss of 1 %, since 0.99 ** 299 < 0.05; 290 don't."""
    assert loses_at_most_counts(0, 0, 300, 0.01).verdict == "holds"
    assert loses_at_most_counts(0, 0, 290, 0.01).verdict == "open"
    assert score_p(0, 0, 300, 0.01, 1) == pytest.approx(0.99**300, abs=2e-4)


def test_exact_and_normal_p_values_meet() -> None:
    """Where the one takes over from the other they differ by little."""
    for won, margin in ((10, 0.01), (20, 0.02), (15, 0.05)):
        lost = EXACT_MOST - won
        for side in (1, -1):
            last = score_p(won, lost, 1000, margin, side)
            fewer, more = (score_p(won, lost + step, 1000, margin, side) for step in (-1, 1))
            assert min(fewer, more) - 0.01 <= last <= max(fewer, more) + 0.01


@settings(deadline=None, max_examples=40)
@given(COUNTS, st.sampled_from([0.0, 0.005, 0.01, 0.03, 0.2]), st.sampled_from([0.05, 0.01]))
def test_interval_and_verdict_agree(
    counts: tuple[int, int, int], margin: float, alpha: float
) -> None:
    """It holds just where the interval lies above minus the margin, is worse where below it."""
    won, lost, same = counts
    found = loses_at_most_counts(won, lost, won + lost + same, margin, alpha)
    assert found.difference.bounds is not None
    low, high = found.difference.bounds
    assert -1 <= low <= found.difference.value <= high <= 1
    assert (found.verdict == "holds") == (low > -margin)
    assert (found.verdict == "worse") == (high < -margin)
    assert (found.reason is None) == (found.verdict != "open")


@settings(deadline=None, max_examples=30)
@given(COUNTS)
def test_swapped_levels_mirror_the_interval(counts: tuple[int, int, int]) -> None:
    """Ours minus theirs is minus theirs minus ours."""
    won, lost, same = counts
    n = won + lost + same
    there = loses_at_most_counts(won, lost, n, 0.0).difference
    back = loses_at_most_counts(lost, won, n, 0.0).difference
    assert there.low == pytest.approx(-(back.high or 0))
    assert there.high == pytest.approx(-(back.low or 0))


@settings(deadline=None, max_examples=30)
@given(COUNTS, st.floats(0, 0.3))
def test_wider_margin_is_easier(counts: tuple[int, int, int], margin: float) -> None:
    """What holds at a margin holds at a wider one."""
    won, lost, same = counts
    n = won + lost + same
    narrow, wide = (loses_at_most_counts(won, lost, n, m) for m in (margin, margin + 0.2))
    assert wide.verdict == "holds" or narrow.verdict != "holds"


@pytest.mark.parametrize(
    ("n", "won", "lost"), [(200, 0.02, 0.04), (300, 0.005, 0.01), (1000, 0.04, 0.08)]
)
def test_interval_covers_the_true_difference(n: int, won: float, lost: float) -> None:
    """With 2.5 % on each side at least 95 % of intervals hold the truth."""
    rng = np.random.default_rng(3)
    drawn = rng.multinomial(n, [won, lost, 1 - won - lost], studies(60, 2000))
    held = 0
    for ours, theirs, _ in drawn.tolist():
        bounds = loses_at_most_counts(ours, theirs, n, 0.01, 0.025).difference.bounds
        held += bounds is not None and bounds.low <= won - lost <= bounds.high
    assert held / len(drawn) >= 0.95 - (0.06 if not LONG else 0.01)


def test_three_clusters_never_tell() -> None:
    """300 identical answers in three clusters leave it open, with a reason and no interval."""
    found = loses_at_most([True] * 300, [True] * 300, [i // 100 for i in range(300)], 0.01)
    assert (found.verdict, found.reason) == ("open", "too few clusters to say")
    assert found.difference.bounds is None
    assert found.needed is None


def test_identical_answers_do_not_forget_clusters() -> None:
    """300 identical answers hold 1 %; in ten clusters they don't, in 300 of ten they do."""
    same = [True] * 300
    assert loses_at_most(same, same, None, 0.01).verdict == "holds"
    assert loses_at_most(same, same, [i // 30 for i in range(300)], 0.01).verdict == "open"
    many = [True] * 3000
    assert loses_at_most(many, many, [i // 10 for i in range(3000)], 0.01).verdict == "holds"


@pytest.mark.parametrize(("clusters", "each"), [(5, 200), (20, 50), (100, 10)])
@pytest.mark.parametrize("correlation", [0.02, 0.3])
def test_clusters_keep_error_and_coverage(clusters: int, each: int, correlation: float) -> None:
    """From five clusters on errors stay at 5 % a side, and 95 % intervals cover 93 % or more."""
    count = studies(20, 600)
    one_sided = sim.rates_of(clusters, each, correlation, 0.05, count)
    both = sim.rates_of(clusters, each, correlation, 0.025, count)
    assert one_sided.holds <= 0.05 + (0 if LONG else 0.05)
    assert both.outside <= 0.07 + (0 if LONG else 0.04)


def test_clusters_of_one_item_are_no_clusters() -> None:
    """Where no two items share a cluster the answers are judged one by one."""
    ours, theirs = [True] * 90 + [False] * 10, [True] * 100
    alone = loses_at_most(ours, theirs, None, 0.05)
    assert loses_at_most(ours, theirs, list(range(100)), 0.05) == alone
    assert clusters_of(["", "", "a"]) is None
    assert clusters_of(["a", "a", ""]) == ["a", "a", 2]


def test_a_clear_loss_by_clusters_is_seen() -> None:
    """A tenth lost in each of 30 clusters is worse than 2 %."""
    ours = [index % 10 != 0 for index in range(600)]
    found = loses_at_most(ours, [True] * 600, [index // 20 for index in range(600)], 0.02)
    assert (found.verdict, found.difference.n) == ("worse", 30)


def test_order_of_clusters_does_not_matter() -> None:
    """Shuffled items give the same figures."""
    rng = np.random.default_rng(5)
    ours, clusters = rng.random(200) < 0.9, np.arange(200) // 8
    order = rng.permutation(200)
    here = loses_at_most(ours.tolist(), [True] * 200, clusters.tolist(), 0.1)
    there = loses_at_most(ours[order].tolist(), [True] * 200, clusters[order].tolist(), 0.1)
    assert here == there


def test_bound_over_single_items_is_clopper_and_pearsons() -> None:
    """With clusters of one item, each right or wrong, the bound is the exact binomial one."""
    stats = pytest.importorskip("scipy.stats")
    over = mean_over_clusters([1.0] * 3 + [0.0] * 47, list(range(50)), 0.0, 1.0)
    low, high = over.bounds(0.05)
    assert high == pytest.approx(stats.beta.ppf(0.95, 4, 47), abs=0.004)
    assert low == pytest.approx(stats.beta.ppf(0.05, 3, 48), abs=0.004)


def test_share_by_cluster_is_wider_than_by_item() -> None:
    """Answers that fall together by cluster give an interval wider than Wilson's; few give none."""
    right = [(index // 10) % 2 == 0 for index in range(400)]
    found = clustered_proportion(right, [index // 10 for index in range(400)])
    assert found.value == 0.5
    assert found.bounds is not None
    assert found.bounds.high - found.bounds.low > 0.2
    assert clustered_proportion(right, [index // 100 for index in range(400)]).bounds is None


def test_graded_answers_are_judged_by_their_mean() -> None:
    """Scores between 0 and 1 are judged as clusters of one."""
    rng = np.random.default_rng(6)
    theirs = rng.uniform(0.4, 0.9, 800)
    ours = np.clip(theirs + rng.normal(0, 0.02, 800), 0, 1)
    assert loses_at_most(ours.tolist(), theirs.tolist(), None, 0.02).verdict == "holds"
    assert loses_at_most((ours - 0.1).tolist(), theirs.tolist(), None, 0.02).verdict == "worse"
    assert loses_at_most([0.5], [0.4], None, 0.02).reason == "too few items to say"


def test_needed_items_are_those_answered_where_it_is_decided() -> None:
    """Decided: as many as there are. Open: more, the more the closer."""
    assert loses_at_most_counts(0, 0, 1000, 0.01).needed == 1000
    assert (loses_at_most_counts(1, 1, 100, 0.01).needed or 0) > 300
    assert loses_at_most_counts(2, 20, 300, 0.01).needed == 300


def test_sign_flip_agrees_with_mcnemar_and_sees_clusters() -> None:
    """Over single items it is about McNemar's; a cluster's items count once."""
    ours, theirs = [True] * 14 + [False] * 4, [False] * 14 + [True] * 4
    apart = [float(a) - float(b) for a, b in zip(ours, theirs, strict=True)]
    exact = mcnemar_exact(ours, theirs)
    assert sign_flip_p(apart, range(18)) == pytest.approx(exact, abs=0.01)
    assert difference_p(ours, theirs) == exact
    assert difference_p(ours, theirs, [0] * 14 + [1] * 4) >= 0.5
    assert difference_p([True] * 9, [False] * 9, [0] * 9) == 1.0


def test_sign_flip_seldom_sees_what_is_not_there() -> None:
    """With a true difference of 0, clusters and all, p <= 0.05 comes up in about 5 %."""
    rng = np.random.default_rng(7)
    count = studies(250, 2000)
    found = 0
    for _ in range(count):
        lean = np.repeat(rng.normal(0, 0.3, 20), 10)
        drawn = np.sign(np.round(rng.normal(lean, 0.5)))
        found += sign_flip_p(drawn.tolist(), np.repeat(np.arange(20), 10).tolist()) <= 0.05
    assert found / count <= 0.065 + (0 if LONG else 0.03)


@pytest.mark.parametrize(
    ("ours", "theirs", "clusters", "margin", "alpha"),
    [
        ([], [], None, 0.01, 0.05),
        ([True], [True, False], None, 0.01, 0.05),
        ([math.nan, 1.0], [1.0, 1.0], None, 0.01, 0.05),
        ([1.5, 1.0], [1.0, 1.0], None, 0.01, 0.05),
        ([True] * 9, [True] * 9, [1, 2], 0.01, 0.05),
        ([True] * 9, [True] * 9, None, -0.01, 0.05),
        ([True] * 9, [True] * 9, None, 1.0, 0.05),
        ([True] * 9, [True] * 9, None, math.nan, 0.05),
        ([True] * 9, [True] * 9, None, 0.01, 0.0),
        ([True] * 9, [True] * 9, [1] * 9, 0.01, 0.5),
    ],
)
def test_bad_questions_are_refused(
    ours: Sequence[float],
    theirs: Sequence[float],
    clusters: Sequence[int] | None,
    margin: float,
    alpha: float,
) -> None:
    """What isn't a pair, an answer, a margin or an alpha raises."""
    with pytest.raises(ValueError, match=r"no pairs|not in 0\.\.1|clusters|alpha"):
        loses_at_most(ours, theirs, clusters, margin, alpha)


def test_bad_differences_and_counts_are_refused() -> None:
    """No differences, impossible ones, and counts beyond the items raise."""
    for bad in ([], [2.0], [math.nan]):
        with pytest.raises(ValueError, match=r"no pairs|not in -1"):
            loses_at_most_differences(bad, 0.01)
    with pytest.raises(ValueError, match="of 3 items"):
        loses_at_most_counts(2, 2, 3, 0.01)
    with pytest.raises(ValueError, match="fewer than 2"):
        mean_over_clusters([1.0], [0], 0.0, 1.0)
    with pytest.raises(ValueError, match="finite"):
        sign_flip_p([math.inf, 1.0], [0, 1])
    with pytest.raises(ValueError, match="single cluster"):
        sign_flip_p([0.0, 1.0], [0, 0])
    with pytest.raises(ValueError, match="not in 0"):
        mean_over_clusters([1.0, 2.0], [0, 1], 0.0, 1.0)

"""Bootstrap intervals cover known truths; the equivalence test keeps its error at its margin."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebench.stats import resampling
from edgebench.stats.estimates import Z95
from edgebench.stats.resampling import (
    Equivalence,
    bootstrap_difference,
    clustered_bootstrap,
    clustered_difference,
    equivalence,
    items_still_needed,
    mean_by_chunk,
)

SIMULATIONS = 2000
VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12)
GROUPED = st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(0, 4)), min_size=2, max_size=20)


def answers(ours: int, theirs: int, n: int) -> list[float]:
    """Return paired differences of n answers, so many of which only one of both has right."""
    return [1.0] * ours + [-1.0] * theirs + [0.0] * (n - ours - theirs)


@pytest.mark.parametrize("n", [12, 60])
def test_paired_bootstrap_covers_the_true_difference(n: int) -> None:
    """Of pairs that go together, 95 % intervals hold the true difference in 93 to 97 %."""
    rng = np.random.default_rng(21)
    held = 0
    for _ in range(SIMULATIONS):
        shared = rng.normal(0, 3, n)
        a, b = shared + rng.normal(0.4, 1, n), shared + rng.normal(0, 1, n)
        found = bootstrap_difference(a.tolist(), b.tolist())
        held += found.low <= 0.4 <= found.high
    assert 0.93 <= held / SIMULATIONS <= 0.97


def test_mean_by_chunk_covers_a_skewed_truth() -> None:
    """Divergences are positive and skewed; over 80 chunks 93 to 97 % of intervals hold."""
    rng = np.random.default_rng(22)
    held = 0
    for _ in range(SIMULATIONS):
        found = mean_by_chunk(rng.gamma(3, 0.01, 80).tolist())
        held += found.low <= 0.03 <= found.high
    assert 0.93 <= held / SIMULATIONS <= 0.97


def clustered_sample(
    rng: np.random.Generator, clusters: int
) -> tuple[list[float], list[float], list[int]]:
    """Return values of two levels whose difference, 0.3 in truth, is shared within a cluster."""
    sizes = rng.integers(1, 9, clusters)
    names = np.repeat(np.arange(clusters), sizes)
    effect = rng.normal(0.3, 1, clusters)[names]
    shared = rng.normal(0, 2, len(names))
    a = shared + effect + rng.normal(0, 0.5, len(names))
    return a.tolist(), shared.tolist(), names.tolist()


def test_clustered_intervals_cover_where_naive_ones_do_not() -> None:
    """Items that share a context: by clusters 93 to 97 % hold the truth, by items far fewer."""
    rng = np.random.default_rng(23)
    clustered = naive = 0
    for simulation in range(SIMULATIONS):
        a, b, names = clustered_sample(rng, 60)
        found = clustered_difference(a, b, names)
        clustered += found.low <= 0.3 <= found.high
        if simulation % 5 == 0:
            found = bootstrap_difference(a, b)
            naive += found.low <= 0.3 <= found.high
    assert 0.93 <= clustered / SIMULATIONS <= 0.97
    assert naive / (SIMULATIONS / 5) < 0.75


def test_clustered_difference_is_the_mean_of_differences() -> None:
    """Pairing first and clustering then is one thing in two functions."""
    a, b, names = clustered_sample(np.random.default_rng(27), 30)
    paired = clustered_difference(a, b, names)
    single = clustered_bootstrap([x - y for x, y in zip(a, b, strict=True)], names)
    assert (paired.low, paired.value, paired.high) == (single.low, single.value, single.high)


def test_clusters_of_unlike_size_count_by_their_items() -> None:
    """The estimate is the items' mean, not the mean of the clusters' means."""
    found = clustered_bootstrap([1.0] * 9 + [0.0], ["long"] * 9 + ["short"])
    assert (found.value, found.n) == (0.9, 2)
    assert (found.low, found.high) == (0.0, 1.0)


def test_interval_agrees_with_student_on_normal_values() -> None:
    """On values without skew the bootstrap is as wide as the t interval, to a few percent."""
    stats = pytest.importorskip("scipy.stats")
    for n in (8, 30, 300):
        values = stats.norm.ppf((np.arange(n) + 0.5) / n)
        half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)
        found = mean_by_chunk(values.tolist())
        assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.06)


def test_student_approximations_agree_with_scipy() -> None:
    """Wallace's quantiles and tails are near the exact ones."""
    stats = pytest.importorskip("scipy.stats")
    for freedom in (3, 5, 10, 100, 5000):
        exact = stats.t.ppf(0.975, freedom)
        assert resampling._t_quantile(Z95, freedom) == pytest.approx(exact, rel=0.012)
        for t in (-2.5, -0.5, 0.0, 1.0, 1.8, 3.0):
            tail = stats.t.sf(t, freedom)
            assert resampling._t_tail(t, freedom) == pytest.approx(tail, abs=0.003)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=15))
def test_interval_holds_the_difference_in_any_order(pairs: list[tuple[float, float]]) -> None:
    """Low, value and high are in order, and the order of the pairs does not matter."""
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    found = bootstrap_difference(a, b)
    assert found.low <= found.value <= found.high
    assert found.value == pytest.approx(np.mean(a) - np.mean(b), abs=1e-9)
    assert found == bootstrap_difference(a[::-1], b[::-1])


@settings(deadline=None, max_examples=25)
@given(GROUPED, st.randoms(use_true_random=False))
def test_order_and_names_of_clusters_do_not_matter(
    grouped: list[tuple[float, int]], random: Random
) -> None:
    """Shuffled items and renamed clusters give the very same interval."""
    grouped = [*grouped, (0.5, 7), (0.25, 8)]
    shuffled = list(grouped)
    random.shuffle(shuffled)
    there = clustered_bootstrap([v for v, _ in grouped], [c for _, c in grouped])
    back = clustered_bootstrap([v for v, _ in shuffled], [f"c{9 - c}" for _, c in shuffled])
    assert there == back
    assert there.low <= there.value <= there.high


@given(VALUES)
@settings(deadline=None, max_examples=25)
def test_clusters_of_one_are_the_plain_bootstrap(values: list[float]) -> None:
    """Where every item is its own cluster, clustering changes nothing."""
    by_cluster, plain = clustered_bootstrap(values, range(len(values))), mean_by_chunk(values)
    assert (by_cluster.low, by_cluster.value, by_cluster.high) == (
        plain.low,
        plain.value,
        plain.high,
    )


def error_rate(n: int, margin: float, extra: float, found: Callable[[Equivalence], bool]) -> float:
    """Return the exact probability of a finding where the true mean is -margin.

    `extra` of the items are answered right by ours only, `margin + extra` by the reference only.
    """
    stats = pytest.importorskip("scipy.stats")
    total = 0.0
    differing = margin + 2 * extra
    most = int(stats.binom.ppf(1 - 1e-6, n, differing)) + 1
    for m in range(most + 1):
        chance = float(stats.binom.pmf(m, n, differing))
        for ours, part in enumerate(stats.binom.pmf(range(m + 1), m, extra / differing)):
            weight = chance * float(part)
            if weight > 1e-6 and found(equivalence(answers(ours, m - ours, n), margin)):
                total += weight
    return total


@pytest.mark.parametrize(
    ("n", "margin", "extra"),
    [
        (40, 0.05, 0.02),
        (60, 0.02, 0.0),
        (100, 0.03, 0.01),
        (300, 0.01, 0.0),
        (300, 0.01, 0.002),
        (300, 0.02, 0.02),
        (300, 0.03, 0.03),
    ],
)
def test_equivalence_errs_rarely_at_its_margin(n: int, margin: float, extra: float) -> None:
    """With the truth at -margin, "holds" and "worse" each have at most 6 %: by enumeration."""
    assert error_rate(n, margin, extra, lambda one: one.holds) <= 0.06
    assert error_rate(n, margin, extra, lambda one: one.worse) <= 0.06


def test_equivalence_errs_rarely_over_simulations() -> None:
    """300 items of which 1 % disagree, margin 1 %: of 4000 simulations at most 6 % hold."""
    rng = np.random.default_rng(24)
    counts = rng.multinomial(300, [0.0005, 0.0105, 0.989], size=4000)
    found = [equivalence(answers(int(a), int(b), 300), 0.01) for a, b, _ in counts]
    assert np.mean([one.holds for one in found]) <= 0.06
    assert np.mean([one.worse for one in found]) <= 0.06


def test_equivalence_finds_what_is_there() -> None:
    """With 2000 items and 8 % disagreeing, an equal level holds at 3 %, one of -6 % is worse."""
    equal, bad = equivalence(answers(80, 80, 2000), 0.03), equivalence(answers(20, 140, 2000), 0.03)
    assert (equal.holds, equal.worse, equal.margin, equal.n) == (True, False, 0.03, 2000)
    assert (bad.holds, bad.worse) == (False, True)
    assert equal.p_value < 0.001 < 0.999 < bad.p_value


def test_equivalence_without_disagreements_is_the_rule_of_three() -> None:
    """No disagreement in n items rules out 1 % from n = 299 on: 0.99 ** 299 < 0.05."""
    assert not equivalence(answers(0, 0, 290), 0.01).holds
    assert equivalence(answers(0, 0, 300), 0.01).holds
    assert equivalence(answers(0, 0, 300), 0.01).p_value == pytest.approx(0.99**300, abs=2e-4)


def test_equivalence_of_other_differences_agrees_with_student() -> None:
    """Differences that are no paired answers get the t test."""
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(25).normal(-0.1, 1, 60)
    exact = stats.ttest_1samp(values, -0.3, alternative="greater").pvalue
    assert equivalence(values.tolist(), 0.3).p_value == pytest.approx(exact, abs=1e-3)
    assert equivalence([0.5, 0.5], 0.1) == Equivalence(False, False, 0.25, 0.1, 2)
    assert equivalence([0.5], 0.1).p_value == 0.5


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 300), st.floats(0, 0.5))
def test_equivalence_never_says_both(ours: int, theirs: int, same: int, margin: float) -> None:
    """p-values lie in 0..1, findings exclude each other, and a wider margin is easier."""
    differences = answers(ours, theirs, ours + theirs + same)
    found, wider = equivalence(differences, margin), equivalence(differences, margin + 0.2)
    assert not (found.holds and found.worse)
    assert 0 <= found.p_value <= 1
    assert wider.holds or not found.holds


def test_items_still_needed_decide_four_times_in_five() -> None:
    """As many items as were asked for decide in 75 to 90 % where the truth is as observed."""
    observed = answers(5, 7, 150)
    more = items_still_needed(observed, 0.03)
    assert more is not None
    n = 150 + more
    counts = np.random.default_rng(26).multinomial(n, [5 / 150, 7 / 150, 138 / 150], size=400)
    found = [equivalence(answers(int(a), int(b), n), 0.03) for a, b, _ in counts]
    assert 0.75 <= np.mean([one.holds for one in found]) <= 0.92


def test_items_still_needed_knows_none_and_never() -> None:
    """0 where it is decided, None where the mean sits on the margin."""
    assert items_still_needed(answers(0, 0, 1000), 0.01) == 0
    assert items_still_needed(answers(0, 3, 100), 0.03) is None
    assert (items_still_needed(answers(0, 0, 50), 0.01) or 0) > 100
    assert (items_still_needed([0.1, -0.2, 0.3, 0.05], 0.1) or 0) > 0
    assert (items_still_needed([0.5], 0.1) or 0) > 0


@pytest.mark.parametrize("bad", [[], [1.0], [1.0, math.nan], [math.inf, 1.0], [1.0, 1e200]])
def test_bad_values_are_refused(bad: list[float]) -> None:
    """Too few values, and values that are not finite, are an error and not a figure."""
    names = list(range(len(bad)))
    attempts: list[Callable[[], object]] = [
        lambda: bootstrap_difference(bad, bad),
        lambda: mean_by_chunk(bad),
        lambda: clustered_bootstrap(bad, names),
        lambda: clustered_difference(bad, bad, names),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match=r"fewer than 2|not a finite"):
            attempt()


@pytest.mark.parametrize(
    ("differences", "margin"),
    [
        ([], 0.1),
        ([math.nan], 0.1),
        ([0.0, 1.0], -0.1),
        ([0.0, 1.0], math.nan),
        ([0.0, 1.0], math.inf),
        ([0.0, 1.0], 1.0),
    ],
)
def test_bad_question_of_equivalence_is_refused(
    differences: Sequence[float], margin: float
) -> None:
    """No items, no numbers and no possible margin raise."""
    with pytest.raises(ValueError, match=r"fewer than|finite|margin"):
        equivalence(differences, margin)
    with pytest.raises(ValueError, match=r"fewer than|finite|margin"):
        items_still_needed(differences, margin)


def test_what_does_not_pair_is_refused() -> None:
    """Unlike lengths and a single cluster raise."""
    with pytest.raises(ValueError, match="no pairs"):
        bootstrap_difference([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="no pairs"):
        clustered_difference([1.0, 2.0], [1.0], ["a", "b"])
    with pytest.raises(ValueError, match="clusters"):
        clustered_bootstrap([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="one cluster"):
        clustered_bootstrap([1.0, 2.0], ["a", "a"])

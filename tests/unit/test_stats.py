"""Statistics recover known truths: coverage by simulation, tests by exact values."""

from __future__ import annotations

from math import comb, isclose

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import make_estimate

from edgebench.stats.estimates import (
    holm,
    items_to_decide,
    mcnemar_exact,
    median_estimate,
    paired_difference,
    proportion_estimate,
    rate_estimate,
)

P_VALUES = st.lists(st.floats(0, 1), max_size=12)


def paired_answers(
    rng: np.random.Generator, n: int, only_a: float, only_b: float
) -> tuple[list[bool], list[bool]]:
    """Return answers of two levels; each alone is right at the rates given, both at 0.5."""
    draw = rng.random(n)
    a = (draw < only_a) | (draw > 0.5)
    b = ((draw >= only_a) & (draw < only_a + only_b)) | (draw > 0.5)
    return a.tolist(), b.tolist()


def wilson_coverage(p: float, n: int, simulations: int) -> float:
    """Return how many simulated Wilson intervals hold the true p."""
    rng = np.random.default_rng(7)
    counts = np.bincount(rng.binomial(n, p, simulations), minlength=n + 1)
    held = [
        int(count)
        for successes, count in enumerate(counts)
        if count and (one := proportion_estimate(successes, n)).low <= p <= one.high
    ]
    return sum(held) / simulations


@pytest.mark.parametrize("n", [60, 250, 1000])
def test_wilson_interval_covers_the_truth_95_times_in_100(n: int) -> None:
    """Over a spread of true proportions, 95 % intervals cover between 93 and 97 %."""
    spread = np.linspace(0.03, 0.97, 48)
    coverage = float(np.mean([wilson_coverage(p, n, 2000) for p in spread]))
    assert 0.93 <= coverage <= 0.97, coverage


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.8])
def test_wilson_interval_covers_away_from_the_edges(p: float) -> None:
    """At any one proportion that is not extreme the coverage is near 95 % too."""
    coverage = wilson_coverage(p, 400, 4000)
    assert 0.93 <= coverage <= 0.97, coverage


def test_wilson_interval_has_its_textbook_value() -> None:
    """5 of 10 gives 0.2366 to 0.7634."""
    found = proportion_estimate(5, 10)
    assert (found.value, round(found.low, 4), round(found.high, 4)) == (0.5, 0.2366, 0.7634)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_proportion_lies_inside_its_interval(drawn: tuple[int, int]) -> None:
    """The interval holds the value, stays in 0..1 and is never of width zero."""
    found = proportion_estimate(*drawn)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high
    assert found.n == drawn[1]


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 10), (11, 10), (0, -1)])
def test_impossible_proportion_is_refused(successes: int, n: int) -> None:
    """No items, or more successes than items, is an error and not a figure."""
    with pytest.raises(ValueError, match="no proportion"):
        proportion_estimate(successes, n)


@pytest.mark.parametrize(
    ("n", "only_a", "only_b", "most"),
    [
        (200, 0.0, 0.0, 1.0),
        (200, 0.002, 0.002, 1.0),
        (100, 0.01, 0.03, 1.0),
        (200, 0.02, 0.08, 0.98),
        (200, 0.05, 0.05, 0.98),
        (400, 0.10, 0.20, 0.97),
        (1000, 0.25, 0.15, 0.97),
    ],
)
def test_paired_interval_covers_the_true_difference(
    n: int, only_a: float, only_b: float, most: float
) -> None:
    """At least 93 % of intervals hold the truth; where discordance is rare they may be wider."""
    rng = np.random.default_rng(11)
    held = 0
    for _ in range(2000):
        found = paired_difference(*paired_answers(rng, n, only_a, only_b))
        held += found.low <= only_a - only_b <= found.high
    assert 0.93 <= held / 2000 <= most, held / 2000


def test_identical_answers_still_have_an_interval() -> None:
    """Two levels that answer alike differ by 0, within a width that shrinks with n."""
    few, many = ([True, False] * half for half in (10, 1000))
    short, long = paired_difference(few, few), paired_difference(many, many)
    assert (short.value, long.value) == (0.0, 0.0)
    assert short.low < 0 < short.high
    assert 0 < long.high - long.low < short.high - short.low


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_paired_difference_mirrors_when_levels_swap(pairs: list[tuple[bool, bool]]) -> None:
    """a - b is minus b - a, interval and all, and the value is the accuracies' difference."""
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert (there.value, there.low, there.high) == (-back.value, -back.high, -back.low)
    assert -1 <= there.low <= there.value <= there.high <= 1
    assert isclose(there.value, (sum(a) - sum(b)) / len(a), abs_tol=1e-12)


@pytest.mark.parametrize(("a", "b"), [([], []), ([True], []), ([True], [True, False])])
def test_answers_that_are_no_pairs_are_refused(a: list[bool], b: list[bool]) -> None:
    """Nothing to pair, or answers of unlike length, is an error."""
    with pytest.raises(ValueError, match="no pairs"):
        paired_difference(a, b)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (6, 0, 2 / 64), (3, 3, 1.0), (8, 2, 112 / 1024)],
)
def test_mcnemar_has_its_exact_value(only_a: int, only_b: int, p: float) -> None:
    """The p-value is the two-sided binomial tail over discordant items, at most 1."""
    a = [True] * only_a + [False] * only_b + [True, False]
    b = [False] * only_a + [True] * only_b + [True, False]
    assert mcnemar_exact(a, b) == p


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 7), (3, 11), (20, 35), (140, 190), (600, 700)])
def test_mcnemar_agrees_with_scipy(only_a: int, only_b: int) -> None:
    """The exact test is scipy's two-sided binomial test at one half."""
    scipy_stats = pytest.importorskip("scipy.stats")
    a = [True] * only_a + [False] * only_b
    expected = scipy_stats.binomtest(only_a, only_a + only_b, 0.5).pvalue
    assert mcnemar_exact(a, [not one for one in a]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("discordance", [0.02, 0.1, 0.4])
def test_mcnemar_seldom_sees_what_is_not_there(discordance: float) -> None:
    """Between levels of equal accuracy, p <= 0.05 comes up in at most 5 % of 2000 simulations."""
    rng = np.random.default_rng(13)
    half = discordance / 2
    found = sum(mcnemar_exact(*paired_answers(rng, 150, half, half)) <= 0.05 for _ in range(2000))
    assert found / 2000 <= 0.05


def test_mcnemar_sees_a_large_loss() -> None:
    """20 items lost and none won is beyond doubt."""
    p = mcnemar_exact([True] * 100, [False] * 20 + [True] * 80)
    assert p == 2 / 2**20


@pytest.mark.parametrize(
    ("given_p", "expected"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.25, 0.125], [0.5, 0.5, 0.375]),
        ([0.6, 0.7, 0.8], [1.0, 1.0, 1.0]),
        ([0.0, 1.0], [0.0, 1.0]),
    ],
)
def test_holm_has_the_values_worked_out_by_hand(
    given_p: list[float], expected: list[float]
) -> None:
    """Each p is multiplied by the tests still standing, and never falls below a smaller one's."""
    assert holm(given_p) == pytest.approx(expected)


@given(P_VALUES)
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    """Corrected values are no smaller, at most 1, at most Bonferroni's, and rank as before."""
    adjusted = holm(p_values)
    assert len(adjusted) == len(p_values)
    for before, after in zip(p_values, adjusted, strict=True):
        assert before <= after <= min(1.0, before * len(p_values))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    ranked = [adjusted[index] for index in order]
    assert ranked == sorted(ranked)


@given(P_VALUES, st.randoms())
def test_holm_answers_in_the_given_order(p_values: list[float], random: object) -> None:
    """Shuffling the tests shuffles the answers alike."""
    order = list(range(len(p_values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    adjusted = holm(p_values)
    assert holm([p_values[i] for i in order]) == [adjusted[i] for i in order]


def test_median_interval_covers_at_fifteen_samples() -> None:
    """At n = 15 at least 90 % of intervals hold the true median of skewed samples."""
    rng = np.random.default_rng(17)
    found = [median_estimate(rng.lognormal(0.0, 0.5, 15).tolist()) for _ in range(600)]
    assert sum(one.low <= 1.0 <= one.high for one in found) / 600 >= 0.90


def test_median_interval_of_five_samples_is_their_range() -> None:
    """Nothing narrower than the range is honest at five samples."""
    found = median_estimate([3.0, 1.0, 5.0, 2.0, 4.0])
    assert (found.value, found.low, found.high, found.n) == (3.0, 1.0, 5.0, 5)


def test_same_samples_give_the_same_interval() -> None:
    """The bootstrap is seeded: a report made twice says the same."""
    samples = [1.0, 1.5, 1.2, 9.0, 1.1, 1.3, 1.7]
    assert median_estimate(samples) == median_estimate(samples)


@pytest.mark.parametrize("samples", [[], [float("nan")], [1.0, float("inf"), float("inf")]])
def test_median_of_nothing_or_of_no_number_is_refused(samples: list[float]) -> None:
    """No samples, NaN and infinity are errors, never a figure."""
    with pytest.raises(ValueError, match=r"no samples|finite number"):
        median_estimate(samples)


def test_rate_is_tokens_over_seconds() -> None:
    """128 tokens in 2, 4 and 8 seconds are 32 tokens a second in the middle."""
    found = rate_estimate([2.0, 4.0, 8.0], 128)
    assert (found.value, found.n) == (32.0, 3)
    assert (found.low, found.high) == (16.0, 64.0)


@pytest.mark.parametrize(
    ("value", "margin", "n", "limit", "expected"),
    [
        (0.0, 0.04, 100, 0.02, 400),  # half the width is needed: four times the items
        (0.0, 0.06, 100, 0.02, 900),
        (0.05, 0.04, 100, 0.01, 100),  # exactly wide enough already
        (0.05, 0.01, 100, 0.01, 100),  # decided already: never fewer than were answered
        (0.02, 0.04, 100, 0.02, None),
    ],
)
def test_items_to_decide_grow_with_the_square_of_the_width(
    value: float, margin: float, n: int, limit: float, expected: int | None
) -> None:
    """The width must shrink to the gap; on the limit itself no number of items would do."""
    found = items_to_decide(make_estimate(value, margin, n), limit)
    assert found == pytest.approx(expected, abs=1) if expected else found is None


def test_the_items_asked_for_do_decide() -> None:
    """With the number of items asked for and the same answers' shares, the limit is cleared."""
    a, b = [True] * 200, [False] * 4 + [True] * 196  # b loses 2 %
    found = paired_difference(a, b)
    limit = 0.04
    assert found.low < limit < found.high
    needed = items_to_decide(found, limit)
    assert needed is not None
    times = -(-needed // 200)
    assert paired_difference(a * times, b * times).high <= limit


def test_mcnemar_counts_half_of_all_outcomes() -> None:
    """The tail of an even split sums to one half of 2^m by comb, whichever level leads."""
    a = [True] * 2 + [False] * 5
    b = [not one for one in a]
    tail = sum(comb(7, i) for i in range(3))
    assert mcnemar_exact(a, b) == mcnemar_exact(b, a) == 2 * tail / 2**7

"""Shares, tests over the same items and corrections: coverage by simulation, values by hand."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.stats.estimates import holm, mcnemar_exact, proportion_estimate

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
    with pytest.raises(ValueError, match="isn't a proportion"):
        proportion_estimate(successes, n)


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


def test_mcnemar_counts_half_of_all_outcomes() -> None:
    """The tail of an even split sums to one half of 2^m by comb, whichever level leads."""
    a = [True] * 2 + [False] * 5
    b = [not one for one in a]
    tail = sum(comb(7, i) for i in range(3))
    assert mcnemar_exact(a, b) == mcnemar_exact(b, a) == 2 * tail / 2**7

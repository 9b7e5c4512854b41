"""What a few launches say: where a repeat lands, bounds on the long run, ratios, trends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.simulations import LONG, studies, tool

from edgebench.stats.launches import (
    Drift,
    bound_above,
    bound_below,
    drift,
    over_launches,
    p_above,
    p_below,
    ratio,
    ratio_p,
    spread,
    standard_error,
)
from edgebench.stats.student import normal_quantile, normal_tail, t_quantile, t_tail

sim = tool("sim_launches")

FIGURES = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=30)
SLACK = 0.0 if LONG else 0.03  # what a short simulation may be off


@pytest.mark.parametrize("noise", sim.NOISES)
@pytest.mark.parametrize("n", [3, 5, 20])
def test_repeat_lands_in_the_interval(noise: str, n: int) -> None:
    """At least 93 % of repeats do, with launches that differ, slow ones among them, and drift."""
    inside, width = sim.repeats_inside(sim.NOISES[noise], n, studies(300, 4000))
    assert inside >= 0.93 - SLACK
    assert width < {3: 0.6, 5: 0.3, 20: 0.15}[n]


def test_mean_would_follow_the_slow_launches() -> None:
    """Of a mean over five launches, one in twenty of them slow, many repeats miss the interval."""
    assert sim.mean_repeats_inside(sim.NOISES["outliers"], 5, studies(400, 4000)) < 0.93


@pytest.mark.parametrize("noise", sim.NOISES)
@pytest.mark.parametrize("n", [5, 20])
def test_bounds_err_as_often_as_they_may(noise: str, n: int) -> None:
    """Either bound leaves out the long-run median in at most 5 %."""
    below, above = sim.bounds_wrong(sim.NOISES[noise], n, 0.05, studies(300, 4000))
    assert max(below, above) <= 0.06 + SLACK


def test_like_levels_are_seldom_told_apart() -> None:
    """With one truth and a shared drift of five deviations, p < 0.05 comes up in about 5 %."""
    assert sim.told_apart(0.0, 0.02, 5, 5.0, studies(400, 4000)) <= 0.057 + SLACK


@pytest.mark.parametrize(
    ("between", "rounds", "least"), [(0.01, 5, 0.95), (0.02, 5, 0.70), (0.02, 6, 0.80)]
)
def test_difference_of_5_percent_is_found(between: float, rounds: int, least: float) -> None:
    """Launches that differ by 1 % show it in five rounds, by 2 % nearly: six rounds do."""
    assert sim.told_apart(0.05, between, rounds, 5.0, studies(400, 4000)) >= least - SLACK


def test_few_launches_have_no_interval_and_no_bounds() -> None:
    """One or two launches have a value alone; below five nothing bounds the long run."""
    for few in ([10.0], [10.0, 12.0]):
        found = over_launches(few)
        assert found.bounds is None
        assert "too few" in found.method
    assert over_launches([10.0, 11.0, 12.0]).bounds is not None
    assert bound_below([1.0, 2.0, 3.0, 4.0]) is bound_above([1.0, 2.0, 3.0, 4.0]) is None
    assert p_above([1.0, 2.0, 3.0, 4.0], 1.0) is p_below([1.0], 1.0) is None


def test_method_says_what_it_is() -> None:
    """In words a person understands."""
    assert over_launches([10.0, 11.0, 12.0]).method == "median of 3 launches; a repeat lands within"
    assert over_launches([10.0]).method == "median of 1 launch, too few to say more"


@given(FIGURES)
def test_interval_holds_its_value_and_stays_positive(samples: list[float]) -> None:
    """The value is the samples' median, and an interval of positive figures is positive."""
    found = over_launches(samples)
    assert (found.value, found.n) == (float(np.median(samples)), len(samples))
    if found.bounds:
        assert 0 <= found.bounds.low <= found.value <= found.bounds.high


@given(FIGURES.filter(lambda samples: len(samples) >= 5), st.floats(0.1, 10))
def test_interval_scales_with_the_unit(samples: list[float], scale: float) -> None:
    """Milliseconds say what seconds do."""
    here, there = over_launches(samples), over_launches([scale * sample for sample in samples])
    assert there.value == pytest.approx(scale * here.value)
    assert here.bounds is not None
    assert there.bounds is not None
    if here.bounds.low > 1e-200 and here.bounds.high < 1e200:
        assert there.bounds.low == pytest.approx(scale * here.bounds.low)


@settings(max_examples=60)
@given(
    st.lists(st.floats(0.5, 2), min_size=5, max_size=20),
    st.floats(0.5, 2),
    st.sampled_from([0.05, 0.01]),
)
def test_p_values_agree_with_bounds(samples: list[float], limit: float, alpha: float) -> None:
    """A p-value is below alpha just where the bound is beyond the limit."""
    low, high = bound_below(samples, alpha), bound_above(samples, alpha)
    above, below = p_above(samples, limit), p_below(samples, limit)
    assert low is not None
    assert high is not None
    assert above is not None
    assert below is not None
    if abs(low - limit) > 1e-9 * limit:
        assert (above < alpha) == (low > limit)
    if abs(high - limit) > 1e-9 * limit:
        assert (below < alpha) == (high < limit)


def test_figures_that_never_differ_are_certain() -> None:
    """Five launches of exactly the same figure decide at once, and a limit they meet is met."""
    same = [3.0] * 5
    assert over_launches(same).bounds == (3.0, 3.0)
    assert (p_above(same, 2.9), p_below(same, 2.9)) == (0.0, 1.0)
    assert (p_above(same, 3.1), p_below(same, 3.1)) == (1.0, 0.0)
    assert (p_above(same, 3.0), p_below(same, 3.0)) == (1.0, 1.0)


def test_figures_that_may_be_negative_are_taken_as_they_are() -> None:
    """Not all figures are positive: a net energy may be below 0."""
    found = over_launches([-1.0, 0.0, 1.0])
    assert found.value == 0
    assert found.bounds is not None
    assert found.bounds.low == -found.bounds.high


def test_ratio_pairs_what_shares_a_round() -> None:
    """Rounds that only one level has do not count; the value is the geometric mean of ratios."""
    a = {"r1": 2.0, "r2": 4.0, "r3": 9.0, "r9": 100.0}
    b = [("r3", 3.0), ("r1", 1.0), ("r2", 1.0)]
    found = ratio(a, b)
    assert found is not None
    assert found.n == 3
    assert found.value == pytest.approx((2 * 4 * 3) ** (1 / 3))
    assert found.bounds is not None
    assert ratio(a, {"other": 1.0}) is None
    assert ratio_p(a, {"r1": 1.0, "r2": 1.0}) is None
    two = ratio(a, {"r1": 1.0, "r2": 1.0})
    assert two is not None
    assert two.bounds is None


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=3, max_size=12))
def test_ratio_turned_round_is_its_inverse(pairs: list[tuple[float, float]]) -> None:
    """a / b is 1 / (b / a), ends swapped, and the p-values are one."""
    a = {str(index): x for index, (x, _) in enumerate(pairs)}
    b = {str(index): y for index, (_, y) in enumerate(pairs)}
    there, back = ratio(a, b), ratio(b, a)
    assert there is not None
    assert back is not None
    assert there.bounds is not None
    assert back.bounds is not None
    assert there.value == pytest.approx(1 / back.value)
    assert there.bounds.low == pytest.approx(1 / back.bounds.high)
    assert ratio_p(a, b) == pytest.approx(ratio_p(b, a))


def test_ratio_agrees_with_the_paired_t_test() -> None:
    """On the log it is the textbook test."""
    stats = pytest.importorskip("scipy.stats")
    a, b = np.random.default_rng(1).lognormal(0, 0.1, (2, 7))
    names = [str(index) for index in range(7)]
    exact = stats.ttest_rel(np.log(a), np.log(b)).pvalue
    found = ratio_p(dict(zip(names, a, strict=True)), dict(zip(names, b, strict=True)))
    assert found == pytest.approx(exact)


def test_drift_finds_a_trend_and_agrees_with_regression() -> None:
    """A tenth slower over six launches is a trend; noise alone is not."""
    stats = pytest.importorskip("scipy.stats")
    noise = np.random.default_rng(2).normal(0, 0.004, 6)
    cooling = np.exp(noise - 0.02 * np.arange(6))
    found = drift(cooling.tolist())
    exact = stats.linregress(np.arange(6), np.log(cooling))
    assert found is not None
    assert found.per_launch == pytest.approx(math.expm1(exact.slope))
    assert found.p_value == pytest.approx(exact.pvalue)
    assert found.p_value < 0.01
    assert drift([1.0, 2.0, 3.0]) is None
    assert drift([3.0] * 5) == Drift(per_launch=0.0, p_value=1.0)


def test_spread_is_the_share_by_which_launches_differ() -> None:
    """It finds a known deviation and does not follow one slow launch."""
    samples = np.random.default_rng(3).normal(100, 3, 2001)
    assert spread(samples.tolist()) == pytest.approx(0.03, rel=0.1)
    assert spread([10.0, 10.1, 9.9, 10.0, 5.0]) == pytest.approx(0.0148, abs=0.001)
    assert spread([1.0]) is None
    assert spread([-1.0, 0.0, 1.0]) is None


@pytest.mark.parametrize("bad", [[], [math.nan, 1.0], [1.0, math.inf]])
def test_launches_that_are_no_numbers_are_refused(bad: list[float]) -> None:
    """Nothing, NaN and infinity raise."""
    with pytest.raises(ValueError, match=r"no samples|finite"):
        over_launches(bad)
    with pytest.raises(ValueError, match=r"no samples|finite"):
        bound_below(bad)


def test_impossible_questions_are_refused() -> None:
    """Alpha has a range, ratios and trends need positive figures, one launch has no deviation."""
    with pytest.raises(ValueError, match="alpha"):
        bound_above([1.0] * 5, 0.5)
    with pytest.raises(ValueError, match="positive"):
        ratio({"a": 0.0}, {"a": 1.0})
    with pytest.raises(ValueError, match="positive"):
        drift([1.0, 1.0, -1.0, 1.0])
    with pytest.raises(ValueError, match="single launch"):
        standard_error([1.0])


@pytest.mark.parametrize("freedom", [1, 2, 3.5, 19, 400])
def test_student_agrees_with_scipy(freedom: float) -> None:
    """Tails and quantiles are scipy's to ten digits."""
    stats = pytest.importorskip("scipy.stats")
    for p in (0.001, 0.3, 0.5, 0.95, 0.9995):
        assert t_quantile(p, freedom) == pytest.approx(stats.t.ppf(p, freedom), rel=1e-9, abs=1e-9)
    for t in (-40.0, -1.0, 0.0, 0.3, 2.5, 60.0):
        assert t_tail(t, freedom) == pytest.approx(stats.t.sf(t, freedom), rel=1e-9)
    assert (t_tail(math.inf, freedom), t_tail(-math.inf, freedom)) == (0.0, 1.0)
    assert normal_quantile(0.975) == pytest.approx(1.959963984540054)
    assert normal_tail(1.6448536269514722) == pytest.approx(0.05)


@pytest.mark.parametrize(("p", "freedom"), [(0.0, 3), (1.0, 3), (0.5, 0.5)])
def test_impossible_quantiles_are_refused(p: float, freedom: float) -> None:
    """A probability of 0 or 1, and less than a degree of freedom, raise."""
    with pytest.raises(ValueError, match="quantile"):
        t_quantile(p, freedom)

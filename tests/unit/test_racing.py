"""Races keep their error however early they stop, and are about the model, not the list."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.simulations import LONG, studies

from edgebench.stats.loss import loses_at_most_differences
from edgebench.stats.sequential import LAST_SHARE, Race, Verdict, cluster_means, race_alpha

RACES = studies(100, 2000)
SLACK = 0.0 if LONG else 0.02  # what a short simulation may be off
DIFFERENCES = st.lists(
    st.one_of(st.sampled_from([-1.0, 0.0, 1.0]), st.floats(-1, 1)), min_size=1, max_size=40
)


def simulate(
    rng: np.random.Generator, n: int, disagreement: float, mean: float
) -> NDArray[np.float64]:
    """Return differences of paired answers with the true mean given."""
    odds = [(disagreement - mean) / 2, 1 - disagreement, (disagreement + mean) / 2]
    return rng.choice([-1.0, 0.0, 1.0], size=n, p=odds)


def raced(differences: NDArray[np.float64], tolerance: float) -> Verdict:
    """Race over a whole list and take the last look."""
    race = Race(tolerance)
    race.update(differences.tolist())
    return race.finish()


@pytest.mark.parametrize(
    ("disagreement", "mean", "wrong"),
    [
        (0.08, -0.03, "within"),
        (0.08, -0.03, "outside"),
        (0.03, -0.03, "within"),
        (0.30, -0.0305, "within"),
        (0.30, -0.0295, "outside"),
    ],
)
def test_few_races_end_wrongly(disagreement: float, mean: float, wrong: Verdict) -> None:
    """At or beside the tolerance, looking after every item and once more, 5 % at most err."""
    rng = np.random.default_rng(5)
    verdicts = [raced(simulate(rng, 800, disagreement, mean), 0.03) for _ in range(RACES)]
    assert verdicts.count(wrong) / RACES <= 0.05 + SLACK


@pytest.mark.parametrize("loss", [0.012, 0.02] if LONG else [0.02])
def test_having_asked_all_of_a_list_proves_nothing_of_the_model(loss: float) -> None:
    """300 items, limit 1 %, a true loss above it: "within" in at most 5 % of races."""
    rng = np.random.default_rng(6)
    verdicts = [raced(simulate(rng, 300, 0.08, -loss), 0.01) for _ in range(RACES)]
    assert verdicts.count("within") / RACES <= 0.05
    race = Race(0.01)
    race.update(simulate(rng, 300, 0.08, -loss).tolist())
    race.finish()
    assert race.bounds.bounds is not None
    assert race.bounds.bounds.high - race.bounds.bounds.low > 0.02


def test_level_far_from_the_tolerance_is_judged_early() -> None:
    """Identical answers are within 3 % after 200 of 2000 items; a tenth worse is outside."""
    same, worse = Race(0.03), Race(0.03)
    assert same.update([0.0] * 199) == "within"
    rng = np.random.default_rng(8)
    assert worse.update(simulate(rng, 400, 0.14, -0.10).tolist()) == "outside"


def test_last_look_decides_what_the_race_left_open() -> None:
    """It is the test for a fixed number of items, at the share of alpha that was kept for it."""
    rng = np.random.default_rng(7)
    looked = 0
    for _ in range(RACES):
        items = simulate(rng, 600, 0.05, 0.0).tolist()
        race = Race(0.03)
        if race.update(items) == "open":
            last = loses_at_most_differences(items, 0.03, LAST_SHARE * 0.05).verdict
            assert race.finish() == {"holds": "within", "worse": "outside", "open": "open"}[last]
            looked += last != "open"
    assert looked


def test_bounds_hold_the_truth_at_every_moment() -> None:
    """Each bound of a race, being its tightest so far, errs in at most 5 % of races."""
    rng = np.random.default_rng(9)
    low_wrong = high_wrong = 0
    count = studies(40, 600)
    for _ in range(count):
        race = Race(0.03)
        race.update(simulate(rng, 450, 0.15, -0.02).tolist())
        race.finish()
        bounds = race.bounds.bounds
        assert bounds is not None
        low_wrong += bounds.low > -0.02
        high_wrong += bounds.high < -0.02
    assert max(low_wrong, high_wrong) / count <= 0.05


def test_clusters_count_as_one_item_each() -> None:
    """Items of a cluster, asked in one go, enter as their mean: correlation costs no error."""
    rng = np.random.default_rng(10)
    wrong = 0
    for _ in range(RACES):
        rates = np.repeat(rng.beta(0.047, 2.29, 60), 10)  # correlated by 0.3, mean loss 2 %
        lost = -(rng.random(600) < rates).astype(float)
        race = Race(0.02)
        race.update(cluster_means(lost.tolist(), np.repeat(np.arange(60), 10).tolist()))
        wrong += race.finish() == "within"
    assert wrong / RACES <= 0.05
    assert cluster_means([1.0, 0.0, -1.0], ["b", "b", "a"]) == [0.5, -1.0]
    with pytest.raises(ValueError, match="argument"):
        cluster_means([1.0], [])


@settings(max_examples=40, deadline=None)
@given(DIFFERENCES, st.floats(0, 0.5), st.booleans())
def test_bounds_hold_the_mean_and_match_the_verdict(
    values: list[float], tolerance: float, at_end: bool
) -> None:
    """The mean lies between bounds in -1..1, and no verdict contradicts its bound."""
    race = Race(tolerance)
    race.update(values)
    if at_end:
        race.finish()
    bounds = race.bounds.bounds
    assert bounds is not None
    assert -1 <= bounds.low <= race.bounds.value <= bounds.high <= 1
    assert math.isclose(race.bounds.value, race.mean)
    assert (race.bounds.n, race.n) == (len(values), len(values))
    if race.verdict == "within":
        assert min(race.mean, -tolerance) - 1e-9 <= bounds.low
    if race.verdict == "outside":
        assert max(race.mean, -tolerance) + 1e-9 >= bounds.high


@settings(max_examples=30, deadline=None)
@given(DIFFERENCES, st.integers(1, 40))
def test_batches_do_not_change_the_bounds(values: list[float], batch: int) -> None:
    """Bounds depend on the items in their order, not on how many came at once."""
    whole, parts = Race(0.1), Race(0.1)
    whole.update(values)
    for start in range(0, len(values), batch):
        parts.update(values[start : start + batch])
    assert whole.bounds == parts.bounds


def test_verdict_stands_though_later_items_disagree() -> None:
    """What has been judged is not taken back."""
    race = Race(0.03)
    assert race.update([0.0] * 300) == "within"
    assert race.update([-1.0] * 60) == "within"
    assert race.finish() == "within"


def test_nothing_comes_after_the_last_look() -> None:
    """One last look is what alpha was kept for."""
    race = Race(0.03)
    race.update([0.0, 0.0])
    assert race.finish() == race.finish() == "open"
    with pytest.raises(ValueError, match="ended"):
        race.update([0.0])


def test_no_items_leave_a_race_open() -> None:
    """An empty batch is no error; a mean of nothing is."""
    race = Race(0.03)
    assert race.update([]) == "open"
    assert race.finish() == "open"
    with pytest.raises(ValueError, match="no items"):
        _ = race.bounds


def test_alpha_is_shared_between_levels() -> None:
    """Each level has an equal share of the whole."""
    assert race_alpha(5, 0.05) == pytest.approx(0.01)
    assert race_alpha(1) == 0.05
    with pytest.raises(ValueError, match="race"):
        race_alpha(0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1.001, -2.0])
def test_difference_out_of_range_is_refused_whole(bad: float) -> None:
    """A bad number raises and none of its batch is taken."""
    race = Race(0.03)
    with pytest.raises(ValueError, match=r"not in -1\.\.1"):
        race.update([0.0, bad])
    assert race.n == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"tolerance": -0.01},
        {"tolerance": 1.0},
        {"tolerance": math.nan},
        {"tolerance": 0.03, "alpha": 0.0},
        {"tolerance": 0.03, "alpha": 1.0},
        {"tolerance": 0.03, "alpha": math.nan},
    ],
)
def test_impossible_race_is_refused(arguments: dict[str, Any]) -> None:
    """Tolerance and alpha have ranges."""
    with pytest.raises(ValueError, match=r"tolerance|alpha"):
        Race(**arguments)

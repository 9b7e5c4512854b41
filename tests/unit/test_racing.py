"""Races keep their error however early they stop, and end as the full list of items would."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgebench.stats.sequential import Race, empirical_bernstein, race_alphas

RACES = 2000
DIFFERENCES = st.lists(
    st.one_of(st.sampled_from([-1.0, 0.0, 1.0]), st.floats(-1, 1)), min_size=1, max_size=40
)


def simulate(
    rng: np.random.Generator, n: int, discordance: float, mean: float
) -> NDArray[np.float64]:
    """Return differences of paired answers with the true mean given."""
    odds = [(discordance - mean) / 2, 1 - discordance, (discordance + mean) / 2]
    return rng.choice([-1.0, 0.0, 1.0], size=n, p=odds)


def fixed_list(items: int, differing: int, total: int) -> NDArray[np.float64]:
    """Return a list of items of which so many differ and whose differences have this sum."""
    better = (differing + total) // 2
    worse = differing - better
    return np.array([1.0] * better + [-1.0] * worse + [0.0] * (items - differing))


@pytest.mark.parametrize(
    ("discordance", "mean", "wrong"),
    [
        (0.08, -0.03, "within"),
        (0.08, -0.03, "outside"),
        (0.03, -0.03, "within"),
        (0.30, -0.0305, "within"),
        (0.30, -0.0295, "outside"),
    ],
)
def test_with_replacement_few_races_end_wrongly(
    discordance: float, mean: float, wrong: str
) -> None:
    """At or beside the tolerance, looking after every item, at most alpha of verdicts are wrong."""
    rng = np.random.default_rng(5)
    verdicts = [
        Race(0.03).update(simulate(rng, 1500, discordance, mean).tolist()) for _ in range(RACES)
    ]
    assert verdicts.count(wrong) / RACES <= 0.05  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("differing", "total"), [(80, -30), (80, -31), (31, -31), (300, -30), (300, -32), (80, -25)]
)
def test_without_replacement_few_races_end_against_the_full_list(
    differing: int, total: int
) -> None:
    """A list at or beside the tolerance, in random orders, is judged wrongly at most at alpha."""
    rng = np.random.default_rng(6)
    full = fixed_list(1000, differing, total)
    truth = Race(0.03, population=1000).update(full.tolist())
    assert truth == ("within" if total >= -30 else "outside")
    wrong = 0
    for _ in range(RACES):
        early = Race(0.03, population=1000).update(rng.permutation(full)[:-1].tolist())
        wrong += early not in ("open", truth)
    assert wrong / RACES <= 0.05


def test_races_agree_with_the_full_grid_on_few_items() -> None:
    """Over levels near and far from 3 %, verdicts agree in 95 of 100 on about a third of items."""
    rng = np.random.default_rng(7)
    agree, used = [], []
    for mean in (0.0, 0.002, -0.002, -0.03, -0.06, 0.0):
        for _ in range(60):
            items = simulate(rng, 2000, 0.08, mean)
            race = Race(0.03, population=2000)
            for start in range(0, 2000, 50):
                if race.update(items[start : start + 50].tolist()) != "open":
                    break
            full = Race(0.03, population=2000)
            agree.append(full.update(items.tolist()) == race.verdict)
            used.append(race.n / 2000)
    assert np.mean(agree) >= 0.95
    assert np.mean(used) <= 0.36


def test_level_far_from_the_tolerance_is_judged_early() -> None:
    """Identical answers are within 3 % after a tenth of 2000 items; a tenth worse is outside."""
    same, worse = Race(0.03, population=2000), Race(0.03, population=2000)
    assert same.update([0.0] * 199) == "within"
    rng = np.random.default_rng(8)
    assert worse.update(simulate(rng, 400, 0.14, -0.10).tolist()) == "outside"


@pytest.mark.parametrize("population", [None, 600])
def test_bounds_hold_the_truth_at_every_moment(population: int | None) -> None:
    """Each bound of a race, being its tightest so far, errs in at most 5 % of races."""
    rng = np.random.default_rng(9)
    low_wrong = high_wrong = 0
    full = fixed_list(600, 90, -12)
    for _ in range(400):
        items = rng.permutation(full) if population else rng.choice(full, 600)
        race = Race(0.03, population=population)
        race.update(items[:450].tolist())
        found = race.bounds
        low_wrong += found.low > -0.02
        high_wrong += found.high < -0.02
    assert max(low_wrong, high_wrong) / 400 <= 0.05


@pytest.mark.parametrize("population", [None, 600])
def test_empirical_bernstein_holds_the_truth(population: int | None) -> None:
    """Its two bounds together err in at most 5 % of sequences."""
    rng = np.random.default_rng(10)
    full = fixed_list(600, 90, -12)
    wrong = 0
    for _ in range(RACES):
        items = rng.permutation(full) if population else rng.choice(full, 600)
        found = empirical_bernstein(items[:450].tolist(), population=population)
        wrong += not found.low <= -0.02 <= found.high
    assert wrong / RACES <= 0.05


def test_betting_is_tighter_than_empirical_bernstein() -> None:
    """On paired answers a race's interval is narrower, and narrower still with a known list."""
    items = simulate(np.random.default_rng(11), 1000, 0.08, 0.0).tolist()
    open_race, listed = Race(0.03, alpha=0.025), Race(0.03, alpha=0.025, population=2000)
    open_race.update(items)
    listed.update(items)
    widths = [
        found.high - found.low
        for found in (listed.bounds, open_race.bounds, empirical_bernstein(items))
    ]
    assert widths == sorted(widths)
    assert widths[0] < 0.8 * widths[2]


@settings(max_examples=60, deadline=None)
@given(DIFFERENCES, st.integers(0, 30) | st.none(), st.floats(0, 0.5))
def test_bounds_hold_the_mean_and_match_the_verdict(
    values: list[float], more: int | None, tolerance: float
) -> None:
    """The mean lies between bounds in -1..1, and no verdict contradicts its bound."""
    population = None if more is None else len(values) + more
    race = Race(tolerance, population=population)
    verdict = race.update(values)
    found = race.bounds
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert math.isclose(found.value, race.mean)
    assert (found.n, race.n) == (len(values), len(values))
    if verdict == "within":
        assert min(found.value, -tolerance) - 1e-9 <= found.low
    if verdict == "outside":
        assert max(found.value, -tolerance) + 1e-9 >= found.high
    plain = empirical_bernstein(values, population=population)
    assert -1 <= plain.low <= plain.value <= plain.high <= 1


@settings(max_examples=60, deadline=None)
@given(DIFFERENCES, st.floats(0, 0.5), st.integers(1, 7))
def test_whole_population_gives_the_mean_and_a_verdict(
    values: list[float], tolerance: float, batch: int
) -> None:
    """Once all items have come the width is zero and the mean decides, a tie as within."""
    race = Race(tolerance, population=len(values))
    for start in range(0, len(values), batch):
        race.update(values[start : start + batch])
    found, plain = race.bounds, empirical_bernstein(values, population=len(values))
    mean = math.fsum(values) / len(values)
    assert (found.low, found.value, found.high) == (mean, mean, mean)
    assert (plain.low, plain.value, plain.high) == (mean, mean, mean)
    if abs(mean + tolerance) > 1e-9:
        assert race.verdict == ("within" if mean > -tolerance else "outside")
    assert race.verdict != "open"


@settings(max_examples=40, deadline=None)
@given(DIFFERENCES, st.integers(1, 40), st.integers(1, 30))
def test_batches_do_not_change_the_bounds(values: list[float], batch: int, more: int) -> None:
    """Bounds depend on the items in their order, not on how many came at once."""
    whole, parts = (Race(0.1, population=len(values) + more) for _ in range(2))
    whole.update(values)
    for start in range(0, len(values), batch):
        parts.update(values[start : start + batch])
    assert whole.bounds == parts.bounds


def test_level_at_the_tolerance_is_within() -> None:
    """A list whose mean is exactly -3 % is no worse by more than 3 %."""
    assert Race(0.03, population=100).update([-1.0] * 3 + [0.0] * 97) == "within"
    assert Race(0.03, population=100).update([-1.0] * 4 + [0.0] * 96) == "outside"


def test_verdict_stands_though_later_items_disagree() -> None:
    """What has been judged is not taken back before the list has ended."""
    race = Race(0.03, population=3000)
    assert race.update([0.0] * 300) == "within"
    assert race.update([-1.0] * 60) == "within"
    assert race.update([-1.0] * 2640) == "outside"


def test_no_items_leave_a_race_open() -> None:
    """An empty batch is no error; a mean of nothing is."""
    race = Race(0.03)
    assert race.update([]) == "open"
    with pytest.raises(ValueError, match="no items"):
        _ = race.bounds


def test_alpha_is_shared_between_levels() -> None:
    """The levels' alphas are alike and add up to the whole."""
    assert race_alphas(5, 0.05) == pytest.approx((0.01,) * 5)
    assert race_alphas(1) == (0.05,)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1.001, -2.0])
def test_difference_out_of_range_is_refused_whole(bad: float) -> None:
    """A bad number raises and none of its batch is taken."""
    race = Race(0.03)
    with pytest.raises(ValueError, match=r"not in -1\.\.1"):
        race.update([0.0, bad])
    assert race.n == 0
    with pytest.raises(ValueError, match=r"not in -1\.\.1"):
        empirical_bernstein([0.0, bad])


@pytest.mark.parametrize(
    "arguments",
    [
        {"tolerance": -0.01},
        {"tolerance": 1.0},
        {"tolerance": math.nan},
        {"tolerance": 0.03, "alpha": 0.0},
        {"tolerance": 0.03, "alpha": 1.0},
        {"tolerance": 0.03, "alpha": math.nan},
        {"tolerance": 0.03, "population": 0},
    ],
)
def test_impossible_race_is_refused(arguments: dict[str, Any]) -> None:
    """Tolerance, alpha and population have ranges."""
    with pytest.raises(ValueError, match=r"tolerance|alpha|population"):
        Race(**arguments)


def test_more_items_than_the_population_are_refused() -> None:
    """Without replacement no list yields more than it has."""
    race = Race(0.03, population=3)
    race.update([0.0, 0.0])
    with pytest.raises(ValueError, match="population"):
        race.update([0.0, 0.0])
    assert race.n == 2
    with pytest.raises(ValueError, match="items of"):
        empirical_bernstein([0.0] * 4, population=3)
    with pytest.raises(ValueError, match="items of"):
        empirical_bernstein([])
    with pytest.raises(ValueError, match="cannot race"):
        race_alphas(0)

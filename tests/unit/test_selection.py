"""A pick's tests share what they may err; studies of a known truth are picked rightly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.simulations import studies, tool

from edgebench.analyze.pick import Constraints
from edgebench.analyze.rows import summarize
from edgebench.analyze.weights import Objective
from edgebench.stats.chunks import p_above_in_chunks
from edgebench.stats.selection import share_alpha
from edgebench.stats.shares import share_test

sim = tool("sim_decisions")
SETTINGS = {setting.name: setting for setting in sim.settings()}


def test_alphas_are_shared_as_argued() -> None:
    """Other measurements cost nothing, the objective's own are shared, rejections by constraint."""
    alphas = share_alpha(contenders=4, constraints=2)
    assert alphas.holds == pytest.approx(0.05 / 1.05)
    assert alphas.holds_shared == pytest.approx(alphas.holds / 4)
    assert alphas.broken == pytest.approx(alphas.holds / 2)
    assert share_alpha(0, 0).holds_shared == share_alpha(0, 0).holds


@pytest.mark.parametrize(
    ("contenders", "constraints", "alpha"), [(-1, 0, 0.05), (0, -1, 0.05), (1, 1, 0.5)]
)
def test_impossible_shares_are_refused(contenders: int, constraints: int, alpha: float) -> None:
    """Negative numbers and an alpha of a half raise."""
    with pytest.raises(ValueError, match=r"contenders|alpha"):
        share_alpha(contenders, constraints, alpha)


@pytest.mark.parametrize("name", ["clear, between 1", "clear, outliers, 10 launches"])
def test_clear_truths_are_picked(name: str) -> None:
    """A tenth off every limit, with enough launches and items: undecided in at most a quarter."""
    rates = sim.rates(SETTINGS[name], studies(4, 200))
    assert rates.get("picked", 0) >= 0.75
    assert rates.get("broken", 0) <= 0.05


@pytest.mark.parametrize(
    "name",
    [
        "six just too slow, fastest",
        "six lose just too much, fastest",
        "six take just too much energy, least",
        "six with just too late a p99, fastest",
        "six get just too little right, fastest",
        "six stray just too far, fastest",
        "models, lose just too much, weights",
        "threads alike, just too slow, weights",
    ],
)
def test_levels_just_over_a_limit_are_seldom_picked(name: str) -> None:
    """Six chances to be lucky are no more than one, whatever the limit, models and settings."""
    count = studies(3, 400)
    broken = sim.rates(SETTINGS[name], count).get("broken", 0)
    assert broken * count <= max(2, 0.07 * count)


def test_models_and_settings_are_picked_where_the_truth_is_clear() -> None:
    """Two models at two numbers of threads, by weights: nothing that breaks a limit is picked."""
    told = sim.rates(SETTINGS["models, clear, weights"], studies(3, 200))
    assert told.get("picked", 0) >= 0.6
    assert told.get("broken", 0) <= 0.05


def test_weighted_leads_of_like_levels_are_seldom_shown() -> None:
    """Two levels alike in truth, by speed, energy and accuracy: told apart in 5 % of studies."""
    levels = (sim.Level("f16", 16, 30.0), sim.Level("q8_0", 8, 30.0, disagreement=0.06))
    setting = sim.Setting("alike", levels, Constraints(), items=300)
    objective, count = Objective.read("decode=2,energy=1,accuracy=1"), studies(30, 1000)
    rng, shown = np.random.default_rng(3), 0
    for _ in range(count):
        first, second = (row for row in summarize(sim.study(rng, setting)) if row.speed)
        standing = objective.lead(first, second, ("basics",))
        assert standing
        shown += standing.is_shown
    assert shown <= 0.05 * count + 2 * math.sqrt(0.05 * 0.95 * count)


def test_share_of_right_answers_is_tested_exactly() -> None:
    """7 and more of 10 at a true half: 176 of 1024 cases, and the other side's are the rest."""
    test = share_test([True] * 7 + [False] * 3, None, 0.5)
    assert test
    assert test.p_above == pytest.approx(176 / 1024)
    assert test.p_below == pytest.approx(1 - 56 / 1024)
    sure = share_test([True] * 5, None, 1.0)
    assert sure
    assert (sure.p_above, sure.p_below) == (1.0, 1.0)
    assert share_test([True] * 12, [index // 3 for index in range(12)], 0.5) is None


@pytest.mark.parametrize("size", [1, 10])
def test_share_at_its_limit_is_seldom_shown(size: int) -> None:
    """Of answers that lie at the limit, alone or alike by tens, 5 % are said to be on a side."""
    rng = np.random.default_rng(17)
    count, limit, above, below = studies(120, 2000), 0.6, 0, 0
    for _ in range(count):
        rates = rng.beta(limit * 4, (1 - limit) * 4, 300 // size) if size > 1 else limit
        right = rng.random(300) < np.repeat(rates, size if size > 1 else 300)
        clusters = [index // size for index in range(300)] if size > 1 else None
        test = share_test(right.tolist(), clusters, limit)
        assert test
        above, below = above + (test.p_above <= 0.05), below + (test.p_below <= 0.05)
    most = 0.05 * count + 2 * math.sqrt(0.05 * 0.95 * count)
    assert max(above, below) <= most


@pytest.mark.parametrize(("limit", "unseen"), [(0, 5), (1.5, 5), (0.5, 0)])
def test_impossible_shares_of_answers_are_refused(limit: float, unseen: int) -> None:
    """No answers and limits that are no shares raise; a limit of 0 is one."""
    if unseen and 0 <= limit <= 1:
        assert share_test([True] * unseen, None, limit) is not None
        return
    with pytest.raises(ValueError, match="answers"):
        share_test([True] * unseen, None, limit)


def test_divergence_at_its_limit_is_seldom_shown() -> None:
    """Skewed chunks, like their neighbours, whose mean is the limit: 5 % a side are wrong."""
    rng, count, holds, breaks = np.random.default_rng(5), studies(200, 2000), 0, 0
    for _ in range(count):
        logs = rng.normal(0, 1, 40)
        for index in range(1, 40):
            logs[index] = 0.5 * logs[index - 1] + math.sqrt(0.75) * logs[index]
        klds = np.exp(logs - 0.5)
        above, below = (
            p_above_in_chunks(klds.tolist(), 1.0),
            p_above_in_chunks((-klds).tolist(), -1),
        )
        assert above is not None
        assert below is not None
        holds, breaks = holds + (below <= 0.05), breaks + (above <= 0.05)
    assert max(holds, breaks) <= 0.05 * count + 2 * math.sqrt(0.05 * 0.95 * count)
    assert p_above_in_chunks([0.1] * 11, 0.05) is None

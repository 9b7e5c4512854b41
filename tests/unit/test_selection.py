"""A pick's tests share what they may err; studies of a known truth are picked rightly."""

from __future__ import annotations

import pytest
from support.simulations import studies, tool

from edgebench.stats.selection import share_alpha

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


@pytest.mark.parametrize("name", ["six just too slow, fastest", "six lose just too much, fastest"])
def test_levels_just_over_a_limit_are_seldom_picked(name: str) -> None:
    """Six chances to be lucky are no more than one."""
    count = studies(8, 400)
    broken = sim.rates(SETTINGS[name], count).get("broken", 0)
    assert broken * count <= max(2, 0.07 * count)

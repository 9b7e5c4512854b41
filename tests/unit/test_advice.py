"""Forecasts of what would decide are met about as often as they say."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import make_estimate
from support.simulations import LONG, studies

from edgebench.records.base import Estimate
from edgebench.stats.advice import (
    chance_of_launches,
    chance_to_decide,
    items_that_could,
    items_to_decide,
    launches_to_decide,
    smallest_loss_shown,
)
from edgebench.stats.launches import p_above, p_below
from edgebench.stats.loss import loses_at_most_counts, score_p

MARGIN = 0.01


class Forecast(NamedTuple):
    """A chance that was told, and whether it then was decided."""

    told: float
    decided: bool


def forecasts(count: int) -> list[Forecast]:
    """Draw levels that lose what levels lose, ask where it is open, and measure on."""
    rng = np.random.default_rng(1)
    made = []
    while len(made) < count:
        n, disagreement = int(rng.choice([300, 1000])), float(rng.choice([0.02, 0.05, 0.08]))
        loss = float(np.clip(rng.normal(0, disagreement / 4), -disagreement, disagreement))
        odds = [(disagreement - loss) / 2, (disagreement + loss) / 2, 1 - disagreement]
        first = rng.multinomial(n, odds)
        judged = loses_at_most_counts(int(first[0]), int(first[1]), n, MARGIN)
        if judged.verdict != "open":
            continue
        total = n * int(rng.choice([2, 4, 10]))
        told = chance_to_decide(judged.difference, n, total, MARGIN)
        both = first + rng.multinomial(total - n, odds)
        p_values = [score_p(int(both[0]), int(both[1]), total, MARGIN, side) for side in (1, -1)]
        made.append(Forecast(told, min(p_values) <= 0.05))
    return made


def test_items_decide_as_often_as_is_told() -> None:
    """Over truths that levels have, what is told comes true to within 10 points."""
    made = forecasts(studies(120, 3000))
    bands = [(0.0, 0.4), (0.4, 0.7), (0.7, 1.01)]
    for low, high in bands:
        band = [it for it in made if low <= it.told < high]
        told, came = np.mean([it.told for it in band]), np.mean([it.decided for it in band])
        assert abs(told - came) <= (0.10 if LONG else 0.2), (low, told, came, len(band))


@pytest.mark.parametrize("n", [3, 5, 8])
def test_launches_decide_as_often_as_is_asked(n: int) -> None:
    """As many launches as are advised decide in about 80 %, over truths about the limit."""
    rng = np.random.default_rng(2)
    decided = []
    while len(decided) < studies(60, 1500):
        truth = rng.uniform(-0.06, 0.06)
        first = np.exp(rng.normal(truth, 0.03, n))
        wanted = launches_to_decide(first.tolist(), 1.0)
        if wanted is None or wanted <= n:
            continue
        every = [*first.tolist(), *np.exp(rng.normal(truth, 0.03, wanted - n)).tolist()]
        decided.append(min(p_above(every, 1.0) or 0.0, p_below(every, 1.0) or 0.0) <= 0.05)
    assert 0.7 - (0 if LONG else 0.1) <= np.mean(decided) <= 0.9 + (0 if LONG else 0.08)


def test_what_is_decided_needs_no_more() -> None:
    """An interval beside the margin is a chance of 1, and as many items as there are."""
    clear = make_estimate(0.0, 0.005, n=500)
    assert chance_to_decide(clear, 500, 500, MARGIN) == 1.0
    assert items_to_decide(clear, 500, MARGIN) == 500
    assert launches_to_decide([10.0, 10.1, 9.9, 10.0, 10.05], 5.0) == 5
    assert launches_to_decide([10.0, 10.1, 9.9], 5.0) == 5


def test_without_an_interval_nothing_is_promised() -> None:
    """Too few clusters have no interval; a single launch has no spread."""
    none = Estimate(value=0.0, n=3, method="too few clusters")
    assert chance_to_decide(none, 300, 3000, MARGIN) == 0.0
    assert items_to_decide(none, 300, MARGIN) is None
    assert launches_to_decide([10.0], 5.0) is None
    assert chance_of_launches([10.0], 5.0, 9) == 0.0
    assert chance_of_launches([10.0, 10.1], 5.0, 4) == 0.0
    assert launches_to_decide([10.0] * 5, 10.0) is None


@given(st.floats(-0.05, 0.05), st.floats(0.02, 0.1), st.integers(1, 50))
def test_chances_grow_with_items(value: float, half: float, times: int) -> None:
    """A chance is in 0..1, and four times as many items have no smaller one."""
    difference = make_estimate(value, half, n=300)
    few, many = (chance_to_decide(difference, 300, 300 * t, MARGIN) for t in (times, 4 * times))
    assert 0 <= few <= many + 1e-9 <= 1 + 1e-6


def test_300_items_cannot_show_a_loss_under_1_percent() -> None:
    """Where levels disagree on 8 % of items: 4 points at best, and about 5,000 could."""
    assert 0.03 < smallest_loss_shown(300, 0.08) < 0.05
    assert 4000 < (items_that_could(0.01, 0.08) or 0) < 6000
    assert smallest_loss_shown(300, 0.0) == pytest.approx(1 - 0.05 ** (1 / 300))
    assert items_that_could(0.0, 0.08) is None
    assert smallest_loss_shown(300, 0.08, 0.02) > 0.05


@pytest.mark.parametrize(("margin", "disagreement"), [(0.01, 0.04), (0.02, 0.08)])
def test_items_that_could_do(margin: float, disagreement: float) -> None:
    """As many items as could show it do so in about 80 % where nothing is lost."""
    n = items_that_could(margin, disagreement)
    assert n is not None
    half = disagreement / 2
    drawn = np.random.default_rng(3).multinomial(n, [half, half, 1 - disagreement], 400)
    shown = [score_p(int(won), int(lost), n, margin, 1) <= 0.05 for won, lost, _ in drawn]
    assert 0.72 <= np.mean(shown) <= 0.88


def test_impossible_questions_are_refused() -> None:
    """Fewer in all than there are, and no items at all, raise."""
    with pytest.raises(ValueError, match="were answered"):
        chance_to_decide(make_estimate(0.0, 0.1), 300, 200, MARGIN)
    with pytest.raises(ValueError, match="were made"):
        chance_of_launches([1.0] * 5, 2.0, 4)
    with pytest.raises(ValueError, match="no items"):
        smallest_loss_shown(0, 0.1)

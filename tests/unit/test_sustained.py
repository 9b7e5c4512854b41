"""Sustained load: a simulated board that throttles is found to, one that doesn't is not."""

from __future__ import annotations

import numpy as np
import pytest
from support.builders import make_launch, make_workload

from edgebench.figures.sustained import sustained_of
from edgebench.records.speed import Launch, Moment, Sustained


def went(rates: np.ndarray, seconds: float = 1200.0, **changes: object) -> Sustained | None:
    """Return what is made of trials whose decode went at these rates, evenly spread."""
    begins = np.linspace(0, seconds, len(rates))
    launch: Launch = make_launch(
        "only", 20.0, decode_s=tuple(128 / rates), at_s=tuple(begins), **changes
    )
    workload = make_workload(generate_tokens=128, duration_s=seconds)
    return sustained_of(workload, launch)


@pytest.mark.parametrize("spread", [0.005, 0.02, 0.03])
def test_board_that_stays_cool_is_not_said_to_throttle(spread: float) -> None:
    """Noise alone: an onset in at most one study in twenty."""
    rng = np.random.default_rng(1)
    told = [went(20 * np.exp(rng.normal(0, spread, 300))) for _ in range(100)]
    assert sum(study is not None and study.onset_s is not None for study in told) <= 5


@pytest.mark.parametrize("at_s", [150.0, 600.0, 1000.0])
def test_onset_is_found_where_it_was(at_s: float) -> None:
    """A fall by 15 % at a known time is found within half a minute in nearly every study."""
    rng = np.random.default_rng(2)
    begins = np.linspace(0, 1200, 300)
    near = 0
    for _ in range(60):
        truth = np.where(begins < at_s, 20.0, 17.0)
        study = went(truth * np.exp(rng.normal(0, 0.02, 300)))
        assert study
        near += study.onset_s is not None and abs(study.onset_s - at_s) <= 30
    assert near >= 57


def test_speed_at_the_start_and_at_the_end_is_recovered() -> None:
    """The medians of the first tenth and of the last fifth, whatever lies between."""
    rng = np.random.default_rng(3)
    begins = np.linspace(0, 1200, 300)
    study = went(np.where(begins < 500, 20.0, 15.0) * np.exp(rng.normal(0, 0.02, 300)))
    assert study
    assert study.start_tokens_per_s == pytest.approx(20, rel=0.02)
    assert study.end_tokens_per_s == pytest.approx(15, rel=0.02)


def test_dip_that_passes_is_no_fall() -> None:
    """Another program for a minute: the speed comes back."""
    rates = np.full(300, 20.0)
    rates[100:115] = 10.0
    study = went(rates)
    assert study
    assert study.onset_s is None


def test_heat_is_told_from_the_course() -> None:
    """The hottest reading, and when the machine first said that it throttles."""
    course = (
        Moment(at_s=0.0, hottest_c=40.0, throttled=False),
        Moment(at_s=300.0, hottest_c=84.5, throttled=True),
    )
    study = went(np.full(300, 20.0), course=course)
    assert study
    assert (study.hottest_c, study.throttled_s) == (84.5, 300.0)


def test_few_trials_say_nothing() -> None:
    """Under ten there is no start and no end."""
    assert went(np.full(8, 20.0)) is None

"""What changed between two sets of runs: what is the same is not said to have changed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from support.builders import (
    make_artifact,
    make_energy,
    make_launch,
    make_run,
    make_runtime,
    make_speed,
    make_task_run,
)

from edgebench.analyze.changes import Change, Changes, changes_between
from edgebench.analyze.rows import summarize
from edgebench.records.device import DeviceInfo
from edgebench.records.run import Run
from edgebench.report.changes import changes_section
from edgebench.stats.changes import times_as_much

LEVELS = ("f16", "q8_0", "q4_0")


def timed(level: str, decodes: Sequence[float], **changes: object) -> Run:
    """Return a level's run whose launches decode at these rates."""
    launches = [
        make_launch(f"round {index}", decode, prefill=10 * decode, ttft_s=10 / decode)
        for index, decode in enumerate(decodes)
    ]
    speed = make_speed(float(np.median(decodes)), launches=launches)
    fields: dict[str, object] = {"artifact": make_artifact(level=level), "speed": speed}
    return make_run(**(fields | changes))


def between(before: Sequence[Run], after: Sequence[Run]) -> Changes:
    """Return what changed between two lists of runs."""
    return changes_between(summarize(before), summarize(after))


def by_figure(changes: Changes) -> dict[str, Change]:
    """Return the changes of a single row by their figure."""
    return {change.figure: change for change in changes.changes}


def test_same_launches_are_seldom_said_to_differ() -> None:
    """Two sets of the same truth: something is shown to differ in about 5 % of studies at most."""
    rng = np.random.default_rng(1)
    wrong = 0
    studies = 150
    for _ in range(studies):
        before, after = (
            [timed(level, 20 * np.exp(rng.normal(0, 0.02, 5))) for level in LEVELS]
            for _ in range(2)
        )
        wrong += any(change.is_shown for change in between(before, after).changes)
    assert wrong / studies <= 0.09  # 5 % and three standard errors of 150 studies


def test_real_slowdown_is_shown() -> None:
    """10 % slower with launches that spread by 2 %: shown in nearly every study."""
    rng = np.random.default_rng(2)
    shown = 0
    for _ in range(60):
        before = [timed("q4_0", 20 * np.exp(rng.normal(0, 0.02, 5)))]
        after = [timed("q4_0", 18 * np.exp(rng.normal(0, 0.02, 5)))]
        shown += by_figure(between(before, after))["decode"].is_regression(0.05)
    assert shown >= 54


def test_interval_holds_the_true_ratio() -> None:
    """The ratio's 95 % interval holds the truth in 95 % of studies, also of unlike spreads."""
    rng = np.random.default_rng(3)
    held = 0
    studies = 600
    for _ in range(studies):
        before = 10 * np.exp(rng.normal(0, 0.01, 5))
        after = 12 * np.exp(rng.normal(0, 0.05, 8))
        bounds = times_as_much(list(before), list(after)).ratio.bounds
        assert bounds
        held += bounds.low <= 1.2 <= bounds.high
    assert 0.93 <= held / studies <= 0.99


def test_few_launches_are_not_judged() -> None:
    """Two launches a side say nothing, and the reason is told."""
    change = by_figure(between([timed("q4_0", [20, 20])], [timed("q4_0", [10, 10])]))["decode"]
    assert not change.is_shown
    assert "three launches" in change.why_not


def test_time_to_first_token_is_better_where_it_is_shorter() -> None:
    """A slower second set has a later first token: worse by as much as decode."""
    told = by_figure(between([timed("q4_0", [20, 20.1, 19.9])], [timed("q4_0", [10, 10.1, 9.9])]))
    assert told["ttft"].by == pytest.approx(-0.5, abs=0.01)
    assert told["decode"].by == pytest.approx(-0.5, abs=0.01)
    assert told["ttft"].low is not None
    assert told["ttft"].low < told["ttft"].by < (told["ttft"].high or 0)


def test_two_builds_are_held_against_each_other() -> None:
    """Another build of the runtime is the same row: that is what is asked."""
    before = [timed("q4_0", [20, 20.1, 19.9], runtime=make_runtime(build="old"))]
    after = [timed("q4_0", [15, 15.1, 14.9], runtime=make_runtime(build="new"))]
    changes = between(before, after)
    assert changes.builds_before != changes.builds_after
    assert changes.regressions(0.05)
    assert not between(after, before).regressions(0.05)


def test_other_machine_and_other_settings_have_no_partner() -> None:
    """They are named, not compared."""
    before = [timed("q4_0", [20, 20, 20])]
    for changes in (
        {"device": DeviceInfo(name="pi", machine="b")},
        {"runtime": make_runtime(threads=4)},
    ):
        told = between(before, [timed("q4_0", [10, 10, 10], **changes)])
        assert not told.changes
        assert told.only_before
        assert told.only_after
        assert "nothing to compare" in changes_section(told, 0.05, explain=False).verdict[0]


def test_accuracy_is_compared_on_the_same_items() -> None:
    """60 of 300 items lost are shown; other items are not compared, with the reason."""
    right, worse = [True] * 300, [True] * 240 + [False] * 60
    change = by_figure(between([make_task_run(right)], [make_task_run(worse)]))["accuracy"]
    assert change.is_regression(0.05)
    assert change.by == pytest.approx(-0.2)
    other = by_figure(between([make_task_run(right)], [make_task_run(worse[:200])]))["accuracy"]
    assert not other.is_shown
    assert other.why_not


def test_energy_and_sizes_are_compared() -> None:
    """Joules whose intervals are apart, and bytes, which are exact."""
    small, large = (make_artifact(size_bytes=size) for size in (1000, 1200))
    before = [make_run(artifact=small, energy=(make_energy(0.1, 0.001),), energy_reason=None)]
    after = [make_run(artifact=large, energy=(make_energy(0.2, 0.001),), energy_reason=None)]
    told = by_figure(between(before, after))
    assert told["energy"].is_shown
    assert told["energy"].by == pytest.approx(-0.5)
    assert told["size"].by == pytest.approx(1000 / 1200 - 1)


def test_section_lists_the_worst_and_says_how_many_more() -> None:
    """Twelve changes are listed; --explain lists all, with p-values."""
    before = [timed(f"q{index}_0", [20, 20.1, 19.9]) for index in range(1, 9)]
    after = [timed(f"q{index}_0", [10, 10.1, 9.9]) for index in range(1, 9)]
    changes = between(before, after)
    brief = changes_section(changes, None, explain=False)
    assert len(brief.tables[0].rows) == 12
    assert any("--explain lists all" in note for note in brief.notes)
    full = changes_section(changes, None, explain=True)
    assert len(full.tables[0].rows) == len(changes.changes)

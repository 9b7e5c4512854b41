"""Rows, comparisons and picks from records whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.builders import (
    make_accuracy,
    make_artifact,
    make_energy,
    make_run,
    make_runtime,
    make_speed,
    make_task_run,
)

from edgebench.analyze.compare import Group, compare
from edgebench.analyze.pick import Constraints, Pick, pick
from edgebench.analyze.rows import summarize
from edgebench.errors import UsageError
from edgebench.records.device import DeviceInfo
from edgebench.records.run import Run


def levels(**decodes: float) -> list[Run]:
    """Return a run of each level with its decode speed; earlier ones have more bits."""
    return [
        make_run(
            artifact=make_artifact(level=level, bits_per_weight=16.0 - index),
            speed=make_speed(decode),
        )
        for index, (level, decode) in enumerate(decodes.items())
    ]


def answers(level: str, correct: list[bool]) -> Run:
    """Return a level's answers."""
    return make_task_run(correct, artifact=make_artifact(level=level))


def one_group(runs: list[Run], baseline: str | None = None) -> Group:
    """Return the only group that the runs make."""
    groups = compare(summarize(runs), baseline)
    assert len(groups) == 1
    return groups[0]


def decide(runs: list[Run], objective: Any = "decode", **limits: float) -> Pick:
    """Return the pick over the runs' only group."""
    return pick([one_group(runs)], Constraints(**limits), objective)


# rows


def test_speed_and_accuracy_of_one_artifact_make_one_row() -> None:
    """A workload's run and a task's run of the same bytes stand side by side."""
    rows = summarize([make_run(), make_task_run([True] * 30)])
    assert [(row.level, row.decode is not None, len(row.tasks)) for row in rows] == [
        ("q8_0", True, 1)
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"device": DeviceInfo(name="cpu", power_mode="15W")},
        {"runtime": make_runtime(build="another")},
        {"device": DeviceInfo(name="cpu", board="another")},
    ],
)
def test_unlike_runs_are_never_pooled(changes: dict[str, Any]) -> None:
    """Another power mode, build or board is another row, in another group."""
    runs = [make_run(), make_run(**changes, run_id="run-2", case_id="other")]
    assert len(compare(summarize(runs))) == 2


@pytest.mark.parametrize(
    "changes", [{"runtime": make_runtime(threads=8)}, {"runtime": make_runtime(kv_type="q8_0")}]
)
def test_other_settings_are_other_rows_of_one_group(changes: dict[str, Any]) -> None:
    """Threads and the KV cache's type are settings: an axis of the table."""
    (group,) = compare(
        summarize([make_run(), make_run(**changes, run_id="run-2", case_id="other")])
    )
    assert len({row.key for row in group.rows}) == 2


def test_newest_run_of_a_case_counts() -> None:
    """Measuring again replaces what was measured before."""
    runs = [
        make_run(speed=make_speed(10), created="2026-01-01T00:00:00Z"),
        make_run(speed=make_speed(20), created="2026-01-02T00:00:00Z"),
    ]
    rows = summarize(runs)
    assert len(rows) == 1
    assert rows[0].decode is not None
    assert rows[0].decode.value == pytest.approx(20)


# comparisons


def test_baseline_has_the_most_bits_unless_named() -> None:
    """f16 before q8_0; --baseline says otherwise; an unknown level is refused."""
    runs = levels(f16=10, q8_0=20)
    for named, level in ((None, "f16"), ("q8_0", "q8_0")):
        chosen = one_group(runs, named).baselines["tiny"]
        assert chosen
        assert chosen.level == level
    with pytest.raises(UsageError, match="no run of level 'q9_0'"):
        one_group(runs, "q9_0")


def test_differences_are_paired_on_the_same_items() -> None:
    """3 of 10 items lost are -0.3, whatever the intervals of each level alone."""
    runs = [
        make_task_run([True] * 10, artifact=make_artifact(level="f16", bits_per_weight=16.0)),
        answers("q4_0", [True] * 7 + [False] * 3),
    ]
    task = one_group(runs).rows[1].tasks[0]
    assert task.difference is not None
    assert task.difference.value == pytest.approx(-0.3)
    assert task.p_value == pytest.approx(2 / 2**3)


def test_other_items_have_no_difference_but_a_reason() -> None:
    """Answers to another version of the task are not compared."""
    runs = [
        make_task_run([True] * 10, artifact=make_artifact(level="f16", bits_per_weight=16.0)),
        make_task_run(
            [True] * 10,
            artifact=make_artifact(level="q4_0"),
            accuracy=make_accuracy([True] * 10, task_sha256="another"),
        ),
    ]
    task = one_group(runs).rows[1].tasks[0]
    assert task.difference is None
    assert task.why_no_difference == "f16 answered other items"


def test_p_values_are_corrected_over_the_levels() -> None:
    """With three levels against the baseline the smallest p is multiplied by three."""
    runs = [make_task_run([True] * 40, artifact=make_artifact(level="f16", bits_per_weight=16.0))]
    runs += [
        answers(level, [False] * lost + [True] * (40 - lost))
        for level, lost in (("q8_0", 1), ("q4_0", 3), ("q3_k_m", 8))
    ]
    found = {row.level: row.tasks[0] for row in one_group(runs).rows[1:]}
    assert found["q3_k_m"].p_holm == pytest.approx(3 * 2 / 2**8)
    assert found["q8_0"].p_holm == 1.0


# picks


def test_fastest_that_holds_all_constraints_is_picked() -> None:
    """Without constraints the fastest; with memory to spare for all, still the fastest."""
    decision = decide(levels(f16=10, q8_0=20, q4_0=30))
    assert (decision.decision, decision.artifact) == ("picked", "tiny-q4_0")
    decision = decide(levels(f16=10, q8_0=20), max_memory_bytes=2e6)
    assert decision.artifact == "tiny-q8_0"


def test_constraint_holds_only_where_its_bound_does() -> None:
    """19.5 to 20.5 tokens a second neither hold nor break 20: undecided, with what to measure."""
    decision = decide(levels(q8_0=20), min_decode_tokens_per_s=20)
    assert decision.decision == "undecided"
    assert [(one.artifact, one.constraint) for one in decision.measure_next] == [
        ("tiny-q8_0", "min-decode")
    ]
    assert decide(levels(q8_0=20), min_decode_tokens_per_s=19).decision == "picked"


def test_every_rejection_has_its_reason() -> None:
    """Where nothing fits, each artifact stands with the constraint, the limit and the figure."""
    decision = decide(levels(f16=10, q8_0=20), min_decode_tokens_per_s=100)
    assert decision.decision == "none"
    assert [(one.artifact, one.constraint, one.limit) for one in decision.rejected] == [
        ("tiny-f16", "min-decode", 100),
        ("tiny-q8_0", "min-decode", 100),
    ]
    assert all(one.estimate and one.estimate.value < 100 for one in decision.rejected)


def test_energy_that_was_not_measured_is_open_and_never_zero() -> None:
    """An energy limit on a machine without a meter leaves the question open, with the reason."""
    decision = decide(levels(q8_0=20), max_energy_j=0.5)
    assert decision.decision == "undecided"
    assert "no sensor" in decision.measure_next[0].message


def test_energy_is_an_objective_where_it_was_measured() -> None:
    """The level that needs the least joules a token is picked, though it is slower."""
    runs = [
        make_run(
            artifact=make_artifact(level=level),
            speed=make_speed(speed),
            energy=(make_energy(joules, 0.01),),
            energy_reason=None,
        )
        for level, speed, joules in (("q8_0", 20, 0.2), ("q4_0", 30, 0.4))
    ]
    assert decide(runs, "energy").artifact == "tiny-q8_0"
    assert decide(runs, "decode").artifact == "tiny-q4_0"


def test_trade_offs_leave_out_what_is_worse_in_everything() -> None:
    """A level that is slower, larger and no better is not on the Pareto front."""
    decision = decide(levels(f16=10, q8_0=20, q4_0=30))
    assert "tiny-q4_0" in decision.pareto
    assert "tiny-f16" not in decision.pareto


def test_equal_levels_are_seldom_told_apart_by_mistake() -> None:
    """A level that truly loses 3 points passes a limit of 2 points in at most 5 % of 60 sweeps.

    And one that loses nothing is rejected in at most 5 %.
    """
    rng = np.random.default_rng(19)
    wrongly_held = wrongly_broken = 0
    for _ in range(60):
        base = rng.random(300) < 0.6
        worse = base & (rng.random(300) >= 0.05)  # loses 5 % of 60 %: 3 points
        same = np.where(rng.random(300) < 0.04, rng.random(300) < 0.6, base)
        runs = [
            *levels(f16=10, q4_0=20, q8_0=15),
            make_task_run(base.tolist(), artifact=make_artifact(level="f16", bits_per_weight=16.0)),
            make_task_run(
                worse.tolist(), artifact=make_artifact(level="q4_0", bits_per_weight=15.0)
            ),
            make_task_run(
                same.tolist(), artifact=make_artifact(level="q8_0", bits_per_weight=14.0)
            ),
        ]
        decision = decide(runs, max_accuracy_loss=0.02)
        rejected = {one.artifact for one in decision.rejected}
        wrongly_held += "tiny-q4_0" in decision.satisfying
        wrongly_broken += "tiny-q8_0" in rejected
    assert wrongly_held <= 7
    assert wrongly_broken <= 7

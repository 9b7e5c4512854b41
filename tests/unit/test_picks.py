"""Which of several good levels is taken, what is said of it, and what to type where it is open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from support.builders import (
    make_accuracy,
    make_artifact,
    make_estimate,
    make_launch,
    make_run,
    make_speed,
    make_task_run,
)

from edgebench.analyze.compare import compare
from edgebench.analyze.pick import Constraints, Pick, pick
from edgebench.analyze.rows import summarize
from edgebench.cli.common import BYTES, JOULES, LATENCY, LEAST_RIGHT, NATS, RATE, SHARE
from edgebench.cli.pick import newest_groups
from edgebench.records.accuracy import Divergence
from edgebench.records.run import Run
from edgebench.records.speed import Memory
from edgebench.report.picks import pick_lines

BITS = {"f16": 16.0, "q8_0": 8.5, "q4_k_m": 4.8, "q4_0": 4.5}


def artifact(level: str, **changes: Any) -> Any:
    """Return a level's artifact."""
    fields: dict[str, Any] = {"bits_per_weight": BITS[level], "size_bytes": int(BITS[level] * 1e6)}
    return make_artifact(level=level, **(fields | changes))


def speed(level: str, decodes: Sequence[float] | float, memory: float | None = None) -> Run:
    """Return a level's speed, by launches or around a figure."""
    made = (
        make_speed(decodes)
        if isinstance(decodes, float)
        else make_speed(launches=[make_launch(f"round {i}", x) for i, x in enumerate(decodes)])
    )
    size = int(memory or BITS[level] * 1e6)
    return make_run(
        artifact=artifact(level),
        speed=made,
        memory=Memory(peak_rss_bytes=size),
        wall_s=50.0,
    )


def answers(level: str, correct: Sequence[bool], **changes: Any) -> Run:
    """Return a level's answers."""
    accuracy = make_accuracy(list(correct), **changes)
    return make_task_run(
        list(correct), artifact=artifact(level), task=accuracy.task, accuracy=accuracy, wall_s=30.0
    )


def diverged(level: str, kld: float) -> Run:
    """Return a level's divergence over a text."""
    found = Divergence(
        reference="tiny-f16",
        reference_sha256="sha",
        text="wiki",
        text_sha256="wiki",
        chunks=30,
        tokens=7650,
        mean_kld=make_estimate(kld, kld / 10),
        perplexity=20.0,
        bits_per_byte=0.9,
        truncated_mass=0.0005,
    )
    return make_run(
        artifact=artifact(level),
        workload=None,
        speed=None,
        memory=None,
        task="wiki",
        divergence=found,
    )


def decide(runs: Sequence[Run], objective: str = "decode", **limits: Any) -> Pick:
    """Pick as the command does."""
    return pick(newest_groups(compare(summarize(runs)), None), Constraints(**limits), objective)


ALIKE = ((90.5, 89.0, 91.0, 90.5, 92.0), (90.0, 91.0, 89.5, 90.8, 90.0))


# among equals


def test_tie_goes_to_what_was_not_asked() -> None:
    """Of two that decode alike, the one 30 times nearer to the reference, not the first by luck."""
    runs = [speed("q4_0", ALIKE[0]), speed("q4_k_m", ALIKE[1])]
    runs += [diverged("q4_0", 0.137), diverged("q4_k_m", 0.004)]
    decision = decide(runs)
    assert decision.artifact == "tiny-q4_k_m"
    assert "nearer to the reference" in decision.reason
    assert "more accurate" not in decision.reason
    assert "tiny-q4_k_m decodes fastest" not in decision.reason


def test_tie_without_more_evidence_goes_to_the_smaller() -> None:
    """Nothing else is known: the smaller is taken, and said to be no more than that."""
    decision = decide([speed("q8_0", ALIKE[0]), speed("q4_0", ALIKE[1])])
    assert decision.artifact == "tiny-q4_0"
    assert decision.reason == (
        "tiny-q8_0 decodes fastest, but tiny-q4_0 can't be told from it there; tiny-q4_0 is "
        "smaller in memory"
    )


def test_exact_tie_is_called_one() -> None:
    """The same answers are a tie, and nobody is the more accurate."""
    right = [True] * 272 + [False] * 28
    runs = [speed("q4_0", ALIKE[0]), speed("q4_k_m", ALIKE[1])]
    runs += [answers("q4_0", right), answers("q4_k_m", right)]
    decision = decide(runs, "accuracy")
    assert "tie" in decision.reason
    assert "more accurate" not in " ".join(pick_lines(decision))


def test_more_accurate_is_said_only_where_it_is_shown() -> None:
    """Among levels that are equal in truth it is said in at most 5 % of 25 picks."""
    rng = np.random.default_rng(15)
    said = 0
    for _ in range(25):
        base = rng.random(300) < 0.6
        runs = []
        for level, decodes in (("q4_0", ALIKE[0]), ("q4_k_m", ALIKE[1])):
            flipped = rng.random(300) < 0.08
            runs += [
                speed(level, decodes),
                answers(level, np.where(flipped, rng.random(300) < 0.6, base).tolist()),
            ]
        said += "more accurate" in decide(runs).reason
    assert said <= 4


def test_objective_accuracy_takes_the_smaller_of_those_alike() -> None:
    """Two points by luck are no reason to carry twice the bytes."""
    right = [True] * 180 + [False] * 120
    other = [*right[:174], *[False] * 6, *right[180:]]
    other[180:184] = [True] * 4
    runs = [speed("q8_0", 20.0), speed("q4_0", 20.0)]
    runs += [answers("q8_0", right), answers("q4_0", other)]
    decision = decide(runs, "accuracy")
    assert decision.artifact == "tiny-q4_0"
    assert "can't be told from it" in decision.reason


def test_trade_offs_are_not_lost_to_luck() -> None:
    """A level that only looks worse, by a hair in everything, stays among the trade-offs."""
    runs = [speed("q4_0", ALIKE[0], 5e6), speed("q4_k_m", ALIKE[1], 5e6)]
    assert set(decide(runs).pareto) == {"tiny-q4_0", "tiny-q4_k_m"}
    clearly = [speed("q4_0", 44.0, 5e6), speed("q4_k_m", 30.0, 6e6)]
    assert decide(clearly).pareto == ("tiny-q4_0",)


def test_without_constraints_the_best_is_picked() -> None:
    """No limit is a question too; one level alone has no trade-offs to name."""
    decision = decide([speed("f16", 20.0), speed("q4_0", 44.0)])
    assert (decision.decision, decision.artifact) == ("picked", "tiny-q4_0")
    alone = decide([speed("q4_0", 44.0)])
    assert alone.decision == "picked"
    assert not any("Pareto" in line for line in pick_lines(alone))


def test_open_rival_blocks_only_where_it_leads() -> None:
    """A slower level whose loss is open changes nothing; one that is 40 % faster does."""
    right = [True] * 180 + [False] * 120
    runs = [speed("f16", 30.0), answers("f16", right), speed("q4_0", 20.0), answers("q4_0", right)]
    decision = decide(runs, max_accuracy_loss=0.005)
    assert (decision.decision, decision.artifact) == ("picked", "tiny-f16")
    assert [it.artifact for it in decision.left_open] == ["tiny-q4_0"]
    runs[2] = speed("q4_0", 42.0)
    assert decide(runs, max_accuracy_loss=0.005).decision == "undecided"


# divergence


def test_divergence_is_a_constraint() -> None:
    """A bound that holds, one that is broken, and a level where it was not measured."""
    runs = [speed("q8_0", 20.0), speed("q4_0", 44.0), diverged("q8_0", 0.004)]
    runs += [diverged("q4_0", 0.137)]
    decision = decide(runs, max_divergence=0.05)
    assert (decision.decision, decision.artifact) == ("picked", "tiny-q8_0")
    assert decision.rejected[0].constraint == "max-divergence"
    decision = decide(runs[:3], max_divergence=0.05)
    assert decision.decision == "undecided"
    assert decision.measure_next[0].advice
    assert "--tasks wiki" in decision.measure_next[0].advice.command


def test_level_that_strays_is_told_with_its_pick() -> None:
    """Picking the level whose divergence is 30 times its peer's comes with a warning."""
    runs = [speed("q4_0", 44.0), speed("q4_k_m", 30.0)]
    runs += [diverged("q4_0", 0.137), diverged("q4_k_m", 0.004)]
    decision = decide(runs)
    assert decision.artifact == "tiny-q4_0"
    assert any("strays from the reference" in words for words in decision.warnings)


# advice


def test_open_loss_says_what_it_takes() -> None:
    """300 items can't show a loss under 1 %: how many could, and a command that measures them."""
    right = [True] * 180 + [False] * 120
    other = list(right)
    other[0:6] = [False] * 6
    other[180:186] = [True] * 6
    runs = [speed("f16", 20.0), answers("f16", right), speed("q4_0", 44.0), answers("q4_0", other)]
    (it,) = decide(runs, max_accuracy_loss=0.01).measure_next
    assert "can't be counted on to show a loss under 1 %" in it.message
    assert it.advice
    assert it.advice.command.startswith("edgebench profile ")
    assert "--tasks lm_eval:hellaswag" in it.advice.command
    assert it.advice.chance
    assert it.advice.chance > 0.5
    assert it.advice.takes_s == pytest.approx(30 / 300 * 10042 * 2)


def test_task_that_was_not_measured_is_a_command() -> None:
    """The level and the baseline are named, as the commands want them."""
    runs = [speed("f16", 20.0), speed("q4_0", 44.0), answers("f16", [True] * 300)]
    decision = decide(runs, max_accuracy_loss=0.02)
    (it,) = decision.measure_next
    assert it.advice
    assert re.match(
        r"edgebench profile .* --tasks basics --race --tolerance 2%$", it.advice.command
    )
    assert "To decide, type:" in pick_lines(decision)


def test_more_launches_decide_as_often_as_is_said() -> None:
    """Launches 5 % apart, truths all about the limit: the number advised decides in about 80 %."""
    rng = np.random.default_rng(13)
    decided = asked = 0
    for _ in range(60):
        truth = 20 * np.exp(rng.uniform(-0.2, 0.2))
        decodes = (truth * np.exp(rng.normal(0, 0.05, 200))).tolist()
        first = decide([speed("q4_0", decodes[:5])], min_decode_tokens_per_s=20)
        if first.decision != "undecided" or not first.measure_next[0].advice:
            continue
        command = first.measure_next[0].advice.command
        launches = int(command.rsplit("--launches ", 1)[1])
        asked += 1
        again = decide([speed("q4_0", decodes[:launches])], min_decode_tokens_per_s=20)
        decided += again.decision != "undecided"
    assert asked >= 5
    assert decided / asked >= 0.6


def test_speed_at_the_limit_says_that_no_number_decides() -> None:
    """Launches that lie on the limit get no command that could not help."""
    decision = decide([speed("q4_0", (20.0, 20.5, 19.5, 20.2, 19.8))], min_decode_tokens_per_s=20.0)
    assert decision.measure_next[0].advice is None
    assert "no number of launches" in decision.measure_next[0].message


# which runs


def test_models_are_judged_together() -> None:
    """Of two models' levels the fastest is picked, and the other model's is told by its name."""
    other = make_artifact(model="other", level="q8_0", name="other-q8_0", sha256="b" * 64)
    runs = [speed("q8_0", 20.0), make_run(artifact=other, speed=make_speed(40.0))]
    decision = decide(runs)
    assert (decision.decision, decision.artifact) == ("picked", "other-q8_0")
    assert set(decision.satisfying) == {"tiny-q8_0", "other-q8_0"}


def test_pick_justifies_itself_in_json() -> None:
    """Each level's checks, with limit, figure and verdict."""
    decision = decide([speed("f16", 20.0), speed("q4_0", 44.0)], min_decode_tokens_per_s=30)
    told = decision.model_dump(mode="json")["checks"]
    assert told["tiny-f16"][0]["verdict"] == "broken"
    assert told["tiny-q4_0"][0]["verdict"] == "holds"
    assert told["tiny-q4_0"][0]["limit"] == 30


# units


@pytest.mark.parametrize(
    ("unit", "typed", "value"),
    [
        (RATE, "100tok/s", 100),
        (RATE, "100", 100),
        (JOULES, "500mJ", 0.5),
        (JOULES, "0.5J/tok", 0.5),
        (SHARE, "1pt", 0.01),
        (SHARE, "1 %", 0.01),
        (BYTES, "300MiB", 300 * 2**20),
        (NATS, "0.05", 0.05),
        (NATS, "0.05 nats a token", 0.05),
    ],
)
def test_units_that_are_printed_can_be_typed(unit: Any, typed: str, value: float) -> None:
    """What a table shows is what an option takes."""
    assert unit.convert(typed, None, None) == pytest.approx(value)


def test_limits_with_names_can_be_typed() -> None:
    """A percentile and its time, a task and its share; a task's name may hold an equals sign."""
    assert LATENCY.convert("p99=200ms", None, None) == ("p99", pytest.approx(0.2))
    assert LEAST_RIGHT.convert("a=b=60%", None, None) == ("a=b", pytest.approx(0.6))


@pytest.mark.parametrize(
    ("unit", "typed", "words"),
    [
        (LATENCY, "p98=1s", "isn't one of p50, p95, p99"),
        (LATENCY, "200ms", "has no name"),
        (LEAST_RIGHT, "basics=160%", "isn't a share of all items"),
        (LEAST_RIGHT, "basics=60", "write for example 60%"),
    ],
)
def test_limits_with_wrong_names_are_refused(unit: Any, typed: str, words: str) -> None:
    """The message says what a name may be."""
    import click

    with pytest.raises(click.UsageError, match=re.escape(words)):
        unit.convert(typed, None, None)


@pytest.mark.parametrize(("unit", "typed"), [(BYTES, "300"), (SHARE, "1"), (RATE, "fast")])
def test_bare_numbers_that_could_mean_two_things_are_refused(unit: Any, typed: str) -> None:
    """300 is not 300 bytes; the message has an example."""
    import click

    with pytest.raises(click.UsageError, match=r"isn.t a .*; write for example"):
        unit.convert(typed, None, None)

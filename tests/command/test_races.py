"""Races through the whole command: they stop early, decide as all items do, and are resumed."""

from __future__ import annotations

from typing import Any

import pytest
from support.shell import MakeFake, Shell
from support.task_files import ITEMS, write_quiz

from edgebench.records.accuracy import Accuracy
from edgebench.records.run import Run

QUIZ = ("--workload", "none", "--tasks", "quiz.yaml")
RACE = (*QUIZ, "--race", "--tolerance", "3%")


def answered(run: Run) -> Accuracy:
    """Return a run's answers, which must be there."""
    assert run.accuracy, run.error
    return run.accuracy


@pytest.fixture
def contest(edgebench: Shell, fakes: MakeFake) -> Shell:
    """Three levels: f16 is always right, q8_0 answers alike, q4_0 answers by chance."""
    fakes("f16", {"seed": 1}, bits_per_weight=16.0)
    write_quiz(edgebench.cwd)
    first = edgebench.profile(*QUIZ, "--output", "scratch")["f16"]
    write_quiz(edgebench.cwd, [item.chosen or 0 for item in answered(first).items])
    fakes("q8_0", {"seed": 1, "other": "file"})
    fakes("q4_0", {"seed": 2}, bits_per_weight=4.0)
    return edgebench


def test_race_stops_where_the_decision_is_clear(contest: Shell) -> None:
    """The level that answers alike is within, the one that guesses outside; both stop early."""
    runs = contest.profile(*RACE)
    races = {level: answered(run).race for level, run in runs.items()}
    assert races["f16"] is None
    same, other = races["q8_0"], races["q4_0"]
    assert same is not None
    assert other is not None
    assert (same.verdict, other.verdict) == ("within", "outside")
    assert other.items < same.items < ITEMS
    assert (same.reference, same.population, same.tolerance) == ("tiny-f16", ITEMS, 0.03)
    assert f"after {same.items} of {ITEMS} items" in same.reason
    for run in runs.values():
        assert answered(run).population == ITEMS
        assert answered(run).n == len(answered(run).items) < ITEMS


def test_race_decides_as_all_items_do(contest: Shell) -> None:
    """compare says of both levels what the whole grid says, and how many items it took."""
    contest.profile(*RACE, "--output", "raced")
    contest.profile(*QUIZ, "--output", "whole")
    verdicts = [_verdicts(contest, where) for where in ("raced", "whole")]
    assert verdicts[0] == verdicts[1] == {"f16": None, "q8_0": "holds", "q4_0": "worse"}
    table = contest("compare", "raced").stdout
    assert "Loses at most 3 points? yes: q8_0; no: q4_0." in " ".join(table.split())
    explained = contest("compare", "raced", "--explain").stdout
    assert "The race took: q8_0" in " ".join(explained.split())


def _verdicts(shell: Shell, where: str) -> dict[str, Any]:
    table = shell.json("compare", where, "--margin", "3%", "--json")
    return {row["level"]: row["tasks"][0]["no_worse"] for row in table["rows"]}


def test_resumed_race_uses_the_answers_that_are_stored(contest: Shell) -> None:
    """Another level of the same race leaves the reference's run as it is."""
    first, again = contest.profile(*RACE), contest.profile(*RACE)
    assert {level: run.run_id for level, run in first.items()} == {
        level: run.run_id for level, run in again.items()
    }
    stored = contest.cwd / "profiles/cpu/tiny.jsonl"
    lines = stored.read_text().splitlines()
    stored.write_text("".join(line + "\n" for line in lines if "tiny-q8_0" not in line[:600]))
    redone = contest.profile(*RACE)
    assert redone["f16"].run_id == first["f16"].run_id
    assert redone["q8_0"].run_id != first["q8_0"].run_id
    assert answered(redone["q8_0"]).race == answered(first["q8_0"]).race


def test_reference_that_fails_ends_the_race_of_all(contest: Shell, fakes: MakeFake) -> None:
    """Each level says that its reference failed, and why."""
    fakes("f32", {"fault": "fail", "fault_in": "score"}, bits_per_weight=32.0)
    runs = contest.profile(*RACE, code=1)
    assert runs["f32"].error
    assert runs["f32"].error.message == "the model refused"
    for level in ("f16", "q8_0", "q4_0"):
        error = runs[level].error
        assert error
        assert error.message == "the reference tiny-f32 failed: the model refused"


def test_race_of_a_single_level_is_refused(edgebench: Shell, fakes: MakeFake) -> None:
    """There is nobody to race against, and the message says what to do."""
    fakes("f16")
    write_quiz(edgebench.cwd)
    done = edgebench("profile", "fakes", "--device", "cpu", *RACE)
    assert done.returncode == 2
    assert "a race of tiny needs two levels" in done.stderr


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--race",), "a race needs a tolerance"),
        (("--tolerance", "1%"), "a race needs a tolerance"),
        (("--race", "--tolerance", "1"), "write for example 1%"),
        (("--race", "--tolerance", "100%"), "less than 100 %"),
    ],
)
def test_half_a_race_is_refused(edgebench: Shell, typed: tuple[str, ...], said: str) -> None:
    """Nothing is measured; the message says what to type."""
    done = edgebench("profile", "--device", "cpu", *typed)
    assert (done.returncode, said in done.stderr) == (2, True)

"""`pick --measure` through the whole command: it measures what would decide, and says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.engine import SMALL, Engine
from support.shell import MakeFake, Shell, error_of

from edgebench.run.sweep import run_cases
from edgebench.run.transports.memory import MemoryWorker

QUICK = ("--workload", "8+2", "--retries", "0")
PICK = ("pick", "--device", "cpu")


@pytest.fixture
def levels(edgebench: Shell, fakes: MakeFake) -> Shell:
    """Store two launches of two levels that answer alike, the second the faster; no task."""
    fakes("f16", {"seed": 1, "decode_s": 4e-3}, bits_per_weight=16.0)
    fakes("q8_0", {"seed": 1, "decode_s": 1e-3, "other": "file"})
    edgebench.profile(*QUICK, "--tasks", "none", "--launches", "2")
    return edgebench


def test_it_measures_until_it_is_decided(levels: Shell) -> None:
    """Launches are added until a limit is shown to hold, and what was done is in the output."""
    done = levels.json(*PICK, "--min-decode", "20", "--measure", "--budget", "1min", "--json")
    assert done["decision"] == "picked"
    measured = done["measured"]
    assert measured["stopped"] == "decided"
    assert measured["budget_s"] == 60
    assert [step["command"].split("--launches ")[1] for step in measured["steps"]]
    assert all(step["took_s"] > 0 and step["changed"] for step in measured["steps"])


def test_a_case_goes_on_from_its_stored_launches(levels: Shell) -> None:
    """The new run holds the old launches, in their rounds, and the new ones; the old run stays."""
    before = levels.stored()
    levels(*PICK, "--min-decode", "20", "--measure", "--budget", "1min")
    new = levels.stored()[len(before) :]
    assert new
    for run in new:
        assert run.speed
        (old,) = (it for it in before if it.case_id == run.case_id)
        assert old.speed
        assert len(old.speed.launches) == 2
        assert run.speed.launches[:2] == old.speed.launches
        assert len(run.speed.launches) >= 5
        assert run.wall_s > old.wall_s


def test_a_missing_task_is_raced_and_decides(levels: Shell) -> None:
    """A level that answers as the reference does is within, after a part of the items."""
    typed = ("--objective", "accuracy", "--max-accuracy-loss", "5%", "--measure", "--json")
    done = levels.json(*PICK, *typed, code=0)
    steps = [step["command"] for step in done["measured"]["steps"]]
    assert any("--tasks basics --race --tolerance 5%" in command for command in steps)
    races = {
        run.artifact.level: run.accuracy.race
        for run in levels.stored()
        if run.accuracy and run.accuracy.race
    }
    assert races["q8_0"].verdict == "within"
    assert races["q8_0"].items < races["q8_0"].population
    assert done["measured"]["stopped"] == "decided"


def test_the_budget_ends_it(levels: Shell) -> None:
    """Where nothing fits into what is left, it stops, says so, and the pick is undecided."""
    before = len(levels.stored())
    done = levels(*PICK, "--min-decode", "20", "--measure", "--budget", "0.001s")
    assert done.returncode == 6
    assert "the budget is spent" in done.stdout
    assert len(levels.stored()) == before


def test_without_a_budget_it_says_which_it_takes(levels: Shell) -> None:
    """The default stands on stderr."""
    done = levels(*PICK, "--min-decode", "20", "--measure")
    assert done.returncode == 0, done.stderr
    assert "budget: 20 min" in done.stderr
    assert "Measured" in done.stdout


def test_interrupted_it_keeps_what_was_measured(
    levels: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends it with 130, after the launches that were made have been stored."""
    asked = []
    request = MemoryWorker.request

    def interrupting(self: MemoryWorker, *arguments: object) -> object:
        asked.append(arguments)
        if len(asked) == 2 * 2 + 1:
            raise KeyboardInterrupt
        return request(self, *arguments)  # type: ignore[arg-type]

    before = len(levels.stored())
    monkeypatch.setattr(MemoryWorker, "request", interrupting)
    done = levels(*PICK, "--min-decode", "20", "--measure", "--budget", "1min")
    assert done.returncode == 130
    assert "interrupted" in done.stdout
    (run,) = levels.stored()[before:]
    assert run.speed
    assert len(run.speed.launches) > 2


def test_artifacts_that_are_gone_are_not_measured(levels: Shell) -> None:
    """What can't be measured here is said, and nothing is tried."""
    for path in (levels.cwd / "fakes").rglob("truth.json"):
        path.write_text("{}")
    done = levels(*PICK, "--min-decode", "20", "--measure", "--budget", "1min")
    assert done.returncode == 6
    assert "nothing that can be measured here" in done.stdout


def test_a_budget_without_measure_is_refused(levels: Shell) -> None:
    """It would do nothing."""
    done = levels(*PICK, "--budget", "1min")
    assert done.returncode == 2
    assert "--measure" in error_of(done)


def test_launches_under_other_conditions_are_left_behind(tmp_path: Path, fakes: MakeFake) -> None:
    """Where the governor has changed since, the new run holds the new launches alone."""
    engine = Engine(fakes("q4_0").parent)
    (old,) = engine.run(engine.cases(SMALL)).values()
    more = SMALL.model_copy(update={"launches": 5})
    for governor, launches in ((None, 5), ("powersave", 2)):
        assert old.speed
        told = [
            it.model_copy(update={"before": it.before.model_copy(update={"governor": governor})})
            if governor
            else it
            for it in old.speed.launches
        ]
        begun = old.model_copy(
            update={"speed": old.speed.model_copy(update={"launches": tuple(told)})}
        )
        engine.runs.clear()
        bench = replace(engine.bench, begun={old.case_id: begun})
        run_cases(engine.cases(more), bench)
        (run,) = engine.runs
        assert run.speed
        assert len(run.speed.launches) == launches


def test_profile_goes_on_where_launches_are_missing(levels: Shell) -> None:
    """`profile --launches 4` adds two to the two that are stored; --no-resume makes all anew."""
    runs = levels.profile(*QUICK, "--tasks", "none", "--launches", "4")
    old = {run.artifact.level: run for run in levels.stored()[:2]}
    for level, run in runs.items():
        was = old[level].speed
        assert run.speed
        assert was
        assert run.speed.launches[:2] == was.launches
        assert len(run.speed.launches) == 4

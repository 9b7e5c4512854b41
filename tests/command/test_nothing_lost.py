"""Between the last reading and the store nothing that goes wrong costs a case."""

from __future__ import annotations

import itertools
import json
from typing import Any, NoReturn

import pytest
from pydantic import ValidationError
from support.shell import MakeFake, Shell
from support.task_files import write_quiz

from edgebench.device.sampler import Sampler
from edgebench.records.base import Estimate
from edgebench.records.speed import Launch
from edgebench.run import case, items, races, rounds
from edgebench.worker import server

SPEED = ("--workload", "16+4", "--tasks", "none", "--launches", "1", "--retries", "1")
QUIZ = ("--workload", "none", "--tasks", "quiz.yaml")


def _invalid() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Estimate(value=float("inf"), n=1, method="")
    return caught.value


FAULTS = itertools.cycle(
    [
        OverflowError("math range error"),
        _invalid(),
        ZeroDivisionError("division by zero"),
        RuntimeError(""),
        ValueError("a\nb\x1b[31m" + "x" * 100_000),
    ]
)
# The function of each figure, and the name under which its reason stands.
OF_SPEED = [
    ("speed_of", "speed"),
    ("energies", "energy"),
    ("joined", "energy"),
    ("largest_memory", "memory"),
    ("condition_warnings", "conditions"),
    ("noise_warnings", "noise"),
    ("disturbed", "noise"),
    ("unsteady", "noise"),
]


def broken(fault: Exception) -> Any:
    """Return a function that raises, whatever it is called with."""

    def function(*_: object, **__: object) -> NoReturn:
        raise fault

    return function


@pytest.mark.parametrize(("function", "figure"), OF_SPEED)
def test_a_figure_of_speed_that_fails_is_absent_alone(
    edgebench: Shell,
    fakes: MakeFake,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    figure: str,
) -> None:
    """The case is stored as ok, its other figures are there, and the reason is said."""
    fakes("q8_0")
    monkeypatch.setattr(rounds, function, broken(next(FAULTS)))
    done = edgebench("profile", "fakes", "--device", "cpu", *SPEED)
    assert done.returncode == 0, done.stderr
    (run,) = edgebench.stored()
    assert run.status == "ok"
    assert list(run.absent) == [figure]
    assert "could not be computed" in run.absent[figure]
    assert len(run.absent[figure]) < 400
    assert f"{figure}: it could not be computed" in done.stdout
    if figure == "speed":
        assert run.speed is None
        assert len(run.launches) == 1
    else:
        assert run.speed
        assert run.launches == ()
    assert (run.memory is None) == (figure == "memory")
    if figure == "energy":
        assert run.energy_reason == run.absent["energy"]
    for command in (["compare"], ["pick", "--device", "cpu"]):
        assert edgebench(*command).returncode in (0, 6), command


@pytest.mark.parametrize(
    ("function", "figure"), [("accuracy_of", "accuracy"), ("skip_warnings", "skipped items")]
)
def test_a_figure_of_answers_that_fails_is_absent_alone(
    edgebench: Shell,
    fakes: MakeFake,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    figure: str,
) -> None:
    """The answers are stored all the same."""
    fakes("q8_0")
    write_quiz(edgebench.cwd)
    monkeypatch.setattr(items, function, broken(next(FAULTS)))
    run = edgebench.profile(*QUIZ)["q8_0"]
    assert run.status == "ok"
    assert list(run.absent) == [figure]
    answers = run.accuracy.items if run.accuracy else run.answers
    assert len(answers) > 100
    assert (run.accuracy is None) == (figure == "accuracy")
    assert edgebench("compare").returncode == 0


def test_a_race_that_can_not_be_judged_asks_all_items(
    edgebench: Shell, fakes: MakeFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers count as those of a task do that nobody raced."""
    fakes("f16", bits_per_weight=16.0)
    fakes("q4_0", {"seed": 2}, bits_per_weight=4.0)
    write_quiz(edgebench.cwd)
    monkeypatch.setattr(races, "cluster_means", broken(next(FAULTS)))
    run = edgebench.profile(*QUIZ, "--race", "--tolerance", "3%")["q4_0"]
    assert run.status == "ok"
    assert list(run.absent) == ["race"]
    assert run.accuracy
    assert run.accuracy.race is None
    assert run.accuracy.population is None


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (Sampler, "take"),
        (server.Server, "_memory"),
        (server, "snapshot"),
        (server, "find_pace"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_worker_reads_beside_its_trials_costs_no_case(
    edgebench: Shell, fakes: MakeFake, monkeypatch: pytest.MonkeyPatch, place: Any, name: str
) -> None:
    """Memory, conditions, meters: the speed is there without them."""
    fakes("q8_0")
    monkeypatch.setattr(place, name, broken(OverflowError("math range error")))
    meter = "estimate:15W" if name == "find_pace" else "none"
    run = edgebench.profile(*SPEED, "--meter", meter)["q8_0"]
    assert run.status == "ok"
    assert run.speed


def test_a_mistake_while_measuring_costs_its_case_alone(
    edgebench: Shell, fakes: MakeFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other levels of the sweep are measured, and the one says what went wrong."""
    fakes("f16")
    fakes("q8_0")
    calls = itertools.count()

    def sometimes(**fields: Any) -> Launch:
        if next(calls) == 0:
            raise ZeroDivisionError("division by zero")
        return Launch(**fields)

    monkeypatch.setattr(rounds, "Launch", sometimes)
    runs = edgebench.profile(*SPEED, code=1)
    assert sorted(run.status for run in runs.values()) == ["failed", "ok"]
    errors = [run.error for run in runs.values() if run.error]
    assert [(error.type, error.message) for error in errors] == [
        ("ZeroDivisionError", "division by zero")
    ]


@pytest.mark.parametrize("method", ["started", "ticked", "ended"])
def test_a_terminal_that_is_gone_costs_no_case(
    edgebench: Shell, fakes: MakeFake, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Whoever watches may fail: measuring goes on."""
    from edgebench.cli.progress import SweepProgress

    fakes("q8_0")
    monkeypatch.setattr(SweepProgress, method, broken(BrokenPipeError(32, "Broken pipe")))
    assert edgebench.profile(*SPEED)["q8_0"].speed


def test_a_run_that_can_not_be_put_together_is_stored_without_its_figures(
    edgebench: Shell, fakes: MakeFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is that it was measured, and why nothing is there."""
    fakes("q8_0")
    monkeypatch.setattr(case, "readable", broken(next(FAULTS)))
    run = edgebench.profile(*SPEED)["q8_0"]
    assert run.status == "ok"
    assert list(run.absent) == ["figures"]


def test_a_torn_line_is_named_once_and_set_aside(edgebench: Shell, fakes: MakeFake) -> None:
    """The next profile says so; compare says that it is passed over."""
    fakes("q8_0")
    edgebench.profile(*SPEED)
    (path,) = edgebench.cwd.glob("profiles/cpu/*.jsonl")
    line = path.read_bytes()
    other = json.dumps(json.loads(line) | {"run_id": "other"}).encode()
    path.write_bytes(line + other[:-20])
    done = edgebench("compare")
    assert done.returncode == 0
    assert done.stderr.count("was not finished; passed over") == 1
    done = edgebench("profile", "fakes", "--device", "cpu", *SPEED, "--no-resume")
    assert done.stderr.count("was not finished; set aside in ") == 1
    assert edgebench("compare").stderr == ""

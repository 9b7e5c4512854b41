"""The sweep itself, on the memory transport: what a fault, a key or another machine costs."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.builders import make_artifact, make_workload
from support.engine import SMALL, Engine, Scripted, Watcher
from support.shell import MakeFake, Shell
from support.task_files import write_quiz

from edgebench.cli.progress import SweepProgress
from edgebench.plan.cases import Case, ItemsCase, SpeedCase, Subject
from edgebench.records.messages import Hello, Result, SpeedResult, Trial
from edgebench.records.settings import Settings
from edgebench.records.task import Task
from edgebench.run.resume import resumable
from edgebench.tasks.load import load_task, read_task


@pytest.fixture
def engine(edgebench: Shell) -> Engine:
    """Return a sweep over the fakes that a test makes."""
    return Engine(edgebench.cwd / "fakes")


def quiz(folder: Path, name: str = "quiz") -> Task:
    """Return a task of 96 items."""
    task = read_task(write_quiz(folder, [0] * 96, name=name))
    assert isinstance(task, Task)
    return task


def timed(result: SpeedResult, seconds: float, foreign_cpu: float = 0.0) -> SpeedResult:
    """Return a launch whose phases all took so long, and beside which others worked so much."""
    trial = Trial(prefill_s=seconds, ttft_s=seconds, decode_s=seconds, token_s=(seconds / 2,) * 2)
    changes = {"trials": (trial,), "foreign_cpu": foreign_cpu, "settled": True}
    return result.model_copy(update=changes)


def test_level_that_fails_in_one_launch_is_stored_once(engine: Engine, fakes: MakeFake) -> None:
    """It is stored at once, without figures, and not tried in later rounds; the others go on."""
    fakes("f16")
    fakes("q8_0", {"fault": "fail"})
    runs = engine.run(engine.cases(SMALL))
    assert [run.status for run in (runs["tiny-f16 8+2"], runs["tiny-q8_0 8+2"])] == ["ok", "failed"]
    speed = runs["tiny-f16 8+2"].speed
    assert speed
    assert len(speed.launches) == 3
    assert (engine.transport.started_for("f16"), engine.transport.started_for("q8_0")) == (3, 1)
    assert engine.runs[0].status == "failed"


def test_level_that_fails_in_a_later_round_has_no_figures(engine: Engine, fakes: MakeFake) -> None:
    """Two launches that went well aren't a measurement of a case that then fails."""
    fakes("q8_0")

    def refuse(name: str) -> bool:
        return len(engine.transport.started) == 3

    engine.transport = Scripted(refuse=refuse)
    (run,) = engine.run(engine.cases(SMALL)).values()
    assert (run.status, run.speed, run.memory) == ("failed", None, None)
    assert engine.transport.started_for("q8_0") == 3


def test_start_that_fails_is_the_status_of_its_case(engine: Engine, fakes: MakeFake) -> None:
    """A worker that can't be started costs its cases and not the sweep."""
    fakes("f16")
    fakes("q8_0")
    engine.transport = Scripted(refuse=lambda name: "-q8_0-" in name)
    runs = engine.run(engine.cases(SMALL, [quiz(engine.folder.parent)]))
    statuses = {name: run.status for name, run in runs.items()}
    assert statuses == {
        "tiny-f16 8+2": "ok",
        "tiny-f16 quiz": "ok",
        "tiny-q8_0 8+2": "failed",
        "tiny-q8_0 quiz": "failed",
    }
    error = runs["tiny-q8_0 8+2"].error
    assert error
    assert (error.type, error.message, error.hint) == (
        "Start", "no route to the device", "switch it on",
    )  # fmt: skip


def test_another_machine_is_refused(engine: Engine, fakes: MakeFake) -> None:
    """Where another board answers under the name, nothing of it is stored as this one's."""
    fakes("f16")
    fakes("q8_0")

    def elsewhere(name: str, result: Result) -> Result:
        if isinstance(result, Hello) and "-q8_0-" in name:
            device = result.device.model_copy(update={"machine": "0123456789abcdef"})
            return result.model_copy(update={"device": device})
        return result

    engine.transport = Scripted(edit=elsewhere)
    runs = engine.run(engine.cases(SMALL))
    assert runs["tiny-f16 8+2"].status == "ok"
    refused = runs["tiny-q8_0 8+2"]
    assert refused.error
    assert (refused.status, refused.error.type) == ("failed", "Machine")
    assert refused.runtime is None


@pytest.mark.parametrize(("retries", "launches"), [(0, 3), (2, 5)])
def test_disturbed_launches_are_measured_again(
    engine: Engine, fakes: MakeFake, retries: int, launches: int
) -> None:
    """At most --retries times for a case; then the launch counts, and the run says so."""
    fakes("f16")

    def busy(name: str, result: Result) -> Result:
        if isinstance(result, SpeedResult):
            return timed(result, 0.01, foreign_cpu=64.0)
        return result

    engine.transport = Scripted(edit=busy)
    (run,) = engine.run(engine.cases(SMALL), retries).values()
    assert engine.transport.started_for("f16") == launches
    assert run.speed
    assert (len(run.speed.launches), run.speed.discarded) == (3, retries)
    assert any("other programs kept 64.0" in warning for warning in run.conditions.warnings)


def test_quiet_launches_are_not_measured_again(engine: Engine, fakes: MakeFake) -> None:
    """One disturbed launch costs one more, whatever --retries allows."""
    fakes("f16")

    def busy_at_first(name: str, result: Result) -> Result:
        if isinstance(result, SpeedResult):
            foreign = 64.0 if len(engine.transport.started) == 1 else 0.0
            return timed(result, 0.01, foreign_cpu=foreign)
        return result

    engine.transport = Scripted(edit=busy_at_first)
    (run,) = engine.run(engine.cases(SMALL), retries=9).values()
    assert engine.transport.started_for("f16") == 4
    assert run.speed
    assert [launch.foreign_cpu for launch in run.speed.launches] == [0.0] * 3
    assert run.speed.discarded == 1


def test_unsteady_levels_get_further_rounds(engine: Engine, fakes: MakeFake) -> None:
    """Launches that lie far apart are joined by --retries more, and none is thrown away."""
    fakes("f16")

    def restless(name: str, result: Result) -> Result:
        if isinstance(result, SpeedResult):
            seconds = 0.01 * (1 + len(engine.transport.started) % 2)
            return timed(result, seconds)
        return result

    engine.transport = Scripted(edit=restless)
    (run,) = engine.run(engine.cases(SMALL), retries=2).values()
    assert run.speed
    assert (len(run.speed.launches), run.speed.discarded) == (5, 0)
    assert len({launch.round for launch in run.speed.launches}) == 5


@pytest.mark.parametrize("event", ["started", "ticked"])
def test_ctrl_c_stores_what_was_measured(engine: Engine, fakes: MakeFake, event: str) -> None:
    """Ctrl-C in the second round keeps each level's first launch, in a run that is whole."""
    fakes("f16")
    fakes("q8_0")

    def interrupt(heard: str, case: Case) -> bool:
        return heard == event and sum(name == event for name, _ in engine.watcher.events) == 3

    engine.watcher = Watcher(interrupt)
    with pytest.raises(KeyboardInterrupt):
        engine.run(engine.cases(SMALL))
    counts = [len(run.speed.launches) for run in engine.by_name.values() if run.speed]
    assert sorted(counts) == ([1, 1] if event == "started" else [1, 2])
    assert [run.status for run in engine.runs] == ["ok", "ok"]


def test_ctrl_c_before_anything_stores_nothing(engine: Engine, fakes: MakeFake) -> None:
    """A case that never began isn't stored, and the items before the key are."""
    fakes("f16")
    fakes("q8_0")
    engine.watcher = Watcher(lambda event, case: event == "started")
    with pytest.raises(KeyboardInterrupt):
        engine.run(engine.cases(SMALL))
    assert engine.runs == []
    engine.watcher = Watcher(lambda event, case: event == "ended")
    with pytest.raises(KeyboardInterrupt):
        engine.run(engine.cases(tasks=[quiz(engine.folder.parent)]))
    assert [run.status for run in engine.runs] == ["ok"]


def test_races_of_two_models_and_two_tasks_are_apart(engine: Engine, fakes: MakeFake) -> None:
    """Each contest has its model's own reference, which answers once for all its rivals."""
    for model in ("tiny", "other"):
        fakes("f16", {"model": model}, model=model, bits_per_weight=16.0)
        fakes("q4_0", {"model": model, "seed": 2}, model=model)
    tasks = [quiz(engine.folder.parent), quiz(engine.folder.parent, "second")]
    runs = engine.run(engine.cases(tasks=tasks, tolerance=0.05))
    assert len(runs) == 8
    for name, run in runs.items():
        assert run.accuracy, run.error
        race = run.accuracy.race
        assert (race is None) == ("f16" in name)
        assert race is None or race.reference == f"{run.artifact.model}-f16"
    assert engine.transport.started_for("f16") == 4


def test_reference_that_is_stored_answers_from_there(engine: Engine, fakes: MakeFake) -> None:
    """Its answers are recalled: it isn't loaded again, and the race ends as it did."""
    fakes("f16", {"seed": 1}, bits_per_weight=16.0)
    fakes("q4_0", {"seed": 2})
    cases = engine.cases(tasks=[quiz(engine.folder.parent)], tolerance=0.05)
    first = engine.run(cases)
    reference = first["tiny-f16 quiz"]
    again = Engine(engine.folder, known={reference.case_id: reference})
    level = [case for case in cases if case.subject.artifact.level == "q4_0"]
    second = again.run(level)["tiny-q4_0 quiz"]
    assert again.transport.started_for("f16") == 0
    assert second.accuracy == first["tiny-q4_0 quiz"].accuracy


def test_reference_answers_alone_where_memory_holds_one(
    engine: Engine, fakes: MakeFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers everything first, and only then are the levels loaded; the verdicts are alike."""
    fakes("f16", {"seed": 1}, bits_per_weight=16.0)
    fakes("q4_0", {"seed": 2})
    cases = engine.cases(tasks=[quiz(engine.folder.parent)], tolerance=0.05)
    together = engine.run(cases)
    monkeypatch.setattr("edgebench.run.races.MEMORY_SHARE", 0.0)
    alone = Engine(engine.folder)
    apart = alone.run(cases)
    assert "-f16-" in alone.transport.started[0]
    races = [runs["tiny-q4_0 quiz"].accuracy for runs in (together, apart)]
    assert races[0]
    assert races[1]
    assert races[0].race == races[1].race


def test_texts_reference_reads_first_and_tells_nobody_else(engine: Engine, fakes: MakeFake) -> None:
    """A lost reference is read for a level's sake: progress is told of the level alone."""
    fakes("f16", {"seed": 1}, bits_per_weight=16.0)
    fakes("q4_0", {"seed": 2})
    text = load_task("divergence")
    cases = engine.cases(tasks=[text.model_copy(update={"chunks": 3})])
    level = [case for case in cases if case.subject.artifact.level == "q4_0"]
    runs = engine.run(level)
    assert list(runs) == ["tiny-q4_0 divergence"]
    assert engine.transport.started_for("f16") == 1
    assert {name for _, name in engine.watcher.events} == {"q4_0 divergence"}


def test_stored_runs_are_those_of_this_machine(engine: Engine, fakes: MakeFake) -> None:
    """Another machine's run of the same case, a failed one and a shorter one are no answer."""
    fakes("f16")
    cases = engine.cases(SMALL)
    (run,) = engine.run(cases).values()
    bench = engine.bench
    assert resumable([run], cases, bench) == {run.case_id: run}
    moved = run.device.model_copy(update={"machine": "0123456789abcdef"})
    assert run.speed
    shorter = run.speed.model_copy(update={"launches": run.speed.launches[:2]})
    later = {"created": "2999-01-01T00:00:00+00:00"}
    for changes in ({"device": moved}, {"speed": shorter}, {"status": "failed", "speed": None}):
        other = run.model_copy(update=changes)
        assert resumable([other], cases, bench) == {}, changes
    failed = run.model_copy(update={"status": "failed", "speed": None} | later)
    assert resumable([run, failed], cases, bench) == {}
    assert resumable([failed.model_copy(update={"device": moved}), run], cases, bench)


def test_run_of_before_0_2_is_known_by_the_machines_parts(engine: Engine, fakes: MakeFake) -> None:
    """It doesn't name its machine: board, processor and memory must be the same."""
    fakes("f16")
    cases = engine.cases(tasks=[quiz(engine.folder.parent)])
    (run,) = engine.run(cases).values()
    bench = engine.bench
    old = run.model_copy(update={"device": run.device.model_copy(update={"machine": None})})
    assert resumable([old], cases, bench) == {old.case_id: old}
    device = old.device.model_copy(update={"memory_bytes": 1})
    assert resumable([old.model_copy(update={"device": device})], cases, bench) == {}


class Drawn:
    """A bar that remembers where it was told to stand."""

    def __init__(self) -> None:
        self.shares: list[float] = []

    def at(self, text: str, done: float, total: float) -> None:
        """Remember the share that is done."""
        self.shares.append(done / total)

    def say(self, line: str) -> None:
        """Say nothing."""


@pytest.mark.parametrize("kind", [SpeedCase, ItemsCase])
def test_artifacts_of_one_level_are_apart_in_progress(kind: type[Case]) -> None:
    """fp32 in torch and fp32 in ONNX: when one is half done, a quarter of the sweep is."""
    artifacts = [
        make_artifact(level="fp32", format=layout, sha256=f"sha of {layout}")
        for layout in ("torch", "onnx")
    ]
    task = load_task("basics")
    assert isinstance(task, Task)
    subjects = [Subject(artifact, "cpu", Settings()) for artifact in artifacts]
    cases: list[Case] = [
        SpeedCase(subject, make_workload()) if kind is SpeedCase else ItemsCase(subject, task)
        for subject in subjects
    ]
    bar = Drawn()
    progress = SweepProgress(bar, cases)
    progress.ticked(cases[0], 1, 2)
    progress.ticked(cases[1], 2, 2)
    assert bar.shares == pytest.approx([0.25, 0.75])

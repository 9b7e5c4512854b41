"""Cases, plans and ids: an id is the same for the same inputs, for ever, and another otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import make_artifact, make_workload

from edgebench.errors import UsageError
from edgebench.plan.cases import (
    Case,
    ItemsCase,
    Race,
    SpeedCase,
    Subject,
    TextCase,
    case_id,
    reference_of,
)
from edgebench.plan.choices import choices_of
from edgebench.plan.devices import THIS_MACHINE
from edgebench.plan.planner import Work, plan
from edgebench.plan.workloads import MINUTES, WORKLOADS, parse_workload, parse_workloads
from edgebench.records.artifact import Artifact
from edgebench.records.messages import Hello
from edgebench.records.run import Run
from edgebench.records.settings import Settings, Workload
from edgebench.records.task import Task, TextTask
from edgebench.run.stored import read_runs
from edgebench.run.transports.memory import MemoryTransport
from edgebench.tasks.load import load_task
from edgebench.worker.server import Server

STORED = Path(__file__).resolve().parents[1] / "data" / "runs-0.1.0.jsonl"
TOLERANCE = 0.2  # of the races that are stored there
SUBJECT = Subject(make_artifact(), "cpu", Settings())
SPEED = SpeedCase(SUBJECT, make_workload())


def basics() -> Task:
    """Return the task of items that comes with the program."""
    task = load_task("basics")
    assert isinstance(task, Task)
    return task


def divergence() -> TextTask:
    """Return the text that comes with the program."""
    task = load_task("divergence")
    assert isinstance(task, TextTask)
    return task


def stored() -> list[Run]:
    """Return the runs that 0.1.0 stored."""
    return list(read_runs([STORED]))


def rebuilt(run: Run, reference: Artifact) -> Case:
    """Return the case that a stored run is of."""
    subject = Subject(run.artifact, run.device.name, run.settings)
    if run.workload:
        return SpeedCase(subject, run.workload)
    if run.task == "divergence":
        return TextCase(subject, divergence(), reference)
    was_raced = run.accuracy is not None and run.accuracy.population is not None
    return ItemsCase(subject, basics(), Race(reference, TOLERANCE, 2) if was_raced else None)


# ids


def test_ids_of_items_texts_and_races_are_those_that_0_1_0_stored() -> None:
    """A stored run is found again after an upgrade: an id computed now is the one in the file."""
    runs = [run for run in stored() if run.task]
    reference = next(run.artifact for run in runs if run.artifact.level == "f16")
    now = [case_id(rebuilt(run, reference), "1") for run in runs]
    assert now == [run.case_id for run in runs]
    assert len(set(now)) == 9


def test_ids_of_speed_are_pinned_and_not_those_of_0_1_0() -> None:
    """Decode starts after the prompt since 0.2: an older run is no answer to what is asked now."""
    runs = [run for run in stored() if run.workload]
    ids = {run.artifact.level: case_id(rebuilt(run, run.artifact), "1") for run in runs}
    assert ids == PINNED
    assert {run.case_id for run in runs}.isdisjoint(ids.values())


PINNED = {"q4_0": "ea60be4a0ef1c587", "f16": "ad42d67a545b9566", "q8_0": "248abd51072c0b0e"}

SAME: dict[str, Case] = {
    "the same": SpeedCase(SUBJECT, make_workload()),
    "another place and name": replace(
        SPEED, subject=replace(SUBJECT, artifact=make_artifact(path="/elsewhere/x", name="other"))
    ),
    "more repetitions": SpeedCase(SUBJECT, make_workload(repetitions=50)),
    "more launches": SpeedCase(SUBJECT, make_workload(launches=9)),
    "a workload of another name": SpeedCase(SUBJECT, make_workload(name="64+32")),
}
OTHER: dict[str, Case] = {
    "bytes": replace(SPEED, subject=replace(SUBJECT, artifact=make_artifact(sha256="another"))),
    "a file beside": replace(
        SPEED, subject=replace(SUBJECT, artifact=make_artifact(files={"x.data": "sha"}))
    ),
    "device": replace(SPEED, subject=replace(SUBJECT, device="cuda")),
    "runtime": replace(SPEED, subject=replace(SUBJECT, artifact=make_artifact(format="gguf"))),
    "settings": replace(SPEED, subject=replace(SUBJECT, settings=Settings(threads=3))),
    "prompt": SpeedCase(SUBJECT, make_workload(prompt_tokens=65)),
    "generated": SpeedCase(SUBJECT, make_workload(generate_tokens=33)),
    "depth": SpeedCase(SUBJECT, make_workload(depth=1)),
    "meters": SpeedCase(SUBJECT, make_workload(), ("none",)),
    "items": ItemsCase(SUBJECT, basics()),
    "a race": ItemsCase(SUBJECT, basics(), Race(make_artifact(level="f16"), 0.01, 2)),
    "tolerance": ItemsCase(SUBJECT, basics(), Race(make_artifact(level="f16"), 0.02, 2)),
    "rivals": ItemsCase(SUBJECT, basics(), Race(make_artifact(level="f16"), 0.01, 3)),
    "a text": TextCase(SUBJECT, divergence(), make_artifact(level="f16")),
    "reference": TextCase(SUBJECT, divergence(), make_artifact(level="f32")),
}


@pytest.mark.parametrize("what", SAME)
def test_what_does_not_matter_keeps_the_id(what: str) -> None:
    """Where the file lies, how often it is timed and what the workload is called."""
    assert case_id(SAME[what], "1") == case_id(SPEED, "1")


def test_whatever_matters_changes_the_id() -> None:
    """Bytes, device, runtime and its version, settings, sizes, work: each has another id."""
    ids = [case_id(case, "1") for case in [SPEED, *OTHER.values()]]
    ids.append(case_id(SPEED, "2"))
    assert len(set(ids)) == len(ids)
    assert {len(name) for name in ids} == {16}


# plans


def test_every_artifact_gets_all_work_and_its_models_reference() -> None:
    """The checkpoint in torch is the reference, else the most bits; models are kept apart."""
    small, large = (make_artifact(level=f"q{bits}", bits_per_weight=float(bits)) for bits in (4, 8))
    torch = make_artifact(model="other", level="fp32", format="torch", bits_per_weight=16.0)
    onnx = make_artifact(model="other", level="fp32", format="onnx", bits_per_weight=32.0)
    work = Work((make_workload(),), (basics(), divergence()), tolerance=0.01)
    cases = plan([small, large, onnx, torch], "cpu", [Settings()], work)
    assert [type(case) for case in cases] == [SpeedCase, ItemsCase, TextCase] * 4
    races = [case.race for case in cases if isinstance(case, ItemsCase)]
    assert [race.reference for race in races if race] == [large, large, torch, torch]
    texts = [case.reference for case in cases if isinstance(case, TextCase)]
    assert texts == [large, large, torch, torch]
    assert reference_of([onnx, torch]) == torch


def test_nothing_twins_and_lonely_races_are_refused() -> None:
    """No work, two tasks of one name, a race without a rival: what to type is said."""
    artifact = make_artifact()
    for work, said in (
        (Work((), ()), "nothing to measure"),
        (Work((), (basics(), basics())), "two tasks have the name 'basics'"),
        (Work((), (basics(),), tolerance=0.01), "a race of tiny needs two levels"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            plan([artifact], "cpu", [Settings()], work)
        assert caught.value.hint


def test_settings_are_an_axis_of_the_plan() -> None:
    """Speed with each choice; a task once for those that change answers, against the first."""
    chosen = [
        Settings(threads=threads, kv_type=kv_type)
        for threads in (1, 2)
        for kv_type in ("f16", "q8_0")
    ]
    work = Work(
        (make_workload(), make_workload(name="long", prompt_tokens=128)), (basics(), divergence())
    )
    cases = plan([make_artifact()], "cpu", chosen, work)
    assert sum(isinstance(case, SpeedCase) for case in cases) == 8
    asked = [case.subject.settings.kv_type for case in cases if isinstance(case, ItemsCase)]
    assert asked == ["f16", "q8_0"]
    texts = [case for case in cases if isinstance(case, TextCase)]
    assert [case.is_reference for case in texts] == [True, False]
    assert len({case_id(case, "1") for case in cases}) == len(cases)


def told(*clusters: str) -> Hello:
    """Return the hello of a machine with these clusters of cores."""
    return (
        MemoryTransport(Server)
        .start(THIS_MACHINE, "hello")
        .hello.model_copy(update={"clusters": clusters})
    )


@pytest.mark.parametrize(
    ("typed", "clusters", "wanted"),
    [
        (["threads=1,2"], ["0-3"], [(1, ""), (2, "")]),
        (["cores=auto"], ["4-7", "0-3"], [(0, "4-7"), (0, "0-3"), (0, "4-7+0-3")]),
        (["cores=auto"], ["0-3"], [(0, "")]),
        (["cores=0-1,2+3", "threads=2"], ["0-3"], [(2, "0-1"), (2, "2+3")]),
        (["threads=1", "threads=2,1"], ["0-3"], [(1, ""), (2, "")]),
        ([], ["0-3"], [(0, "")]),
    ],
)
def test_choices_are_all_combinations(
    typed: list[str], clusters: list[str], wanted: list[tuple[int, str]]
) -> None:
    """Each value of each setting with each of the others, once; auto is the machine's clusters."""
    chosen = choices_of(Settings(), typed, told(*clusters))
    assert [(settings.threads, settings.cores) for settings in chosen] == wanted


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("thread=2", "unknown setting"),
        ("threads", "unknown setting"),
        ("threads=two", "threads"),
        ("cores=4-", "cores"),
        ("cores=4;rm", "cores"),
        ("threads=" + ",".join(map(str, range(1, 70))), "more than 64"),
    ],
)
def test_wrong_choice_is_one_line(typed: str, words: str) -> None:
    """Exit 2 with what to type."""
    with pytest.raises(UsageError, match=words) as refused:
        choices_of(Settings(), [typed], told("0-3"))
    assert refused.value.hint


# workloads


@given(st.integers(1, 9_999_999), st.integers(1, 9_999_999), st.integers(0, 9_999_999))
def test_sizes_are_read_as_written(prompt: int, generate: int, depth: int) -> None:
    """prompt+generated@depth, with the depth left out where it is 0."""
    typed = f"{prompt}+{generate}" + (f"@{depth}" if depth else "")
    workload = Workload(
        name=typed,
        prompt_tokens=prompt,
        generate_tokens=generate,
        depth=depth,
        repetitions=7,
        launches=3,
    )
    assert parse_workload(typed, 7, 3) == workload


@given(st.text(max_size=20))
def test_any_other_text_is_refused(typed: str) -> None:
    """Whatever is typed is read or refused with a hint; nothing else happens."""
    hint = ""
    try:
        parse_workload(typed, 5, 5)
    except UsageError as error:
        hint = error.hint
    sizes = typed.replace("+", "").replace("@", "").isdigit()
    assert typed in WORKLOADS or typed == "none" or sizes or "512+128@4096" in hint


def test_names_stand_for_sizes() -> None:
    """chat is 512+128; none is no workload."""
    chat = parse_workload("chat", 1, 5)
    assert chat is not None
    assert (chat.prompt_tokens, chat.generate_tokens) == WORKLOADS["chat"] == (512, 128)
    assert (chat.decode_from, chat.context) == (512, 640)
    assert parse_workloads("none", 1, 5) == ()
    names = [workload.name for workload in parse_workloads("chat, rag,8+8", 1, 5)]
    assert names == ["chat", "rag", "8+8"]


def test_sustained_is_one_launch_of_so_many_minutes() -> None:
    """20 minutes unless --minutes says otherwise, which no other workload takes."""
    (usual,) = parse_workloads("sustained", 3, 5)
    (short,) = parse_workloads("sustained", 3, 5, 0.5)
    assert (usual.launches, usual.repetitions, usual.duration_s) == (1, 1, 60 * MINUTES)
    assert short.duration_s == 30
    assert parse_workloads("chat", 1, 5)[0].duration_s is None
    for typed in ("chat", "none"):
        with pytest.raises(UsageError, match="--minutes is how long") as refused:
            parse_workloads(typed, 1, 5, 2.0)
        assert refused.value.hint == "type --workload sustained --minutes 2"

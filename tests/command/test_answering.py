"""Levels answer tasks through the whole command: results, races, divergence, what is left out."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.shell import MakeFake, Shell
from support.task_files import write_task

from edgebench.figures.accuracy import accuracy_of
from edgebench.records.artifact import Artifact
from edgebench.records.run import Run
from edgebench.records.settings import Settings
from edgebench.records.spans import Score, Span
from edgebench.records.task import Task
from edgebench.tasks.load import load_task, read_task
from edgebench.worker.runtimes import Room, Session, get_runtime
from edgebench.worker.runtimes.fake import FakeSession
from edgebench.worker.score import likelihood
from edgebench.worker.score.chat import Prompts

ITEMS = 600


def quiz(folder: Path, golds: list[int] | None = None, **header: Any) -> Path:
    """Write a task of two choices each, whose right answers are given."""
    rows = [
        {"id": f"q{i}", "context": f"Case number {i}:", "choices": [f"a{i}", f"b{i}"],
         "gold": golds[i] if golds else 0} for i in range(ITEMS)
    ]  # fmt: skip
    return write_task(folder, rows, **({"metric": "acc"} | header))


def profile(shell: Shell, *more: str) -> list[Run]:
    """Profile all fakes at quiz.yaml; return their runs by JSON."""
    typed = ("--device", "cpu", "--workload", "none", "--tasks", "quiz.yaml", "--json")
    runs = shell.json("profile", "fakes", *typed, *more)["runs"]
    return [Run.model_validate(run) for run in runs]


@pytest.fixture
def contest(edgebench: Shell, fakes: MakeFake) -> Shell:
    """Three levels: f16 is always right, q8_0 answers alike, q4_0 answers by chance."""
    fakes("f16", {"seed": 1}, bits_per_weight=16.0)
    quiz(edgebench.cwd)
    (first,) = profile(edgebench, "--output", "scratch")
    assert first.accuracy
    chosen = [item.chosen or 0 for item in first.accuracy.items]
    quiz(edgebench.cwd, chosen)
    fakes("q8_0", {"seed": 1, "other": "file"})
    fakes("q4_0", {"seed": 2}, bits_per_weight=4.0)
    return edgebench


def test_race_stops_where_the_decision_is_clear(contest: Shell) -> None:
    """The level that answers alike is within, the one that guesses outside; both stop early."""
    runs = {run.artifact.level: run for run in profile(contest, "--race", "--tolerance", "3%")}
    races = {level: run.accuracy.race for level, run in runs.items() if run.accuracy}
    assert races["f16"] is None
    same, other = races["q8_0"], races["q4_0"]
    assert same is not None
    assert other is not None
    assert (same.verdict, other.verdict) == ("within", "outside")
    assert other.items < same.items < ITEMS
    assert (same.reference, same.population, same.tolerance) == ("tiny-f16", ITEMS, 0.03)
    assert f"after {same.items} of {ITEMS} items" in same.reason
    for run in runs.values():
        assert run.accuracy
        assert run.accuracy.population == ITEMS
        assert run.accuracy.n == len(run.accuracy.items) < ITEMS


def test_race_decides_as_all_items_do(contest: Shell) -> None:
    """compare says of both levels what the whole grid says, and how many items it took."""
    profile(contest, "--race", "--tolerance", "3%", "--output", "raced")
    profile(contest, "--output", "whole")
    tables = [contest.json("compare", where, "--margin", "3%", "--json") for where in
              ("raced", "whole")]  # fmt: skip
    verdicts = [
        {row["level"]: row["tasks"][0]["no_worse"] for row in table["rows"]} for table in tables
    ]
    assert verdicts[0] == verdicts[1] == {"f16": None, "q8_0": "holds", "q4_0": "worse"}
    table = contest("compare", "raced").stdout
    assert "Loses at most 3 points: q8_0 yes after" in table


def test_resumed_race_uses_the_answers_that_are_stored(contest: Shell) -> None:
    """Another level of the same race leaves the reference's run as it is."""
    first = {run.artifact.level: run for run in profile(contest, "--race", "--tolerance", "3%")}
    again = {run.artifact.level: run for run in profile(contest, "--race", "--tolerance", "3%")}
    assert {level: run.run_id for level, run in first.items()} == {
        level: run.run_id for level, run in again.items()
    }
    stored = contest.cwd / "profiles/cpu/tiny.jsonl"
    lines = stored.read_text().splitlines()
    stored.write_text("".join(line + "\n" for line in lines if "tiny-q8_0" not in line[:600]))
    redone = {run.artifact.level: run for run in profile(contest, "--race", "--tolerance", "3%")}
    assert redone["f16"].run_id == first["f16"].run_id
    assert redone["q8_0"].run_id != first["q8_0"].run_id
    races = [found.race for runs in (redone, first) if (found := runs["q8_0"].accuracy)]
    assert races[0] == races[1]


def test_reference_that_fails_ends_the_race_of_all(contest: Shell, fakes: MakeFake) -> None:
    """Each level says that its reference failed, and why."""
    fakes("f32", {"fault": "kill", "fault_in": "score"}, bits_per_weight=32.0)
    done = contest(
        "profile", "fakes", "--device", "cpu", "--workload", "none", "--tasks", "quiz.yaml",
        "--race", "--tolerance", "3%", "--json",
    )  # fmt: skip
    runs = {run["artifact"]["level"]: run for run in json.loads(done.stdout)["runs"]}
    assert done.returncode == 1
    assert runs["f32"]["status"] == "crashed"
    assert "the reference tiny-f32 failed" in runs["q4_0"]["error"]["message"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--race",), "a race needs a tolerance"),
        (("--tolerance", "1%"), "a race needs a tolerance"),
        (("--race", "--tolerance", "1"), "write for example 1%"),
    ],
)
def test_half_a_race_is_refused(edgebench: Shell, typed: tuple[str, ...], said: str) -> None:
    """Nothing is measured; the message says what to type."""
    done = edgebench("profile", "--device", "cpu", *typed)
    assert (done.returncode, said in done.stderr) == (2, True)


def test_item_longer_than_the_context_is_left_out_and_counted(
    edgebench: Shell, fakes: MakeFake
) -> None:
    """It stands in the run with its reason, and in the table; n is what was answered."""
    fakes("f16", context_length=300)
    rows = [
        {"id": name, "context": "word " * length, "choices": ["yes", "no"], "gold": 0}
        for name, length in (("short", 3), ("long", 90), ("other", 5))
    ]
    write_task(edgebench.cwd, rows)
    (run,) = profile(edgebench)
    assert run.accuracy
    assert ([item.id for item in run.accuracy.items], run.accuracy.n) == (["short", "other"], 2)
    assert [skip.id for skip in run.accuracy.skipped] == ["long"]
    assert "longer than the context of 300" in run.accuracy.skipped[0].reason
    assert any("1 items were left out" in text for text in run.conditions.warnings)
    assert "2 items (1 left out)" in edgebench("compare").stdout


def test_task_without_an_item_left_is_a_failed_case(edgebench: Shell, fakes: MakeFake) -> None:
    """No figure is made of nothing."""
    fakes("f16", context_length=20)
    rows = [{"id": "long", "context": "word " * 90, "choices": ["yes", "no"], "gold": 0}]
    write_task(edgebench.cwd, rows)
    done = edgebench("profile", "fakes", "--device", "cpu", "--workload", "none", "--tasks",
                     "quiz.yaml", "--json")  # fmt: skip
    (run,) = json.loads(done.stdout)["runs"]
    assert (done.returncode, run["status"]) == (1, "failed")
    assert "no item of quiz could be answered" in run["error"]["message"]


def test_chat_task_of_a_model_without_template_says_so(edgebench: Shell, fakes: MakeFake) -> None:
    """The message names what to do; with a template the same task runs."""
    fakes("f16")
    fakes("q8_0", {"chat_template": "<{{ messages[0].content }}>"})
    quiz(edgebench.cwd, chat=True)
    done = edgebench("profile", "fakes", "--device", "cpu", "--workload", "none", "--tasks",
                     "quiz.yaml", "--json")  # fmt: skip
    runs = {run["artifact"]["level"]: run for run in json.loads(done.stdout)["runs"]}
    assert "wants a chat template" in runs["f16"]["error"]["message"]
    assert "chat: false" in runs["f16"]["error"]["hint"]
    assert runs["q8_0"]["status"] == "ok"


def test_generated_answers_are_kept_beside_the_verdict(edgebench: Shell, fakes: MakeFake) -> None:
    """The run holds what was read of each answer."""
    fakes("f16", {"says": "3 + 4\n#### 7\n\nQuestion:"})
    rows = [{"id": str(n), "question": f"3 + 4 = {n}?", "answer": f"#### {n}"} for n in (7, 8)]
    write_task(edgebench.cwd, rows, schema="generation", answer_pattern="gsm8k", stop="\n\n")
    (run,) = profile(edgebench)
    assert run.accuracy
    assert [(item.answer, item.correct) for item in run.accuracy.items] == [
        ("7", True), ("7", False),
    ]  # fmt: skip


def test_divergence_is_zero_of_the_same_and_grows_with_noise(
    edgebench: Shell, fakes: MakeFake
) -> None:
    """The reference has none of its own; every level reads its chunks; the table shows both."""
    fakes("f16", {"seed": 1}, bits_per_weight=16.0)
    fakes("q8_0", {"seed": 1, "other": "file"})
    fakes("q4_0", {"seed": 2})
    typed = ("profile", "fakes", "--device", "cpu", "--workload", "none", "--tasks", "divergence")
    runs = [Run.model_validate(run) for run in edgebench.json(*typed, "--json")["runs"]]
    found = {run.artifact.level: run.divergence for run in runs}
    first, same, other = found["f16"], found["q8_0"], found["q4_0"]
    assert first is not None
    assert same is not None
    assert other is not None
    assert first.mean_kld is None
    assert same.mean_kld is not None
    assert other.mean_kld is not None
    assert same.same_top is not None
    assert abs(same.mean_kld.value) < 1e-3 < other.mean_kld.low
    assert (same.same_top.value, same.reference, same.chunks) == (1.0, "tiny-f16", first.chunks)
    assert same.perplexity == pytest.approx(first.perplexity, rel=1e-4)
    table = edgebench("compare").stdout
    assert "KL divergence" in table
    assert "reference" in table
    kept = list((edgebench.cwd.parent / "home/cache/edgebench/divergence").iterdir())
    assert len(kept) == 1


def test_lost_reference_is_made_again_without_another_run(
    edgebench: Shell, fakes: MakeFake
) -> None:
    """With the cache gone, a new level still gets its divergence; damage counts as gone."""
    fakes("f16", {"seed": 1}, bits_per_weight=16.0)
    typed = ("profile", "fakes", "--device", "cpu", "--workload", "none", "--tasks", "divergence")
    edgebench.json(*typed, "--json")
    (kept,) = (edgebench.cwd.parent / "home/cache/edgebench/divergence").iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])
    fakes("q4_0", {"seed": 2})
    runs = edgebench.json(*typed, "--json")["runs"]
    assert [run["status"] for run in runs] == ["ok", "ok"]
    assert runs[1]["divergence"]["mean_kld"]["value"] > 0


def test_text_that_is_too_short_is_a_failed_case(edgebench: Shell, fakes: MakeFake) -> None:
    """Two chunks are the least; the message says so."""
    fakes("f16")
    write_task(edgebench.cwd, [{"id": "1", "text": "short"}], schema="text")
    done = edgebench("profile", "fakes", "--device", "cpu", "--workload", "none", "--tasks",
                     "quiz.yaml", "--json")  # fmt: skip
    (run,) = json.loads(done.stdout)["runs"]
    assert "0 chunks of 512 tokens" in run["error"]["message"]


class Recorder(FakeSession):
    """A fake session that remembers in which order spans came."""

    def __init__(self) -> None:
        super().__init__({}, Settings(), Room(2048))
        self.calls: list[list[Span]] = []

    def score(self, spans: Any) -> list[Score]:
        """Remember and score."""
        self.calls.append(list(spans))
        return super().score(spans)


def answers(session: Session, task: Task) -> list[Any]:
    """Return a task's results."""
    return likelihood.answer(session, task, Prompts(session), lambda *_: None)[0]


def test_requests_with_a_long_common_beginning_stand_together(tmp_path: Path) -> None:
    """Items of three few-shot prompts in any order are scored a prompt at a time."""
    heads = ["A " * 60, "B " * 60, "C " * 60]
    rows = [
        {"id": f"q{i}", "context": f"{heads[i % 3]}{i}", "choices": ["x", "y"], "gold": i % 2}
        for i in range(60)
    ]
    random.Random(3).shuffle(rows)
    task = read_task(write_task(tmp_path, rows))
    assert isinstance(task, Task)
    session = Recorder()
    results = answers(session, task)
    assert [result.id for result in results] == [row["id"] for row in rows]
    firsts = [{bytes(span.tokens[:1]) for span in call} for call in session.calls]
    assert firsts == [{b"A"}, {b"B"}, {b"C"}]


def test_tokens_that_all_choices_share_do_not_count(tmp_path: Path) -> None:
    """acc_token scores from where the choices part, as llama-perplexity does."""
    row = {"id": "q", "context": "He", "choices": ["is far", "is near"], "gold": 0}
    task = read_task(write_task(tmp_path, [row], metric="acc_token"))
    assert isinstance(task, Task)
    session = FakeSession({}, Settings(), Room(2048))
    spans = likelihood.spans_of(Prompts(session), task.items[0], only_differences=True)
    assert [bytes(span.tokens[span.start :]) for span in spans] == [b"far", b"near"]


class Tied(FakeSession):
    """Finds all choices alike."""

    def score(self, spans: Any) -> list[Score]:
        """Give each span the same likelihood."""
        return [Score(-1.0, False) for _ in spans]


def test_ties_give_no_reward_to_the_first_choice(tmp_path: Path) -> None:
    """Where gold is always first, a model that can't tell is right by chance alone."""
    quiz(tmp_path)
    task = read_task(tmp_path / "quiz.yaml")
    assert isinstance(task, Task)
    accuracy = accuracy_of(task, answers(Tied({}, Settings(), Room(2048)), task))
    assert accuracy.value.low < 0.5 < accuracy.value.high
    assert accuracy.chance == 0.5


def test_majority_is_told_where_the_choices_are_labels(tmp_path: Path) -> None:
    """Always answering yes gets 70 %: that is what a level is to be compared with."""
    rows = [
        {"id": str(i), "context": f"Is {i} small?", "choices": ["no", "yes"], "gold": int(i < 70)}
        for i in range(100)
    ]
    task = read_task(write_task(tmp_path, rows, metric="acc"))
    assert isinstance(task, Task)
    accuracy = accuracy_of(task, answers(FakeSession({}, Settings(), Room(512)), task))
    assert accuracy.majority == pytest.approx(0.7)


OpenLevel = Callable[[str], Session]


@pytest.fixture
def opened(real_levels: tuple[Shell, Path]) -> OpenLevel:
    """Open a level of the real model with room for one request, or for many."""

    def open_level(name: str, sequences: int = 65) -> Session:
        folder = next(real_levels[1].glob(f"*{name}"))
        artifact = Artifact.model_validate_json((folder / "artifact.json").read_bytes())
        artifact = artifact.model_copy(update={"path": str(folder / artifact.path)})
        return get_runtime("llama.cpp").open(artifact, Settings(), Room(2048, sequences))

    return open_level


def test_packed_requests_are_answered_as_one_at_a_time(opened: OpenLevel) -> None:
    """On the real model: the same choices, likelihoods as near as its quantized sums allow."""
    task = load_task("basics")
    assert isinstance(task, Task)
    task = task.model_copy(update={"items": task.items[:12]})
    session = opened("q8_0")
    packed = answers(session, task)
    alone = [answers(session, task.model_copy(update={"items": (i,)}))[0] for i in task.items]
    session.close()
    same = sum(a.chosen == b.chosen for a, b in zip(packed, alone, strict=True))
    assert same >= 11
    gaps = [
        abs(x - y) for a, b in zip(packed, alone, strict=True)
        for x, y in zip(a.loglikelihoods, b.loglikelihoods, strict=True)
    ]  # fmt: skip
    assert max(gaps) < 1.5
    assert sum(gaps) / len(gaps) < 0.3


def test_real_model_generates_the_same_answer_with_and_without_a_kept_prefix(
    opened: OpenLevel, tmp_path: Path
) -> None:
    """Greedy generation in the model's own chat template, through the public pieces."""
    from edgebench.worker.score import generate

    session = opened("q8_0")
    template = session.chat_template()
    assert template is not None
    prompts = Prompts(session, template)
    assert "<|im_start|>assistant" in prompts.rendered("Hi")
    rows = [
        {"id": str(n), "question": f"What is {n} plus one? Answer with a number.", "answer": "2"}
        for n in (1, 2)
    ]
    task = read_task(write_task(tmp_path, rows, schema="generation", max_tokens=12))
    assert isinstance(task, Task)
    both = generate.answer(session, task, prompts, lambda *_: None)[0]
    alone = [
        generate.answer(
            session, task.model_copy(update={"items": (item,)}), prompts, lambda *_: None
        )[0][0]
        for item in task.items
    ]
    session.close()
    assert both == alone
    assert all(result.answer for result in both)

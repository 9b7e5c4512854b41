"""How items are asked: which stand together, which tokens count, and what ties and labels mean."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from support.task_files import write_quiz, write_task

from edgebench.figures.accuracy import accuracy_of
from edgebench.records.settings import Settings
from edgebench.records.spans import Score, Span
from edgebench.records.task import Task
from edgebench.tasks.load import read_task
from edgebench.worker.runtimes import Room, Session
from edgebench.worker.runtimes.fake import FakeSession
from edgebench.worker.score import likelihood
from edgebench.worker.score.chat import Prompts


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
    task = read_task(write_quiz(tmp_path))
    assert isinstance(task, Task)
    accuracy = accuracy_of(task, answers(Tied({}, Settings(), Room(2048)), task))
    bounds = accuracy.value.bounds
    assert bounds
    assert bounds.low < 0.5 < bounds.high
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


@pytest.mark.parametrize("broken", [math.nan, -math.inf, math.inf])
def test_item_without_a_finite_likelihood_is_left_out(tmp_path: Path, broken: float) -> None:
    """It isn't counted as wrong, and the others keep their results."""

    class Broken(FakeSession):
        def score(self, spans: Any) -> list[Score]:
            scores = list(super().score(spans))
            return [Score(broken, False), *scores[1:]]

    task = read_task(write_quiz(tmp_path, [0, 1, 0]))
    assert isinstance(task, Task)
    session = Broken({}, Settings(), Room(2048))
    results, skipped = likelihood.answer(session, task, Prompts(session), lambda *_: None)
    assert ([result.id for result in results], [skip.id for skip in skipped]) == (
        ["q1", "q2"],
        ["q0"],
    )
    assert "isn't a finite number" in skipped[0].reason

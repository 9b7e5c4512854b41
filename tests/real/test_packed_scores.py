"""The real model answers many requests at once as it answers one at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.shell import Shell
from support.task_files import write_task

from edgebench.records.settings import Settings
from edgebench.records.task import Task
from edgebench.sources.artifacts import find_artifacts
from edgebench.tasks.load import load_task, read_task
from edgebench.worker.runtimes import Room, Session, get_runtime
from edgebench.worker.score import generate, likelihood
from edgebench.worker.score.chat import Prompts

OpenLevel = Callable[[str], Session]


@pytest.fixture
def opened(real_levels: tuple[Shell, Path]) -> OpenLevel:
    """Open a level of the real model with room for one request, or for many."""

    def open_level(name: str, sequences: int = 65) -> Session:
        (artifact,) = find_artifacts([next(real_levels[1].glob(f"*{name}"))])
        return get_runtime("llama.cpp").open(artifact, Settings(), Room(2048, sequences))

    return open_level


def answered(session: Session, task: Task) -> list[Any]:
    """Return a task's results."""
    return likelihood.answer(session, task, Prompts(session), lambda *_: None)[0]


def test_packed_requests_are_answered_as_one_at_a_time(opened: OpenLevel) -> None:
    """On the real model: the same choices, likelihoods as near as its quantized sums allow."""
    task = load_task("basics")
    assert isinstance(task, Task)
    task = task.model_copy(update={"items": task.items[:8]})
    session = opened("q8_0")
    packed = answered(session, task)
    alone = [answered(session, task.model_copy(update={"items": (i,)}))[0] for i in task.items]
    session.close()
    same = sum(a.chosen == b.chosen for a, b in zip(packed, alone, strict=True))
    assert same >= 7
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
    session = opened("q8_0", sequences=1)
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

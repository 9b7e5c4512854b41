"""Answers no better than by chance are told: simulated guessers are, readers are not."""

from __future__ import annotations

import numpy as np
import pytest
from support.builders import make_artifact, make_task_run

from edgebench.analyze.compare import compare
from edgebench.analyze.guesses import is_guess
from edgebench.analyze.rows import TaskFigures, summarize
from edgebench.report.notes import task_notes


def figures(right: np.ndarray, **changes: object) -> TaskFigures:
    """Return what is made of a task's answers, of four choices each."""
    (row,) = summarize([make_task_run([bool(answer) for answer in right])])
    return row.tasks[0].model_copy(update=changes)


@pytest.mark.parametrize("items", [50, 300])
def test_guessers_are_told_and_readers_are_not(items: int) -> None:
    """Of 200 that guess at least 95 in 100; of those that are right half the time hardly any."""
    rng = np.random.default_rng(1)
    guessers = sum(is_guess(figures(rng.random(items) < 0.25)) for _ in range(200))
    readers = sum(is_guess(figures(rng.random(items) < 0.5)) for _ in range(200))
    assert guessers >= 190
    assert readers <= (10 if items == 50 else 0)


def test_the_same_answer_to_all_is_a_guess_too() -> None:
    """Where three in five are `yes`, 60 % says nothing; a task without choices has no chance."""
    right = np.arange(300) < 180
    assert not is_guess(figures(right, chance=0.5))
    assert is_guess(figures(right, chance=0.5, majority=0.6))
    assert not is_guess(figures(right, chance=0.0))


def test_notes_name_who_guesses() -> None:
    """Only those levels, with the share that chance gives."""
    runs = [
        make_task_run(
            [index < right for index in range(300)],
            run_id=level,
            artifact=make_artifact(level=level, bits_per_weight=bits),
        )
        for level, bits, right in (("f16", 16.0, 180), ("q4_0", 4.5, 80), ("q2_k", 2.6, 75))
    ]
    (group,) = compare(summarize(runs))
    notes = task_notes(group.rows, "basics")
    assert (
        "! basics: q4_0, q2_k answer no better than by chance (25 %); differences there mean "
        "little." in notes
    )
    assert not any("no better than" in note for note in task_notes(group.rows[:1], "basics"))

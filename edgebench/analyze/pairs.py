"""Judge one level's answers against the reference's over the same items.

Knows which items both answered, and races. The difference, its p-value and "loses at most" are
those of `stats/loss.py`, for compare and pick alike. Corrects nothing over levels.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from edgebench.analyze.rows import TaskFigures
from edgebench.records.accuracy import ItemResult, RaceResult
from edgebench.records.artifact import Artifact
from edgebench.stats.clusters import clusters_of
from edgebench.stats.loss import difference_p, loses_at_most

AFTER_A_RACE = 0.01  # items of a race that stopped early flatter what it stopped for
WORDS = {"within": "holds", "outside": "worse", "open": "open"}


Judged = dict[str, object]


class Answers(NamedTuple):
    """Right and wrong answers of two levels to the same items, and the items' clusters."""

    ours: list[bool]
    theirs: list[bool]
    clusters: list[Hashable] | None


def paired(
    task: TaskFigures, reference: Artifact, theirs: TaskFigures | None, margin: float
) -> TaskFigures:
    """Add to a task's figures how they differ from the reference's, or why nothing can be said."""
    if theirs is None:
        return _without(task, f"{reference.level} was not measured at {task.task}")
    if task.race and task.race.reference != reference.name:
        return _without(task, f"it raced against {task.race.reference}")
    items = shared_items(task, theirs)
    if items is None:
        return _without(task, f"{reference.level} answered other items")
    both = task.model_copy(update={"items": items[0], "reference_items": items[1]})
    update = _raced(task.race, answers_of(both)) if task.race else _judged(answers_of(both), margin)
    return both.model_copy(update={**update, "items": task.items})


def _without(task: TaskFigures, why: str) -> TaskFigures:
    return task.model_copy(update={"why_no_difference": why})


def shared_items(
    ours: TaskFigures, theirs: TaskFigures
) -> tuple[tuple[ItemResult, ...], tuple[ItemResult, ...]] | None:
    """Return both sides' answers to the same items; None where the items are not the same.

    Where a race left some unasked, the items that both answered are compared: which ones they are
    was drawn at random.
    """
    if ours.task_sha256 != theirs.task_sha256:
        return None
    if [item.id for item in ours.items] == [item.id for item in theirs.items]:
        return (ours.items, theirs.items) if ours.items else None
    known = {item.id: item for item in theirs.items}
    mine = tuple(item for item in ours.items if item.id in known)
    partial = ours.population is not None or theirs.population is not None
    if not mine or (not partial and not len(mine) == len(ours.items) == len(theirs.items)):
        return None
    return mine, tuple(known[item.id] for item in mine)


def answers_of(task: TaskFigures) -> Answers:
    """Return a judged task's answers beside the reference's."""
    known = {item.id: item for item in task.items}
    mine = [known[item.id] for item in task.reference_items]
    return between(mine, task.reference_items)


def between(ours: Sequence[ItemResult], theirs: Sequence[ItemResult]) -> Answers:
    """Return two levels' answers to the same items."""
    return Answers(
        [item.correct for item in ours],
        [item.correct for item in theirs],
        clusters_of([item.cluster for item in ours]),
    )


def _raced(race: RaceResult, answers: Answers) -> Judged:
    """Take a race's verdict, which is about the model; one that was about its list, judge again."""
    if race.about == "model":
        verdict, difference = WORDS[race.verdict], race.bounds
    else:
        again = loses_at_most(*answers, race.tolerance, AFTER_A_RACE)
        verdict, difference = again.verdict, again.difference
    return {"difference": difference, "margin": race.tolerance, "no_worse": verdict}


def _judged(answers: Answers, margin: float) -> Judged:
    loss = loses_at_most(answers.ours, answers.theirs, answers.clusters, margin)
    asked = len(answers.ours)
    return {
        "difference": loss.difference,
        "p_value": difference_p(answers.ours, answers.theirs, answers.clusters),
        "margin": margin,
        "no_worse": loss.verdict,
        "items_needed": None if loss.needed is None else max(0, loss.needed - asked),
    }

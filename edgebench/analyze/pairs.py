"""Judge one level's answers against the reference's over the same items.

Knows the difference with its interval, McNemar's test, "no worse by more than a margin" with the
items that are still needed, what clusters of items change, and races. Corrects nothing over levels.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.analyze.rows import Row, TaskFigures
from edgebench.records.accuracy import ItemResult, RaceResult
from edgebench.records.base import Estimate
from edgebench.stats.estimates import items_to_decide, mcnemar_exact, paired_difference
from edgebench.stats.resampling import (
    clustered_difference,
    clustered_sign_flip,
    clusters_of,
    equivalence,
    items_still_needed,
)

Judged = dict[str, object]


def paired(task: TaskFigures, reference: Row, margin: float) -> TaskFigures:
    """Add to a task's figures how they differ from the reference's, or why nothing can be said."""
    other = next((one for one in reference.tasks if one.task == task.task), None)
    if other is None:
        return _without(task, f"{reference.level} was not measured at {task.task}")
    if task.race and task.race.reference != reference.artifact:
        return _without(task, f"it raced against {task.race.reference}")
    if task.race:
        return task.model_copy(update=_raced(task.race))
    pairs = _pairs(task, other)
    if pairs is None:
        return _without(task, f"{reference.level} answered other items")
    return task.model_copy(update=_judged(*pairs, margin))


def _without(task: TaskFigures, why: str) -> TaskFigures:
    return task.model_copy(update={"why_no_difference": why})


def _pairs(
    task: TaskFigures, other: TaskFigures
) -> tuple[list[ItemResult], list[ItemResult]] | None:
    """Return both sides' answers to the same items; None where the items are not the same.

    Where a race left some unasked, the items that both answered are compared: which ones they are
    was drawn at random.
    """
    if task.task_sha256 != other.task_sha256:
        return None
    theirs = {item.id: item for item in other.items}
    mine = [item for item in task.items if item.id in theirs]
    partial = task.population is not None or other.population is not None
    if not mine or (not partial and not len(mine) == len(task.items) == len(other.items)):
        return None
    return mine, [theirs[item.id] for item in mine]


def _raced(race: RaceResult) -> Judged:
    verdicts = {"within": "holds", "outside": "worse", "open": "open"}
    return {
        "difference": race.bounds, "margin": race.tolerance, "no_worse": verdicts[race.verdict],
    }  # fmt: skip


def _judged(mine: Sequence[ItemResult], theirs: Sequence[ItemResult], margin: float) -> Judged:
    ours, other = [one.correct for one in mine], [one.correct for one in theirs]
    clusters = clusters_of([one.cluster for one in mine])
    if clusters is not None and ours != other:
        a, b = [float(one) for one in ours], [float(one) for one in other]
        alone = paired_difference(ours, other)
        difference = _wider(clustered_difference(a, b, clusters), alone)
        p_value = clustered_sign_flip([x - y for x, y in zip(a, b, strict=True)], clusters)
        return {
            "difference": difference, "p_value": p_value, "margin": margin,
            **_from_interval(difference, margin, len(mine)),
        }  # fmt: skip
    differences = [float(x) - float(y) for x, y in zip(ours, other, strict=True)]
    found = equivalence(differences, margin)
    return {
        "difference": paired_difference(ours, other),
        "p_value": mcnemar_exact(ours, other),
        "margin": margin,
        "no_worse": "holds" if found.holds else "worse" if found.worse else "open",
        "items_needed": items_still_needed(differences, margin),
    }


def _wider(clustered: Estimate, alone: Estimate) -> Estimate:
    """Return the clustered interval, at least as wide as one of single items.

    With a handful of disagreements a bootstrap has next to no width.
    """
    return clustered.model_copy(
        update={"low": min(clustered.low, alone.low), "high": max(clustered.high, alone.high)}
    )


def _from_interval(difference: Estimate, margin: float, items: int) -> Judged:
    """Judge by the clustered interval's bounds; clusters still needed are told in items."""
    if difference.low > -margin:
        return {"no_worse": "holds", "items_needed": 0}
    if difference.high < -margin:
        return {"no_worse": "worse", "items_needed": 0}
    clusters = items_to_decide(difference, -margin)
    if clusters is None:
        return {"no_worse": "open", "items_needed": None}
    share = clusters / difference.n
    return {"no_worse": "open", "items_needed": max(1, round(items * share) - items)}

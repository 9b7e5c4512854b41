"""A task's result from its items' answers: the share that is right, chance beside it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edgebench.errors import EdgebenchError
from edgebench.records.accuracy import Accuracy, ItemResult, RaceResult, Skip
from edgebench.records.base import Estimate
from edgebench.records.task import Task
from edgebench.stats.clusters import clustered_proportion, clusters_of
from edgebench.stats.estimates import proportion_estimate

REASONS_SHOWN = 3


def accuracy_of(
    task: Task,
    results: Sequence[ItemResult],
    skipped: Sequence[Skip] = (),
    race: RaceResult | None = None,
) -> Accuracy:
    """Return the task's accuracy, with Wilson's interval, or one over clusters.

    Raises EdgebenchError where no item was answered.
    """
    asked = len(results) + len(skipped)
    skipped = (*task.skipped, *skipped)
    if not results:
        why = skipped[0].reason if skipped else "there are none"
        raise EdgebenchError(f"no item of {task.name} could be answered: {why}")
    answered = {result.id for result in results}
    items = [item for item in task.items if item.id in answered]
    chance = sum(1 / len(item.pairs) for item in items if len(item.pairs) > 1) / len(items)
    same = {item.continuations for item in items if len(item.contexts) == 1}
    labels = len(same) == 1 and len(items[0].continuations) > 1
    golds = Counter(item.gold for item in items)
    return Accuracy(
        task=task.name,
        task_sha256=task.sha256,
        metric=task.metric,
        n=len(results),
        value=share_of(results),
        chance=chance,
        majority=max(golds.values()) / len(items) if labels else None,
        items=tuple(results),
        skipped=skipped,
        population=len(task.items) if asked < len(task.items) else None,
        race=race,
    )


def share_of(results: Sequence[ItemResult]) -> Estimate:
    """Estimate the share of right answers; items of one cluster stand or fall together."""
    correct = [result.correct for result in results]
    clusters = clusters_of([result.cluster for result in results])
    if clusters:
        return clustered_proportion(correct, clusters)
    return proportion_estimate(sum(correct), len(correct))


def skip_warnings(skipped: Sequence[Skip]) -> tuple[str, ...]:
    """Say how many items were left out, and why."""
    counts = Counter(skip.reason for skip in skipped)
    said = [f"{count} ({reason})" for reason, count in counts.most_common(REASONS_SHOWN)]
    if len(counts) > REASONS_SHOWN:
        said.append("and others")
    return (f"{len(skipped)} items were left out: {'; '.join(said)}",) if skipped else ()

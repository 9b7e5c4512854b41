"""The task that comes with the program."""

from __future__ import annotations

from edgebench.records.task import Task
from edgebench.tasks.load import load_task


def test_basics_is_balanced_and_has_no_twins() -> None:
    """At least 240 items of five kinds; gold positions even; no repeated question or choice."""
    task = load_task("basics")
    assert isinstance(task, Task)
    assert len(task.items) >= 240
    golds = [item.gold for item in task.items]
    counts = [golds.count(place) for place in range(4)]
    assert max(counts) - min(counts) <= 1
    assert len({(item.contexts, item.continuations) for item in task.items}) == len(task.items)
    assert len({item.id for item in task.items}) == len(task.items)
    for item in task.items:
        assert len(set(item.continuations)) == len(item.continuations) == 4, item.id

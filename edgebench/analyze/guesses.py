"""Is a task answered any better than by guessing? Where it isn't, differences mean little. Pure."""

from __future__ import annotations

from edgebench.analyze.rows import TaskFigures


def guessing(task: TaskFigures) -> float:
    """Return the share that is right without reading: by chance, or by one answer to all."""
    return max(task.chance, task.majority or 0.0)


def is_guess(task: TaskFigures) -> bool:
    """Return whether the answers are not shown to be better than guessing."""
    bounds = task.accuracy.bounds
    return bounds is not None and guessing(task) > 0 and bounds.low <= guessing(task)

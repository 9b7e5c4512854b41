"""Who won, who lost and why: what each loser breaks, or what the winner is better in.

Knows a decision that was taken. Takes none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgebench.analyze.choosing import ASPECTS, Aspect, lead, value_of
from edgebench.analyze.constraints import Check, Verdict
from edgebench.analyze.decision import Comparison, Loser, Rejection, Winner
from edgebench.analyze.rows import Row
from edgebench.analyze.running import commands_of, settings_of
from edgebench.analyze.weights import Objective
from edgebench.records.base import Estimate

ALIKE = 0.01  # a smaller lead counts for nothing, shown or not


@dataclass(frozen=True)
class Standing:
    """The row in front, if there is one, what was asked, and how each row stands to it."""

    best: Row | None
    objective: Objective
    tasks: Sequence[str]
    names: Mapping[str, str]
    checks: Mapping[str, Sequence[Check]]

    def of(self, row: Row, verdict: Verdict) -> tuple[Check, ...]:
        """Return a row's checks of a verdict."""
        return tuple(check for check in self.checks.get(row.key, ()) if check.verdict == verdict)


def winner_of(row: Row, name: str, tasks: Sequence[str]) -> Winner:
    """Say what was picked, with its settings and what to type to run it."""
    figures = {aspect: figure(aspect, row, tasks) for aspect in ASPECTS}
    return Winner(
        artifact=name,
        name=row.artifact.name,
        model=row.artifact.model,
        level=row.level,
        format=row.artifact.format,
        device=row.device.name,
        path=row.artifact.path,
        sha256=row.artifact.sha256,
        runtime=row.runtime,
        settings=settings_of(row),
        figures={aspect: estimate for aspect, estimate in figures.items() if estimate},
        run=commands_of(row),
    )


def losers_of(
    rows: Sequence[Row], standing: Standing, rejected: Sequence[Rejection]
) -> tuple[Loser, ...]:
    """Say of each row but the best why it isn't picked."""
    failed = {out.artifact: out.reason for out in rejected if out.limit is None}
    return tuple(_loser(row, standing, failed) for row in rows if row is not standing.best)


def _loser(row: Row, standing: Standing, failed: Mapping[str, str]) -> Loser:
    name = standing.names[row.key]
    if name in failed:
        return Loser(artifact=name, why="failed", reason=failed[name])
    compared = _compared(row, standing)
    told = Loser(artifact=name, why="beside", compared=compared)
    if row.key not in standing.checks:
        return told
    if broken := standing.of(row, "broken"):
        return told.model_copy(update={"why": "breaks", "breaks": broken})
    if waiting := standing.of(row, "open"):
        return told.model_copy(update={"why": "open", "open": waiting})
    best = standing.best
    led = standing.objective.lead(best, row, standing.tasks) if best else None
    if led is None:
        return told.model_copy(update={"why": "unmeasured"})
    worse = led.is_shown and led.by > ALIKE
    update = {"why": "worse" if worse else "alike", "behind": led.by, "is_shown": led.is_shown}
    return told.model_copy(update=update)


def _compared(row: Row, standing: Standing) -> tuple[Comparison, ...]:
    if standing.best is None:
        return ()
    told = (_comparison(aspect, row, standing.best, standing.tasks) for aspect in ASPECTS)
    return tuple(comparison for comparison in told if comparison)


def _comparison(aspect: Aspect, row: Row, best: Row, tasks: Sequence[str]) -> Comparison | None:
    mine, theirs = figure(aspect, best, tasks), figure(aspect, row, tasks)
    led = lead(aspect, best, row, tasks) if mine and theirs else None
    if not (mine and theirs and led) or abs(led.by) == float("inf"):
        return None
    return Comparison(
        aspect=aspect,
        winner=mine,
        loser=theirs,
        by=led.by,
        is_shown=led.is_shown,
        p_value=led.p_value,
    )


def figure(aspect: Aspect, row: Row, tasks: Sequence[str]) -> Estimate | None:
    """Return a row's figure in one respect, as it is read: bytes, J a token, share, nats."""
    if aspect in ("decode", "prefill"):
        return (
            (row.speed.decode if aspect == "decode" else row.speed.prefill) if row.speed else None
        )
    if aspect == "energy":
        return row.energy.j_per_token if row.energy else None
    if aspect == "accuracy" and len(tasks) == 1:
        task = row.task(tasks[0])
        return task.accuracy if task else None
    value = value_of(aspect, row, tasks)
    if value is None:
        return None
    if aspect == "memory" and row.memory:
        return Estimate(value=-value, n=row.memory.n, method="largest of the launches")
    if aspect == "divergence":
        return Estimate(value=-value, n=len(row.divergences), method="the farthest of the texts")
    return Estimate(value=value, n=len(tasks), method="mean of the tasks")

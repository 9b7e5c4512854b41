"""Choose the artifact that a model's levels are held against, and find its answers.

Knows the rows of all workloads, settings and builds: a reference that was measured for accuracy
alone counts. Computes no differences.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.analyze.rows import Row, TaskFigures
from edgebench.analyze.setups import content_of
from edgebench.errors import UsageError
from edgebench.plan.cases import reference_of
from edgebench.records.artifact import Artifact
from edgebench.records.base import Record, Told


class Baseline(Record):
    """The artifact that losses and speeds are held against, and why it is that one."""

    artifact: Artifact
    named: bool
    passed_over: tuple[Told, ...] = ()

    @property
    def content(self) -> str:
        """Tell the artifact's bytes."""
        return content_of(self.artifact)

    @property
    def level(self) -> str:
        """Return the artifact's level."""
        return self.artifact.level


def choose_baseline(rows: Sequence[Row], level: str | None) -> Baseline | None:
    """Choose among all rows of one model on one machine; None where none of them is good.

    The baseline is the level named, or else the checkpoint in torch, or else the level with the
    most bits a weight, of those that answered a task where any did. Raises UsageError where the
    level named has no good run.
    """
    good = sorted((row for row in rows if row.is_good), key=lambda row: row.newest, reverse=True)
    if level is not None:
        return Baseline(artifact=_named(rows, good, level), named=True)
    if not good:
        return None
    answered = [row for row in good if row.tasks] or good
    chosen = reference_of([row.artifact for row in answered])
    return Baseline(artifact=chosen, named=False, passed_over=_passed_over(rows, chosen))


def _named(rows: Sequence[Row], good: Sequence[Row], level: str) -> Artifact:
    chosen = [row for row in good if row.level == level]
    if not chosen:
        model = rows[0].artifact.model
        levels = {row.level for row in good}
        failed = any(row.level == level for row in rows)
        raise UsageError(
            f"no good run of level {level!r} of {model}" + (", which failed" if failed else ""),
            hint=f"measured: {', '.join(sorted(levels))}" if levels else "edgebench profile",
        )
    answered = [row for row in chosen if row.tasks] or chosen
    return reference_of([row.artifact for row in answered])


def _passed_over(rows: Sequence[Row], chosen: Artifact) -> tuple[str, ...]:
    """Say why artifacts that would come before the chosen one are not it."""
    reasons: dict[str, str] = {}
    for row in rows:
        same = content_of(row.artifact) == content_of(chosen)
        if same or reference_of([chosen, row.artifact]) == chosen or row.tasks:
            continue
        why = row.failures[0].words if row.failures else "it answered no task"
        reasons.setdefault(row.level, f"{row.level} is not the baseline: {why}")
    return tuple(reasons.values())


def answers_of(baseline: Baseline, rows: Sequence[Row], row: Row, task: str) -> TaskFigures | None:
    """Return the baseline's figures of a task: by the row's own build first, then the newest."""
    candidates = [
        (other, figures)
        for other in rows
        if other.content == baseline.content and (figures := other.task(task))
    ]
    version = row.task(task)
    best = max(
        candidates,
        key=lambda pair: (
            version is not None and pair[1].task_sha256 == version.task_sha256,
            pair[0].arithmetic == row.arithmetic,
            pair[0].setup == row.setup,
            pair[0].newest,
        ),
        default=None,
    )
    return best[1] if best else None

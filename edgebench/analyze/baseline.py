"""Choose the artifact that a model's levels are held against, and find its rows.

Knows the rows of all workloads, settings and builds: a reference that was measured for accuracy
alone counts. Computes no differences.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.analyze.rows import Row
from edgebench.analyze.setups import changes_of, content_of
from edgebench.errors import UsageError, nearest
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


def named_artifact(rows: Sequence[Row], name: str) -> Baseline:
    """Return the artifact of a name as the baseline; raise UsageError where it has no good run."""
    good = {row.artifact.name: row.artifact for row in rows if row.is_good}
    if name not in good:
        raise UsageError(f"no good run of an artifact {name!r}", hint=nearest(name, good))
    return Baseline(artifact=good[name], named=True)


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


def reference_row(
    baseline: Baseline, rows: Sequence[Row], row: Row, task: str | None = None
) -> Row | None:
    """Return the baseline's row that another is held against, of those that know the task.

    Of one version of the task, by the row's own build where there is one, and with the fewest
    settings that change answers: what a setting costs is part of what is lost.
    """
    wanted = row.task(task) if task else None

    def nearness(other: Row) -> tuple[bool, bool, int, bool, str]:
        figures = other.task(task) if task else None
        same = bool(figures and wanted and figures.task_sha256 == wanted.task_sha256)
        changes = changes_of(other.settings)
        return same, other.runtime == row.runtime, -changes, other.setup == row.setup, other.newest

    content = baseline.content
    candidates = [
        other for other in rows if other.content == content and (task is None or other.task(task))
    ]
    return max(candidates, key=nearness, default=None)

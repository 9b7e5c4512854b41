"""Plan a sweep: artifacts x work -> cases, each with the reference that it is held against.

Knows which work needs a reference, and the memory that a worker takes. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgebench.errors import UsageError
from edgebench.plan.cases import Case, ItemsCase, Race, SpeedCase, Subject, TextCase, reference_of
from edgebench.records.artifact import Artifact
from edgebench.records.settings import NOT_ARITHMETIC, Settings, Workload
from edgebench.records.task import Task, TextTask
from edgebench.sources.kv_cache import VALUE_BYTES, values_a_token

OVERHEAD_BYTES = 400 * 2**20  # buffers and Python, beside weights and KV cache


@dataclass(frozen=True)
class Work:
    """What is to be measured of every artifact."""

    workloads: tuple[Workload, ...]
    tasks: tuple[Task | TextTask, ...]
    meters: tuple[str, ...] = ("auto",)
    tolerance: float | None = None  # of a race, where one was asked for


def plan(
    artifacts: Sequence[Artifact], device: str, settings: Sequence[Settings], work: Work
) -> list[Case]:
    """Return the cases, an artifact's together, in the order in which artifacts and work came.

    Every workload is measured with each of the settings; a task once for those that change what
    a model answers, and held against the reference with the first of them. Raises UsageError where
    there is nothing to do, where two tasks share a name, or where a race has no rival.
    """
    if not work.workloads and not work.tasks:
        raise UsageError("nothing to measure", hint="give a --workload, or --tasks basics")
    names = [task.name for task in work.tasks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two tasks have the name {twice!r}", hint="give each its own name:")
    answering = _answering(settings)
    return [
        case
        for artifact in artifacts
        for chosen in settings
        for case in _cases_of(Subject(artifact, device, chosen), artifacts, work, answering)
    ]


def _answering(settings: Sequence[Settings]) -> list[Settings]:
    """Return the settings that change what a model answers, of others the first alone."""
    alike: dict[str, Settings] = {}
    for chosen in settings:
        alike.setdefault(chosen.model_dump_json(exclude=set(NOT_ARITHMETIC)), chosen)
    return list(alike.values())


def _cases_of(
    subject: Subject, artifacts: Sequence[Artifact], work: Work, answering: Sequence[Settings]
) -> Iterator[Case]:
    for workload in work.workloads:
        yield SpeedCase(subject, workload, work.meters)
    if subject.settings not in answering:
        return
    family = [other for other in artifacts if other.model == subject.artifact.model]
    for task in work.tasks:
        if isinstance(task, TextTask):
            yield TextCase(subject, task, reference_of(family), answering[0])
        else:
            yield ItemsCase(subject, task, _race(family, work.tolerance))


def _race(family: Sequence[Artifact], tolerance: float | None) -> Race | None:
    if tolerance is None:
        return None
    if len(family) < 2:
        raise UsageError(
            f"a race of {family[0].model} needs two levels", hint="name more artifacts"
        )
    return Race(reference_of(family), tolerance, len(family) - 1)


def memory_bytes(subject: Subject, context: int) -> int:
    """Return about what a worker takes: weights, the KV cache at a context, and buffers."""
    values = values_a_token(subject.artifact) or 0
    cache = context * values * VALUE_BYTES[subject.settings.kv_type]
    return round(subject.artifact.size_bytes + cache) + OVERHEAD_BYTES

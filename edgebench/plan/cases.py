"""Cases, a type for each kind of work, with ids that stay the same for the same inputs.

Knows what makes two cases one. Plans none and runs none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from edgebench.records.artifact import Artifact
from edgebench.records.formats import FORMATS
from edgebench.records.settings import Settings, Workload
from edgebench.records.task import Task, TextTask


@dataclass(frozen=True)
class Subject:
    """What a case is about: an artifact in settings on a device."""

    artifact: Artifact
    device: str
    settings: Settings

    @property
    def runtime(self) -> str:
        """Return the runtime that runs the artifact's format."""
        return FORMATS[self.artifact.format]


@dataclass(frozen=True)
class Race:
    """A level's race against its reference; `rivals` levels share the chance of error."""

    reference: Artifact
    tolerance: float
    rivals: int


@dataclass(frozen=True)
class SpeedCase:
    """A workload's speed."""

    subject: Subject
    workload: Workload
    meters: tuple[str, ...] = ("auto",)

    @property
    def work(self) -> str:
        """Name what is done."""
        return self.workload.name


@dataclass(frozen=True)
class ItemsCase:
    """A task's items, all of them or as many as a race needs."""

    subject: Subject
    task: Task
    race: Race | None = None

    @property
    def work(self) -> str:
        """Name what is done."""
        return self.task.name


@dataclass(frozen=True)
class TextCase:
    """A text, over which the artifact's distributions are held against its reference's."""

    subject: Subject
    task: TextTask
    reference: Artifact

    @property
    def work(self) -> str:
        """Name what is done."""
        return self.task.name


Case = SpeedCase | ItemsCase | TextCase


def label(case: Case) -> str:
    """Name a case for a person, who sees several at once: its artifact's name and its work."""
    return f"{case.subject.artifact.name} {case.work}"


def case_id(case: Case, runtime_version: str) -> str:
    """Return the case's id: the same for the same inputs, another for any change of them.

    Repetitions and launches are left out: more of them are a better measurement of the same case.
    """
    artifact = case.subject.artifact
    what: dict[str, object] = {
        "artifact": [artifact.sha256, *sorted(artifact.files.values())],
        "device": case.subject.device,
        "runtime": [case.subject.runtime, runtime_version],
        "settings": case.subject.settings.model_dump(),
        "workload": None,
        "task": None,
        **_own_inputs(case),
    }
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return digest[:16]


def _own_inputs(case: Case) -> dict[str, object]:
    """Return what decides a case beside its subject."""
    if isinstance(case, SpeedCase):
        workload = case.workload.model_dump(exclude={"repetitions", "launches", "name"})
        # Before 0.2 decode started at the workload's depth: that was another measurement.
        inputs: dict[str, object] = {"workload": workload | {"decode_from": "prompt"}}
        return inputs | ({"meters": list(case.meters)} if case.meters != ("auto",) else {})
    if isinstance(case, TextCase):
        task = [case.task.name, case.task.sha256, case.task.chunks]
        return {"task": task, "against": [case.reference.sha256, None, 0]}
    inputs = {"task": [case.task.name, case.task.metric, case.task.sha256]}
    if case.race:
        race = case.race
        inputs["against"] = [race.reference.sha256, race.tolerance, race.rivals]
    return inputs


def reference_of(artifacts: Sequence[Artifact]) -> Artifact:
    """Return what the others are held against: the checkpoint in torch, else the most bits."""
    return max(
        artifacts, key=lambda artifact: (artifact.format == "torch", artifact.bits_per_weight)
    )

"""Cases, a type for each kind of work, with ids that stay the same for the same inputs.

Knows what makes two cases one. Plans none and runs none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgebench.records.artifact import Artifact
from edgebench.records.formats import FORMATS
from edgebench.records.settings import Settings, Workload
from edgebench.records.task import Task, TextTask
from edgebench.stats.sequential import LAST_SHARE


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
    """A level's race against its reference; `rivals` levels share the chance of error.

    `last_share` of it is kept for the look at all items.
    """

    reference: Artifact
    tolerance: float
    rivals: int
    last_share: float = LAST_SHARE


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
    reference_settings: Settings = field(default_factory=Settings)

    @property
    def work(self) -> str:
        """Name what is done."""
        return self.task.name

    @property
    def is_reference(self) -> bool:
        """Return whether it is the reference itself: its bytes with its settings."""
        subject = self.subject
        same = subject.settings == self.reference_settings
        return same and subject.artifact.sha256 == self.reference.sha256


Case = SpeedCase | ItemsCase | TextCase


def label(case: Case, settings: str = "") -> str:
    """Name a case for a person, who sees several at once: artifact, work, what it was set to."""
    name = f"{case.subject.artifact.name} {case.work}"
    return f"{name} ({settings})" if settings else name


def settings_words(cases: Sequence[Case]) -> dict[Settings, str]:
    """Return how each choice of settings differs from the others of a plan: `threads=2`."""
    return settings_apart([case.subject.settings for case in cases])


def settings_apart(several_times: Sequence[Settings]) -> dict[Settings, str]:
    """Return how each choice of settings differs from the others: `threads=2`."""
    chosen = list(dict.fromkeys(several_times))
    told = [settings.model_dump() for settings in chosen]
    several = (
        [name for name in told[0] if len({fields[name] for fields in told}) > 1] if told else []
    )
    return {
        settings: ", ".join(f"{name}={fields[name]}" for name in several)
        for settings, fields in zip(chosen, told, strict=True)
    }


def case_id(case: Case, runtime_version: str) -> str:
    """Return the case's id: the same for the same inputs, another for any change of them.

    Repetitions and launches are left out: more of them are a better measurement of the same case.
    """
    artifact = case.subject.artifact
    what: dict[str, object] = {
        "artifact": [artifact.sha256, *sorted(artifact.files.values())],
        "device": case.subject.device,
        "runtime": [case.subject.runtime, runtime_version],
        "settings": settings_inputs(case.subject.settings),
        "workload": None,
        "task": None,
        **_own_inputs(case),
    }
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return digest[:16]


def settings_inputs(settings: Settings) -> dict[str, object]:
    """Return what of the settings decides a case; one that came later counts where it is set."""
    return settings.model_dump(exclude=None if settings.cores else {"cores"})


def _own_inputs(case: Case) -> dict[str, object]:
    """Return what decides a case beside its subject."""
    if isinstance(case, SpeedCase):
        late = set() if case.workload.duration_s else {"duration_s"}
        workload = case.workload.model_dump(exclude={"repetitions", "launches", "name"} | late)
        # Before 0.2 decode started at the workload's depth: that was another measurement.
        inputs: dict[str, object] = {"workload": workload | {"decode_from": "prompt"}}
        return inputs | ({"meters": list(case.meters)} if case.meters != ("auto",) else {})
    if isinstance(case, TextCase):
        task = [case.task.name, case.task.sha256, case.task.chunks]
        inputs = {"task": task, "against": [case.reference.sha256, None, 0]}
        if case.reference_settings != case.subject.settings:
            inputs["reference_settings"] = settings_inputs(case.reference_settings)
        return inputs
    inputs = {"task": [case.task.name, case.task.metric, case.task.sha256]}
    if case.race:
        race = case.race
        last = [] if race.last_share == LAST_SHARE else [race.last_share]
        inputs["against"] = [race.reference.sha256, race.tolerance, race.rivals, *last]
    return inputs


def reference_of(artifacts: Sequence[Artifact]) -> Artifact:
    """Return what the others are held against: the checkpoint in torch, else the most bits."""
    return max(
        artifacts, key=lambda artifact: (artifact.format == "torch", artifact.bits_per_weight)
    )

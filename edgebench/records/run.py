"""The records that cross modules: artifact, device, workload, run, and what they hold.

Knows their fields, their schema version and how they read from JSON. Knows nothing of how a
figure is measured or judged. All records are frozen; missing is None, with a reason beside it.
Sizes are bytes, times seconds, energy joules, unless a name ends in another unit.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from edgebench.records.accuracy import Accuracy, Divergence, ItemResult
from edgebench.records.artifact import Artifact
from edgebench.records.base import Amount, Record, Text, Told, Whole
from edgebench.records.device import Conditions, DeviceInfo, RuntimeInfo
from edgebench.records.energy import Energy, Timeline
from edgebench.records.settings import Settings, Workload
from edgebench.records.speed import Launch, Memory, Speed
from edgebench.records.timing import Timing

Status = Literal["ok", "oom", "crashed", "timeout", "unsupported", "failed"]


class RunError(Record):
    """Why a case has no figures."""

    type: Text
    message: Told
    hint: Told = ""
    signal: Whole | None = None


class Run(Record):
    """The record of one case: one line of JSON."""

    schema_: Literal["edgebench.run/1"] = Field(default="edgebench.run/1", alias="schema")
    run_id: Text
    case_id: Text
    created: Text = Field(description="UTC, ISO 8601")
    status: Status
    error: RunError | None = None
    artifact: Artifact
    device: DeviceInfo
    conditions: Conditions = Conditions()
    runtime: RuntimeInfo | None = None
    settings: Settings = Settings()
    workload: Workload | None = None
    task: Text | None = None
    speed: Speed | None = None
    memory: Memory | None = None
    energy: tuple[Energy, ...] = ()
    energy_reason: Told | None = None
    timelines: tuple[Timeline, ...] = Field(
        default=(), description="the readings that energy was computed from"
    )
    accuracy: Accuracy | None = None
    divergence: Divergence | None = None
    absent: dict[Text, Told] = Field(
        default={}, description="figures that could not be computed of what was read -> why"
    )
    launches: tuple[Launch, ...] = Field(
        default=(), description="what was read, where no speed is made of it"
    )
    answers: tuple[ItemResult, ...] = Field(
        default=(), description="what was answered, where no accuracy is made of it"
    )
    wall_s: Amount = 0.0
    timing: Timing | None = Field(default=None, description="of wall_s; None in runs before 0.2")

    @property
    def label(self) -> str:
        """Name what the run measured."""
        return self.workload.name if self.workload else (self.task or "")

    def to_line(self) -> str:
        """Return the run as one line of JSON, without a newline."""
        return self.model_dump_json(by_alias=True)


def run_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a run."""
    schema = Run.model_json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}

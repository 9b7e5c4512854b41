"""A machine, its condition at one moment, and the runtime that ran there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from edgebench.records.base import Count, Positive, Real, Record, Text, Told, Whole
from edgebench.records.energy import Calibration
from edgebench.records.settings import Settings


class DeviceInfo(Record):
    """The machine that a run was measured on."""

    name: Text = Field(default="", description="its name in devices.yaml")
    board: Text | None = None
    soc: Text | None = None
    cpu: Text | None = None
    gpu: Text | None = None
    memory_bytes: Count | None = None
    os: Text | None = None
    kernel: Text | None = None
    l4t: Text | None = None
    power_mode: Text | None = None
    machine: Text | None = Field(
        default=None, description="a salted hash of what tells this piece of hardware from others"
    )


class Snapshot(Record):
    """The machine's condition at one moment; None where this machine does not tell."""

    governor: Text | None = None
    clocks_hz: dict[Text, Real] = Field(default={}, description="cpuN, gpu, memory")
    min_clocks_hz: dict[Text, Real] = Field(default={})
    max_clocks_hz: dict[Text, Real] = Field(default={})
    temperature_c: dict[Text, Real] = Field(default={})
    throttled: bool | None = Field(default=None, description="now, not at some time before")
    throttled_before: bool | None = Field(
        default=None, description="at some time since the machine started (Raspberry Pi)"
    )
    power_mode: Text | None = None
    clocks_fixed: bool | None = Field(default=None, description="jetson_clocks")
    load: Real | None = None
    free_bytes: Count | None = None
    swap_used_bytes: Count | None = None
    on_battery: bool | None = None


class Conditions(Record):
    """Snapshots around a case and what they warn of."""

    before: Snapshot = Snapshot()
    loaded: Snapshot | None = Field(
        default=None, description="read while the processor was at work, in the last launch"
    )
    after: Snapshot = Snapshot()
    warnings: tuple[Told, ...] = ()


class RuntimeInfo(Record):
    """The runtime that ran the case, with what it really took of the settings."""

    name: Text
    version: Text
    build: Text
    provider: Text
    provider_nodes: dict[Text, Real] = Field(
        default={}, description="execution provider -> the share of nodes that it really took"
    )
    threads: Count
    gpu_layers: Whole
    kv_type: Text
    flash_attention: Text
    batch: Count
    micro_batch: Count
    context: Count
    load_mode: Text = "auto"

    @property
    def worked_on(self) -> str:
        """Return what evaluated the model, as energy's sources are held against it."""
        return "gpu" if self.gpu_layers else self.provider


class DeviceEntry(Record):
    """An entry of devices.yaml; one of a later file changes only the fields that it names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["cpu", "cuda", "family", "board"] = "board"
    description: Annotated[str, Field(max_length=200)] = ""
    family: Text | None = None
    match: tuple[Text, ...] = ()
    match_cpu: tuple[Text, ...] = ()
    soc: Text | None = None
    cpu: Text | None = None
    gpu: Text | None = None
    memory_gib: Positive | None = None
    bandwidth_gb_s: dict[Text, Positive] = Field(default={})
    peak_tops: dict[Text, Positive] = Field(default={})
    sensors: tuple[Text, ...] = ()
    extras: tuple[Text, ...] = ()
    host: Text | None = None
    settings: Settings = Settings()
    calibration: dict[Text, Calibration] = Field(
        default={}, description="source of energy -> its line to a wall meter"
    )

"""A contract: what a deployment demands, as a person writes it down in one YAML file.

Knows its fields, what goes with what, and the line on which a wrong one stands. How a limit's unit
is read is given. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from edgebench.analyze.constraints import Constraints, Percentile
from edgebench.errors import BadFileError, UsageError, nearest
from edgebench.plan.workloads import parse_workload
from edgebench.records.base import Record, Told
from edgebench.records.faults import UNKNOWN_FIELD, Fault, first_fault
from edgebench.sources.yaml_lines import LinedYaml, load_yaml

Unit = Callable[[object], float]  # raises ValueError on what isn't a number with that unit
MOST = 100  # workloads or tasks: people type these
OF_ARTIFACTS = ("max_size", "max_accuracy_loss", "min_accuracy", "max_divergence")


def _read(value: object, info: ValidationInfo) -> object:
    """Read a limit, or a limit for each of several, with the unit of its name."""
    unit = (info.context or {}).get(info.field_name)
    if value is None:
        raise ValueError("it has no value")
    if unit is None:
        return value
    if isinstance(value, dict):
        return {str(name): unit(limit) for name, limit in value.items()}
    return unit(value)


Limit = Annotated[float | None, BeforeValidator(_read)]


class Limits(Record):
    """What is demanded, by the names of pick's options."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )

    max_memory: Limit = None
    max_size: Limit = None
    min_decode: Limit = None
    min_prefill: Limit = None
    max_ttft: Limit = None
    max_latency: Annotated[dict[Percentile, float], BeforeValidator(_read)] = Field(default={})
    max_energy: Limit = None
    max_accuracy_loss: Limit = None
    min_accuracy: Annotated[dict[Told, float], BeforeValidator(_read)] = Field(
        default={}, max_length=MOST
    )
    max_divergence: Limit = None

    @property
    def given(self) -> set[str]:
        """Return the names of those that are limited."""
        return {name for name, limit in self if limit is not None and limit != {}}

    def over(self, other: Limits) -> Limits:
        """Return these limits, and another's where these have none."""
        return other.model_copy(update={name: getattr(self, name) for name in self.given})

    @property
    def of_workloads(self) -> Constraints:
        """Return those that a workload's speed, memory and energy are held against."""
        return Constraints(
            max_memory_bytes=self.max_memory,
            min_decode_tokens_per_s=self.min_decode,
            min_prefill_tokens_per_s=self.min_prefill,
            max_ttft_s=self.max_ttft,
            max_latency_s=self.max_latency,
            max_energy_j=self.max_energy,
        )

    @property
    def of_artifacts(self) -> Constraints:
        """Return those on size and answers, which are the same at every workload."""
        return Constraints(
            max_size_bytes=self.max_size,
            max_accuracy_loss=self.max_accuracy_loss,
            min_accuracy=self.min_accuracy,
            max_divergence=self.max_divergence,
        )


class Contract(Record):
    """What a deployment demands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contract: Literal["edgebench.contract/1"] = "edgebench.contract/1"
    device: Told
    artifact: Told = Field(default="any", description="a name, sha256:HEX, a path, or any")
    baseline: Told | None = Field(default=None, description="the level that loss is counted from")
    confidence: Annotated[float, BeforeValidator(_read), Field(ge=0.5, le=0.9999)] = 0.95
    constraints: Limits = Limits()
    workloads: dict[Told, Limits] = Field(default={}, max_length=MOST)
    tasks: tuple[Told, ...] = Field(default=(), max_length=MOST)

    @field_validator("workloads", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        """Let `[chat, rag]` stand for workloads without demands of their own."""
        if isinstance(value, list):
            if not all(isinstance(name, str) for name in value):
                raise ValueError("write [chat, rag], or chat: and its limits beneath")
            return {name: {} for name in value}
        if isinstance(value, dict):
            return {name: {} if limits is None else limits for name, limits in value.items()}
        return value

    @field_validator("tasks", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("workloads")
    @classmethod
    def _are_workloads(cls, value: dict[str, Limits]) -> dict[str, Limits]:
        for name, limits in value.items():
            try:
                if parse_workload(name, 1, 1) is None:
                    raise ValueError("none is no workload")
            except UsageError as error:
                raise ValueError(f"{error.message}; {error.hint}") from None
            if wrong := limits.given & set(OF_ARTIFACTS):
                raise ValueError(
                    f"{_typed(min(wrong))} is the same at every workload: move it to constraints"
                )
        return value

    @model_validator(mode="after")
    def _demands_something(self) -> Contract:
        timed = self.constraints.given - set(OF_ARTIFACTS)
        if timed and not self.workloads:
            raise ValueError(f"{_typed(min(timed))} is held at a workload: add workloads: [chat]")
        given = self.constraints.given.union(*(own.given for own in self.workloads.values()))
        if not given:
            raise ValueError("nothing is demanded: add constraints")
        return self


def _typed(name: str) -> str:
    return name.replace("_", "-")


def read_contract(path: Path, units: Mapping[str, Unit]) -> tuple[Contract, LinedYaml]:
    """Read a contract and where its fields stand.

    `units` reads each limit by its field's name. Raises BadFileError with line and field.
    """
    lined = load_yaml(path)
    if not isinstance(lined.data, dict):
        raise BadFileError(f"{path} isn't a contract", hint="write device: and constraints: there")
    try:
        return Contract.model_validate(lined.data, context=dict(units)), lined
    except ValidationError as error:
        raise _fault(path, error, lined) from None


def _fault(path: Path, error: ValidationError, lined: LinedYaml) -> BadFileError:
    fault = Fault.of(error)
    place = f"{path}, line {lined.line(*fault.keys)}"
    if fault.kind == UNKNOWN_FIELD:
        model = Contract if len(fault.keys) == 1 else Limits
        known = [info.alias or name for name, info in model.model_fields.items()]
        hint = nearest(str(fault.keys[-1]), known)
        return BadFileError(f"{place}, {fault.field}: no such field", hint=hint)
    if fault.kind == "missing":
        return BadFileError(f"{path}: {fault.field} is missing", hint=f"write {fault.field}: there")
    return BadFileError(f"{place}, {first_fault(error, 'the contract')}")

"""What a case asks for: the runtime's settings, and a workload's tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from edgebench.records.base import Record, Text


class Settings(Record):
    """What the runtime is asked for, as llama-bench names and defaults it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: Annotated[int, Field(ge=0, le=1024)] = Field(
        default=0, description="0: the physical cores, or the big ones where they differ"
    )
    gpu_layers: Annotated[int, Field(ge=-1, le=1_000_000)] = Field(
        default=0, description="-1: all layers"
    )
    batch: Annotated[int, Field(ge=1, le=65536)] = 2048
    micro_batch: Annotated[int, Field(ge=1, le=65536)] = 512
    flash_attention: Literal["auto", "on", "off"] = "auto"
    kv_type: Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"] = "f16"
    load_mode: Literal["auto", "none", "mmap", "mlock"] = "auto"
    cores: Annotated[
        str, Field(max_length=1000, pattern=r"^(\d{1,4}(-\d{1,4})?(\+\d{1,4}(-\d{1,4})?)*)?$")
    ] = Field(
        default="", description="the cores that the worker is pinned to, such as 4-7 or 0-1+4"
    )
    provider: Literal["cpu", "cuda", "tensorrt", "xnnpack", "coreml", "directml", "qnn"] = Field(
        default="cpu", description="onnxruntime's execution provider, torch's device"
    )


# Settings that leave a model's answers as they are.
NOT_ARITHMETIC = frozenset({"threads", "load_mode", "cores"})


class Workload(Record):
    """Prompt tokens after `depth` tokens of context, and tokens generated after the prompt."""

    name: Text
    prompt_tokens: Annotated[int, Field(ge=1, le=10_000_000)]
    generate_tokens: Annotated[int, Field(ge=1, le=10_000_000)]
    depth: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    repetitions: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=5, description="in each launch"
    )
    launches: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="worker processes that each measure the repetitions"
    )

    duration_s: Annotated[float, Field(ge=1, le=86_400)] | None = Field(
        default=None, description="of a sustained workload: it is repeated for so long"
    )

    @property
    def decode_from(self) -> int:
        """Return the tokens of context at which decode starts: where the prompt ends."""
        return self.depth + self.prompt_tokens

    @property
    def context(self) -> int:
        """Return the KV cells that the workload needs, the generated tokens included."""
        return self.decode_from + self.generate_tokens

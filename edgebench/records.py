"""The records that cross modules: artifact, device, workload, run, and what they hold.

Knows their fields, their schema version and how they read from JSON. Knows nothing of how a
figure is measured or judged. All records are frozen; missing is None, with a reason beside it.
Sizes are bytes, times seconds, energy joules, unless a name ends in another unit.
"""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=0)]
Real = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=10_000)]
LongText = Annotated[str, Field(max_length=200_000)]

MIN_PERIODS = 20  # of a sensor; a shorter window has no figure
Status = Literal["ok", "oom", "crashed", "timeout", "unsupported", "failed"]


def safe_name(text: str) -> str:
    """Make a name from elsewhere safe in a path: letters, digits, dot, dash and underscore.

    It is never empty or hidden, and has at most 120 characters.
    """
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")
    return cleaned[:120] or "model"


class Record(BaseModel):
    """A frozen record; fields it does not know are ignored, so a newer minor version reads."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Estimate(Record):
    """A figure with its interval: 95 % unless `method` says otherwise."""

    value: Real
    low: Real
    high: Real
    n: Count
    method: Text


class ExportCheck(Record):
    """How far an export's log-probabilities lie from the reference's, on a few prompts."""

    reference: Text
    prompts: Count
    tokens: Count
    max_logprob_difference: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    same_top: Annotated[float, Field(ge=0, le=1)]
    tolerance: Real


class Artifact(Record):
    """One model at one level in one format."""

    name: Text
    model: Text
    format: Literal["gguf", "onnx", "torch", "fake"]
    level: Text
    path: Text
    sha256: Text
    files: dict[str, Text] = Field(
        default={}, description="other files of the artifact -> their sha256"
    )
    size_bytes: Count
    parameters: Count
    bits_per_weight: Real
    tensor_types: dict[str, Count] = Field(description="tensor type -> number of tensors")
    fallback_tensors: dict[str, str] | None = Field(
        description="tensor -> type written in place of the one the level's name promises; "
        "None where the artifact was not made here, so that nobody counted"
    )
    requantized_from: str | None = Field(
        default=None, description="level of the already quantized model it was made from"
    )
    architecture: Text = ""
    context_length: Count = 0
    export_check: ExportCheck | None = None
    notes: tuple[Text, ...] = ()


class Settings(Record):
    """What the runtime is asked for, as llama-bench names and defaults it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: Annotated[int, Field(ge=0, le=1024)] = Field(
        default=0, description="0: the physical cores, or the big ones where they differ"
    )
    gpu_layers: Annotated[int, Field(ge=-1)] = Field(default=0, description="-1: all layers")
    batch: Annotated[int, Field(ge=1, le=65536)] = 2048
    micro_batch: Annotated[int, Field(ge=1, le=65536)] = 512
    flash_attention: Literal["auto", "on", "off"] = "auto"
    kv_type: Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"] = "f16"
    load_mode: Literal["auto", "none", "mmap", "mlock"] = "auto"
    provider: Literal["cpu", "cuda", "tensorrt", "xnnpack", "coreml", "directml", "qnn"] = Field(
        default="cpu", description="onnxruntime's execution provider, torch's device"
    )


class Workload(Record):
    """Prompt tokens and generated tokens, each measured from `depth` tokens of context."""

    name: Text
    prompt_tokens: Annotated[int, Field(ge=1, le=10_000_000)]
    generate_tokens: Annotated[int, Field(ge=1, le=10_000_000)]
    depth: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    repetitions: Annotated[int, Field(ge=1, le=1000)] = 5

    @property
    def context(self) -> int:
        """Return the KV cells that the workload needs."""
        return self.depth + max(self.prompt_tokens, self.generate_tokens)


class DeviceInfo(Record):
    """The machine that a run was measured on."""

    name: Text
    board: Text | None = None
    soc: Text | None = None
    cpu: Text | None = None
    gpu: Text | None = None
    memory_bytes: Count | None = None
    os: Text | None = None
    kernel: Text | None = None
    l4t: Text | None = None
    power_mode: Text | None = None


class Snapshot(Record):
    """The machine's condition at one moment; None where this machine does not tell."""

    governor: Text | None = None
    clocks_hz: dict[str, Real] = Field(default={}, description="cpuN, gpu, memory")
    min_clocks_hz: dict[str, Real] = {}
    max_clocks_hz: dict[str, Real] = {}
    temperature_c: dict[str, Real] = {}
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
    after: Snapshot = Snapshot()
    warnings: tuple[Text, ...] = ()


class RuntimeInfo(Record):
    """The runtime that ran the case, with what it really took of the settings."""

    name: Text
    version: Text
    build: Text
    provider: Text
    provider_nodes: dict[str, Real] = Field(
        default={}, description="execution provider -> the share of nodes that it really took"
    )
    threads: Count
    gpu_layers: int
    kv_type: Text
    flash_attention: Text
    batch: Count
    micro_batch: Count
    context: Count
    load_mode: Text = "auto"


class PhaseSpeed(Record):
    """Tokens per second of one phase, with every repetition's seconds."""

    tokens_per_s: Estimate
    samples_s: tuple[Positive, ...]
    tokens: Count


class Percentiles(Record):
    """Percentiles over all single-token latencies, in seconds."""

    p50: Positive
    p90: Positive
    p99: Positive


class Speed(Record):
    """What a workload took: load, prefill, decode, first token, each token."""

    load_s: Real
    prefill: PhaseSpeed
    decode: PhaseSpeed
    ttft_s: Estimate
    token_latency_s: Percentiles


class Memory(Record):
    """Memory of the worker process; file-backed pages apart, since the kernel may drop them."""

    peak_rss_bytes: Count | None = None
    anonymous_bytes: Count | None = None
    file_bytes: Count | None = None
    vram_bytes: Count | None = None
    weights_bytes: Count | None = None
    kv_cache_bytes: Count | None = None
    system_delta_bytes: int | None = None


class Series(Record):
    """One rail's readings on the worker's monotonic clock: watts, or joules of a counter."""

    rail: Text
    unit: Literal["W", "J"]
    kind: Literal["measured", "derived", "estimated"]
    wrap_j: Real | None = None
    t_ns: tuple[int, ...]
    values: tuple[Real, ...]

    @model_validator(mode="after")
    def _in_order(self) -> Series:
        if len(self.t_ns) != len(self.values):
            raise ValueError("times and values are not as many")
        if any(b < a for a, b in itertools.pairwise(self.t_ns)):
            raise ValueError("times are not in order")
        return self


class Window(Record):
    """A phase's start and end on that clock, and the tokens that were evaluated in it."""

    phase: Literal["idle", "prefill", "decode"]
    start_ns: int
    end_ns: int
    tokens: Count = 0
    repetition_tokens: Count = 0

    @property
    def seconds(self) -> float:
        """Return the window's length."""
        return (self.end_ns - self.start_ns) / 1e9


class Total(Record):
    """A source of energy: the rails that add up to it, none where no sum may be claimed."""

    source: Text
    rails: tuple[Text, ...]
    kind: Literal["measured", "derived", "estimated"]


class Timeline(Record):
    """What one meter gave while phases ran."""

    period_s: Positive
    read_s: Real = 0.0
    totals: tuple[Total, ...]
    series: tuple[Series, ...]
    windows: tuple[Window, ...]
    errors: tuple[Text, ...] = ()


class PhaseEnergy(Record):
    """Joules of one phase of one repetition, with idle power (gross) and without it (net)."""

    gross_j: Estimate
    net_j: Estimate | None = None
    j_per_token: Estimate
    net_j_per_token: Estimate | None = None
    windows: Count = 0


class Energy(Record):
    """Energy from one source."""

    source: Text
    rails: tuple[Text, ...]
    kind: Literal["measured", "derived", "estimated"]
    period_s: Positive
    idle_w: Estimate | None = None
    idle_drift_w: Real | None = Field(default=None, description="idle after minus idle before")
    prefill: PhaseEnergy | None = None
    decode: PhaseEnergy | None = None
    rail_w: dict[str, Real] = Field(default={}, description="rail -> mean watts while decoding")
    reason: Text | None = Field(default=None, description="why a figure is absent")
    warnings: tuple[Text, ...] = ()


class Skip(Record):
    """An item that was not answered, and why."""

    id: Text
    reason: Text


class ItemResult(Record):
    """One item's answer: the choice taken and the log-likelihood of each, or what was generated."""

    id: Text
    correct: bool
    chosen: Count | None = None
    loglikelihoods: tuple[Real, ...] = ()
    answer: Text | None = None
    cluster: Text = ""


class RaceResult(Record):
    """Where a race against the reference stopped, and why."""

    reference: Text = Field(description="the reference artifact's name")
    tolerance: Real
    verdict: Literal["within", "outside", "open"]
    items: Count
    population: Count
    bounds: Estimate = Field(description="of the mean difference, valid at any stopping time")
    reason: Text


class Accuracy(Record):
    """A task's result, with every item."""

    task: Text
    task_sha256: Text
    metric: Text
    n: Count
    value: Estimate
    chance: Real
    majority: Real | None = Field(
        default=None, description="what the most frequent answer alone gets, where choices repeat"
    )
    items: tuple[ItemResult, ...]
    skipped: tuple[Skip, ...] = ()
    population: Count | None = Field(
        default=None, description="the task's items, where a race left some of them unasked"
    )
    race: RaceResult | None = None


class Divergence(Record):
    """How far a level's next-token distributions lie from the reference's, over shared chunks."""

    reference: Text = Field(description="the reference artifact's name")
    reference_sha256: Text
    text: Text = Field(description="the task that named the text")
    text_sha256: Text
    chunks: Count
    tokens: Count = Field(description="tokens whose distributions were compared")
    mean_kld: Estimate | None = Field(description="nats; None for the reference itself")
    p99_kld: Real | None = None
    same_top: Estimate | None = None
    perplexity: Positive
    bits_per_byte: Positive
    least_kld: Real | None = Field(
        default=None, description="nats; a lower bound that takes no sample of unlikely tokens"
    )
    truncated_mass: Real = Field(
        description="the reference's mean mass that is kept as a sample, not token by token"
    )
    chunk_klds: tuple[Real, ...] = ()


class RunError(Record):
    """Why a case has no figures."""

    type: Text
    message: Text
    hint: Text = ""
    signal: int | None = None


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
    energy_reason: Text | None = None
    timelines: tuple[Timeline, ...] = Field(
        default=(), description="the readings that energy was computed from"
    )
    accuracy: Accuracy | None = None
    divergence: Divergence | None = None
    wall_s: Real = 0.0

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

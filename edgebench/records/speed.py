"""The figures of a workload: seconds by launch, tokens per second, memory."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgebench.records.base import (
    Amount,
    Count,
    Figure,
    Positive,
    Rate,
    Real,
    Record,
    Text,
    Whole,
)
from edgebench.records.device import Snapshot

Seconds = Annotated[tuple[Positive, ...], Field(min_length=1)]


class Memory(Record):
    """Memory of the worker process; file-backed pages apart, since the kernel may drop them."""

    peak_rss_bytes: Count | None = None
    anonymous_bytes: Count | None = None
    file_bytes: Count | None = None
    vram_bytes: Count | None = None
    weights_bytes: Count | None = None
    kv_cache_bytes: Count | None = None
    system_delta_bytes: Whole | None = None


class PhaseSpeed(Record):
    """Tokens per second of one phase, with every repetition's seconds."""

    tokens_per_s: Rate
    samples_s: tuple[Positive, ...]
    tokens: Annotated[Count, Field(ge=1)]


class Percentiles(Record):
    """Percentiles over all single-token latencies, in seconds."""

    p50: Positive
    p90: Positive
    p99: Positive


class Moment(Record):
    """How the machine felt in the course of a sustained workload."""

    at_s: Amount
    hottest_c: Real | None = None
    clock_hz: Amount | None = Field(default=None, description="of the fastest core")
    throttled: bool | None = None


class Sustained(Record):
    """How the speed of a workload that goes on went: cool at the start, warm at the end."""

    lasted_s: Amount
    trials: Count
    start_tokens_per_s: Amount
    end_tokens_per_s: Amount
    onset_s: Amount | None = Field(
        default=None, description="when decode fell by more than 5 % for good; None: it did not"
    )
    hottest_c: Real | None = None
    throttled_s: Amount | None = Field(
        default=None, description="when the machine first said that it throttles itself"
    )
    end_j_per_token: Figure | None = None


class Launch(Record):
    """One worker process's share of a case: its loading, and every repetition's seconds."""

    round: Text = Field(description="shared by the levels that were measured in the same round")
    turn: Count = Field(default=0, description="the level's place in its round, from 0")
    load_s: Amount
    prefill_s: Seconds
    ttft_s: Seconds
    decode_s: Seconds
    token_s: tuple[Positive, ...] = Field(
        description="of each generated token, over repetitions; of more than 20,000 a random part"
    )
    warm_up_rounds: Count
    settled: bool = Field(description="whether the last rounds of the warm-up agreed")
    memory: Memory
    before: Snapshot = Snapshot()
    loaded: Snapshot = Field(default=Snapshot(), description="read while the processor was at work")
    after: Snapshot = Snapshot()
    foreign_cpu: Amount | None = Field(
        default=None, description="processors that other programs kept busy during the repetitions"
    )
    at_s: tuple[Amount, ...] = Field(
        default=(), description="of a sustained workload: when each repetition began"
    )
    course: tuple[Moment, ...] = ()


class Speed(Record):
    """What a workload took: load, prefill, decode, first token, each token.

    Figures are over launches, each launch's own being the median of its repetitions.
    """

    load_s: Amount
    prefill: PhaseSpeed
    decode: PhaseSpeed
    ttft_s: Rate
    token_latency_s: Percentiles
    decode_from: Count | None = Field(
        default=None,
        description="tokens of context at which decode starts; None: at the workload's depth, as "
        "runs before 0.2 had it",
    )
    launches: tuple[Launch, ...] = Field(
        default=(), description="empty in runs before 0.2, which had one launch"
    )
    sustained: Sustained | None = None
    discarded: Count = Field(default=0, description="launches that were measured again")

"""The figures of a workload: seconds, tokens per second, memory."""

from __future__ import annotations

from edgebench.records.base import Count, Estimate, Positive, Real, Record


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

"""The memory that a deployment takes, from what its launches took: pure.

Knows weights, KV cache, buffers and a GPU's memory, and when a part of them can't be seen. Knows
no limits.
"""

from __future__ import annotations

from edgebench.records.base import Count, Record, Text
from edgebench.records.run import Run
from edgebench.records.speed import Memory

IN_PROCESS = ("cpu", "xnnpack")  # providers whose memory is all the process's own


class Deployment(Record):
    """Bytes of weights, KV cache at the workload's context, buffers and a GPU's memory.

    `total_bytes` is the largest of `n` launches, None with a `reason` where a part was not seen;
    `at_least_bytes` is what was seen.
    """

    total_bytes: Count | None
    at_least_bytes: Count
    vram_bytes: Count | None
    n: Count
    reason: Text | None = None


def deployment_bytes(run: Run) -> Deployment | None:
    """Return what a run's model took in all; None where no memory was read."""
    launches = run.speed.launches if run.speed else ()
    readings = [launch.memory for launch in launches]
    if run.memory:
        readings.append(run.memory)
    if not readings:
        return None
    on_gpu = _is_on_gpu(run)
    seen = max(_seen(memory, on_gpu) for memory in readings)
    vram = max((memory.vram_bytes for memory in readings if memory.vram_bytes), default=None)
    reason = None
    if on_gpu and vram is None:
        reason = "the GPU's memory was not read"
    elif all(memory.peak_rss_bytes is None for memory in readings):
        reason = "the process's memory was not read"
    return Deployment(
        total_bytes=None if reason else seen,
        at_least_bytes=seen,
        vram_bytes=vram,
        n=max(1, len(launches)),
        reason=reason,
    )


def _is_on_gpu(run: Run) -> bool:
    """Return whether a part of the model may lie in memory that the process's own doesn't show."""
    if run.runtime:
        return run.runtime.gpu_layers != 0 or run.runtime.provider not in IN_PROCESS
    return run.settings.gpu_layers != 0 or run.settings.provider not in IN_PROCESS


def _seen(memory: Memory, on_gpu: bool) -> int:
    """Return the bytes that one reading accounts for.

    On a processor the resident size holds weights and cache, but for pages that were not touched.
    """
    resident = memory.peak_rss_bytes or 0
    stated = (memory.weights_bytes or 0) + (memory.kv_cache_bytes or 0)
    vram = memory.vram_bytes or 0
    return max(resident + vram, stated) if on_gpu else max(resident, stated) + vram

"""Small records for tests: every field has a value, and a test names only what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgebench.records.accuracy import Accuracy, ItemResult
from edgebench.records.artifact import Artifact
from edgebench.records.base import Estimate
from edgebench.records.device import DeviceInfo, RuntimeInfo
from edgebench.records.energy import Energy, PhaseEnergy
from edgebench.records.run import Run
from edgebench.records.settings import Workload
from edgebench.records.speed import Launch, Memory, Percentiles, PhaseSpeed, Speed
from edgebench.stats.estimates import proportion_estimate


def make_estimate(value: float, margin: float = 0.0, n: int = 5) -> Estimate:
    """Return an estimate of `value`, `margin` to either side."""
    return Estimate(value=value, low=value - margin, high=value + margin, n=n, method="known")


def make_artifact(**changes: Any) -> Artifact:
    """Return an artifact; its name and sha256 follow from model and level unless given."""
    level = changes.get("level", "q8_0")
    model = changes.get("model", "tiny")
    fields: dict[str, Any] = {
        "name": f"{model}-{level}",
        "model": model,
        "format": "fake",
        "level": level,
        "path": f"/models/{model}-{level}.json",
        "sha256": f"sha of {model}-{level}",
        "size_bytes": 1000,
        "parameters": 1000,
        "bits_per_weight": 8.0,
        "tensor_types": {"q8_0": 3},
        "fallback_tensors": {},
    }
    return Artifact(**(fields | changes))


def make_workload(**changes: Any) -> Workload:
    """Return a workload of 64 prompt tokens and 32 generated ones."""
    fields: dict[str, Any] = {"name": "short", "prompt_tokens": 64, "generate_tokens": 32}
    return Workload(**(fields | changes))


def make_runtime(**changes: Any) -> RuntimeInfo:
    """Return what the fake runtime says of itself."""
    fields: dict[str, Any] = {
        "name": "fake",
        "version": "1",
        "build": "fake",
        "provider": "cpu",
        "threads": 1,
        "gpu_layers": 0,
        "kv_type": "f16",
        "flash_attention": "auto",
        "batch": 2048,
        "micro_batch": 512,
        "context": 64,
    }
    return RuntimeInfo(**(fields | changes))


def make_launch(
    name: str, decode: float, prefill: float = 128.0, ttft_s: float = 0.5, **changes: Any
) -> Launch:
    """Return a launch of round `name` in which 64 tokens are read and 32 generated, once."""
    seconds = 32 / decode
    fields: dict[str, Any] = {
        "round": name,
        "load_s": 0.1,
        "prefill_s": (64 / prefill,),
        "ttft_s": (ttft_s,),
        "decode_s": (seconds,),
        "token_s": (seconds / 32,) * 32,
        "warm_up_rounds": 2,
        "settled": True,
        "memory": Memory(peak_rss_bytes=1_000_000),
    }
    return Launch(**(fields | changes))


def make_launches(decode: float, margin: float, ttft_s: float = 0.5) -> tuple[Launch, ...]:
    """Return five launches that spread by `margin` to either side, fastest in other rounds."""
    steps = np.array([0.0, -1.0, 0.5, 1.0, -0.5]) * margin
    shift = int(decode) % 5
    return tuple(
        make_launch(f"round {index}", decode + float(steps[(index + shift) % 5]), ttft_s=ttft_s)
        for index in range(5)
    )


def make_speed(
    decode: float = 20.0,
    margin: float = 0.5,
    ttft_s: float = 0.5,
    launches: Sequence[Launch] | None = None,
) -> Speed:
    """Return the speed of a workload that decodes `decode` tokens a second in five launches.

    `launches=()` makes it one of 0.1.0, which had a single launch and decoded from the start.
    """
    made = make_launches(decode, margin, ttft_s) if launches is None else tuple(launches)
    return Speed(
        load_s=0.1,
        decode_from=64 if made else None,
        launches=made,
        prefill=PhaseSpeed(tokens_per_s=make_estimate(128), samples_s=(0.5,) * 5, tokens=64),
        decode=PhaseSpeed(
            tokens_per_s=make_estimate(decode, margin), samples_s=(32 / decode,) * 5, tokens=32
        ),
        ttft_s=make_estimate(ttft_s),
        token_latency_s=Percentiles(p50=1 / decode, p90=1 / decode, p99=1 / decode),
    )


def make_energy(j_per_token: float, margin: float = 0.0, **changes: Any) -> Energy:
    """Return the energy of one source whose decode costs `j_per_token`."""
    phase = PhaseEnergy(
        gross_j=make_estimate(32 * j_per_token),
        net_j=make_estimate(32 * j_per_token),
        j_per_token=make_estimate(j_per_token, margin),
    )
    fields: dict[str, Any] = {
        "source": "known",
        "rails": ("VDD_IN",),
        "kind": "measured",
        "period_s": 0.1,
        "idle_w": make_estimate(1),
        "decode": phase,
    }
    return Energy(**(fields | changes))


def make_accuracy(correct: Sequence[bool], **changes: Any) -> Accuracy:
    """Return a task's result with the answers given, one item each."""
    fields: dict[str, Any] = {
        "task": "basics",
        "task_sha256": "sha of basics",
        "metric": "acc_norm",
        "n": len(correct),
        "value": proportion_estimate(sum(correct), len(correct)),
        "chance": 0.25,
        "items": tuple(
            ItemResult(id=f"item-{index}", correct=bool(right), chosen=0)
            for index, right in enumerate(correct)
        ),
    }
    return Accuracy(**(fields | changes))


def make_run(**changes: Any) -> Run:
    """Return a good run of a workload; its case follows from artifact and label unless given."""
    fields: dict[str, Any] = {
        "run_id": "run-1",
        "created": "2026-01-01T00:00:00Z",
        "status": "ok",
        "artifact": make_artifact(),
        "device": DeviceInfo(name="cpu"),
        "runtime": make_runtime(),
        "workload": make_workload(),
        "speed": make_speed(),
        "memory": Memory(peak_rss_bytes=1_000_000),
        "energy_reason": "no sensor",
    } | changes
    what = fields["workload"].name if fields["workload"] else fields.get("task")
    return Run(**({"case_id": f"{fields['artifact'].name} {what}"} | fields))


def make_task_run(correct: Sequence[bool], **changes: Any) -> Run:
    """Return a good run of the task `basics` with the answers given."""
    fields: dict[str, Any] = {
        "workload": None,
        "speed": None,
        "task": "basics",
        "accuracy": make_accuracy(correct),
    }
    return make_run(**(fields | changes))

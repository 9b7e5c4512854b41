"""Stored runs with everything a report can draw: energy with its readings, heat, texts, failures.

Figures are made up but hang together: fewer bits are faster, take less memory and lose more.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgebench.records.accuracy import Divergence
from edgebench.records.device import Conditions, DeviceInfo, Snapshot
from edgebench.records.energy import Energy, Series, Timeline, Total, Window
from edgebench.records.run import Run, RunError
from edgebench.records.speed import Launch, Memory
from edgebench.run.store import Store
from support.builders import (
    make_accuracy,
    make_artifact,
    make_energy,
    make_estimate,
    make_launch,
    make_run,
    make_runtime,
    make_speed,
    make_task_run,
    make_workload,
)

MIB = 2**20
BITS = {"f16": 16.0, "q8_0": 8.5, "q6_k": 6.6, "q4_k_m": 4.9, "q4_0": 4.6, "q2_k": 2.9}
SECOND = 1_000_000_000


def make_study(
    device: str = "jetson-orin-nano-8gb",
    models: dict[str, int] | None = None,
    levels: tuple[str, ...] = tuple(BITS),
    threads: tuple[int, ...] = (4,),
    times: float = 1.0,
) -> list[Run]:
    """Return speed, answers and a text of each model (with its parameters), level and thread."""
    return [
        run
        for model, parameters in (models or {"tiny-135m": 135_000_000}).items()
        for level in levels
        for run in _runs(device, model, parameters, level, threads, times)
    ]


def _runs(
    device: str, model: str, parameters: int, level: str, threads: tuple[int, ...], times: float
) -> list[Run]:
    random = np.random.default_rng(abs(hash_of(model + level)))
    size = round(parameters * BITS[level] / 8)
    artifact = make_artifact(
        model=model,
        level=level,
        bits_per_weight=BITS[level],
        size_bytes=size,
        parameters=parameters,
        context_length=8192,
    )
    info = DeviceInfo(
        name=device,
        board=device,
        cpu="Cortex-A78AE, 6 cores",
        memory_bytes=8 * 2**30,
        machine=device,
    )
    conditions = Conditions(warnings=("load was 1.4 before the case",) if level == "q8_0" else ())
    common = {"artifact": artifact, "device": info, "conditions": conditions}
    name = f"{device}-{model}-{level}"
    lost = {"f16": 0, "q8_0": 1, "q6_k": 2, "q4_k_m": 6, "q4_0": 9, "q2_k": 45}[level]
    right = round(220 + 12 * np.log2(parameters / 1e8)) - lost
    answers = [index < right for index in range(300)]
    runs = [
        make_run(
            run_id=f"{name}-{count}",
            case_id=f"{name}-{count}",
            speed=make_speed(launches=_launches(size, count, times, random)),
            runtime=make_runtime(threads=count, context=192),
            workload=make_workload(name="chat", prompt_tokens=128, generate_tokens=64),
            energy=(energy_of(size, count),),
            energy_reason=None,
            timelines=(_timeline(random),),
            wall_s=42.0,
            **common,
        )
        for count in threads
    ]  # fmt: skip
    runs.append(
        make_task_run(answers, run_id=f"{name}-task", accuracy=make_accuracy(answers), **common)
    )
    runs.append(_text_run(name, model, level, common))
    return runs


def energy_of(size: int, threads: int) -> Energy:
    """Return the energy of an artifact of so many bytes."""
    joules = size / 4e9 / threads**0.3
    return make_energy(joules, joules / 15, source="ina", boundary="module")


def hash_of(words: str) -> int:
    """Return a number that is the same in every process."""
    return sum(ord(sign) * 31**place for place, sign in enumerate(words)) % 2**32


def _launches(size: int, threads: int, times: float, random: np.random.Generator) -> list[Launch]:
    rate = times * 9e9 / size * threads**0.6
    launches = []
    for index in range(5):
        pace = rate * (1 + random.normal(0, 0.02))
        token_s = np.abs(random.gamma(60, 1 / 60 / pace, 64)) + 0.1 / pace
        heat = 48.0 + 4 * index + random.normal(0, 0.5)
        launch = make_launch(
            f"round {index}",
            pace,
            prefill=9 * pace,
            ttft_s=14 / pace,
            token_s=tuple(token_s.tolist()),
            memory=Memory(
                peak_rss_bytes=size + 60 * MIB, kv_cache_bytes=5 * MIB, weights_bytes=size
            ),
            before=_snapshot(heat, 1.5e9),
            loaded=_snapshot(heat + 9, 1.5e9 - 4e7 * index, throttled=index == 4),
            after=_snapshot(heat + 6, 1.5e9),
        )
        launches.append(launch)
    return launches


def _snapshot(heat: float, clock: float, throttled: bool = False) -> Snapshot:
    return Snapshot(
        governor="schedutil",
        temperature_c={"cpu": heat, "gpu": heat - 3},
        clocks_hz={"cpu0": clock, "cpu1": clock, "gpu": 6.2e8},
        throttled=throttled,
    )


def _timeline(random: np.random.Generator) -> Timeline:
    """Return 12 seconds of two rails: idle, prefill, decode, prefill, decode, idle."""
    work = [("prefill", 1, 11.0), ("decode", 3, 8.0)]
    plan = [("idle", 2, 4.0), *work, *work, ("idle", 2, 4.2)]
    windows, watts, start = [], [], 0
    for phase, seconds, power in plan:
        end = start + seconds * SECOND
        windows.append(Window(phase=phase, start_ns=start, end_ns=end, tokens=64))
        watts += (power + random.normal(0, 0.15, seconds * 50)).tolist()
        start = end
    t_ns = tuple(int(index * SECOND / 50) for index in range(len(watts)))
    rails = (("VDD_IN", 1.0), ("VDD_CPU_GPU_CV", 0.6))
    series = tuple(
        Series(
            rail=rail,
            unit="W",
            kind="measured",
            t_ns=t_ns,
            values=tuple(share * watt for watt in watts),
        )
        for rail, share in rails
    )
    total = Total(source="ina", rails=("VDD_IN",), kind="measured", boundary="module")
    return Timeline(period_s=0.02, totals=(total,), series=series, windows=tuple(windows))


def _text_run(name: str, model: str, level: str, common: dict[str, object]) -> Run:
    kld = {"f16": 0.0, "q8_0": 0.0006, "q6_k": 0.002, "q4_k_m": 0.02, "q4_0": 0.06, "q2_k": 0.55}
    far = kld[level]
    divergence = Divergence(
        reference=f"{model}-f16",
        reference_sha256=f"sha of {model}-f16",
        text="passages",
        text_sha256="sha of passages",
        chunks=16,
        tokens=4096,
        mean_kld=make_estimate(far, far / 6) if far else None,
        p99_kld=8 * far if far else None,
        same_top=make_estimate(1 - far**0.5 / 2, 0.01) if far else None,
        perplexity=12 * (1 + far),
        bits_per_byte=1.1 + far,
        truncated_mass=0.0,
    )
    return make_run(
        run_id=f"{name}-text",
        workload=None,
        speed=None,
        task="passages",
        divergence=divergence,
        **common,
    )


def make_failure(message: str) -> Run:
    """Return a run that failed."""
    return make_run(
        run_id="failed",
        artifact=make_artifact(model="tiny-135m", level="f32", bits_per_weight=32.0),
        status="oom",
        speed=None,
        memory=None,
        error=RunError(type="OutOfMemoryError", message=message),
        workload=make_workload(name="chat", prompt_tokens=128, generate_tokens=64),
    )


def store(folder: Path, runs: list[Run]) -> None:
    """Write runs as profile does."""
    for run in runs:
        place = Store(folder, run.device.name)
        place.prepare()
        place.append(run)

"""Make runs by the hundred thousand, to see what reading, comparing and picking of so many takes.

A study that is measured over and over, as a nightly job does: models x levels x settings x devices,
each with a speed (5 launches of 128 tokens, a timeline) and tasks of 300 items. A case has a few
bodies, of a seed, in which moments and ids alone differ: their figures are for size, not for
statistics. Folders and files are those of `edgebench profile`.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgebench.records.accuracy import Accuracy, ItemResult
from edgebench.records.artifact import Artifact
from edgebench.records.base import Estimate
from edgebench.records.device import Conditions, DeviceInfo, RuntimeInfo, Snapshot
from edgebench.records.energy import Energy, PhaseEnergy, Series, Timeline, Total, Window
from edgebench.records.run import Run
from edgebench.records.settings import Settings, Workload
from edgebench.records.speed import Launch, Memory, Percentiles, PhaseSpeed, Speed
from edgebench.run.store import Store
from edgebench.stats.estimates import proportion_estimate

LEVELS = {"f16": 16.0, "q8_0": 8.5, "q6_k": 6.6, "q5_k_m": 5.7, "q4_k_m": 4.8, "iq4_xs": 4.3}
BOARDS = ("raspberry-pi-5-8gb", "jetson-orin-nano-8gb", "cpu", "jetson-agx-orin-64gb")
TASKS = ("arc_easy", "hellaswag", "gsm8k")
LAUNCHES, TOKENS, ITEMS, CHOICES = 5, 128, 300, 4
READINGS = 400  # of each rail: 40 s at ten a second
BODIES = 4  # different runs of a case; the others repeat them on another day
FIRST = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
RUN_ID, CREATED = "RUN-ID-TO-FILL-IN", "CREATED-TO-FILL-IN"


@dataclass(frozen=True)
class Study:
    """How many of each there are."""

    models: int
    levels: int
    threads: int
    devices: int
    tasks: int
    seed: int


@dataclass(frozen=True)
class Case:
    """What is measured over and over: an artifact on a device, at a speed or a task."""

    artifact: Artifact
    device: DeviceInfo
    runtime: RuntimeInfo
    settings: Settings
    task: str | None


def cases(study: Study) -> Iterator[Case]:
    """Give the cases of a study; tasks are answered with the first number of threads alone."""
    boards = itertools.islice(itertools.cycle(BOARDS), study.devices)
    for place, board in enumerate(boards):
        device = DeviceInfo(
            name=board,
            board=board,
            cpu=f"{board}, 4 cores",
            memory_bytes=2**33,
            machine=f"m{place}",
        )
        for model, level in itertools.product(range(study.models), list(LEVELS)[: study.levels]):
            artifact = _artifact(f"model-{model:02d}", level)
            for threads in range(1, study.threads + 1):
                settings = Settings(threads=threads)
                yield Case(artifact, device, _runtime(threads), settings, None)
            for task in TASKS[: study.tasks]:
                yield Case(artifact, device, _runtime(1), Settings(threads=1), task)


def _artifact(model: str, level: str) -> Artifact:
    sha256 = hashlib.sha256(f"{model} {level}".encode()).hexdigest()
    bits = LEVELS[level]
    return Artifact(
        name=f"{model}-{level}",
        model=model,
        format="gguf",
        level=level,
        path=f"models/{model}-{level}.gguf",
        sha256=sha256,
        size_bytes=int(1e9 * bits / 8),
        parameters=1_000_000_000,
        bits_per_weight=bits,
        tensor_types={level: 196, "f32": 61},
        fallback_tensors={},
        architecture="llama",
        context_length=8192,
    )


def _runtime(threads: int) -> RuntimeInfo:
    return RuntimeInfo(
        name="llama.cpp",
        version="0.3.36",
        build="AVX2 = 1 | FMA = 1 | LLAMAFILE = 1",
        provider="cpu",
        threads=threads,
        gpu_layers=0,
        kv_type="f16",
        flash_attention="auto",
        batch=2048,
        micro_batch=512,
        context=1024,
    )


def body(case: Case, rng: np.random.Generator) -> str:
    """Return a run of a case as a line of JSON, without its id and its moment."""
    measured = _speed(case, rng) if case.task is None else _answers(case.task, rng)
    run = Run(
        run_id=RUN_ID,
        case_id=hashlib.sha256(repr(case).encode()).hexdigest()[:16],
        created=CREATED,
        status="ok",
        artifact=case.artifact,
        device=case.device,
        conditions=Conditions(before=_snapshot(rng), after=_snapshot(rng)),
        runtime=case.runtime,
        settings=case.settings,
        task=case.task,
        wall_s=60.0,
        **measured,
    )
    return run.to_line()


def _rounded(values: Any, digits: int = 6) -> tuple[float, ...]:
    return tuple(float(f"{value:.{digits}g}") for value in values)


def _snapshot(rng: np.random.Generator) -> Snapshot:
    clocks = {f"cpu{core}": 2.4e9 for core in range(4)}
    return Snapshot(
        governor="performance",
        clocks_hz=clocks,
        max_clocks_hz=clocks,
        temperature_c={"cpu": round(float(rng.normal(55, 3)), 1)},
        throttled=False,
        load=round(float(rng.uniform(0, 1)), 2),
        free_bytes=2**32,
    )


def _estimate(value: float, spread: float) -> Estimate:
    ends = {"low": value * (1 - spread), "high": value * (1 + spread)}
    return Estimate(value=value, n=LAUNCHES, method="over launches", **ends)


def _speed(case: Case, rng: np.random.Generator) -> dict[str, Any]:
    rate = 120 / case.artifact.bits_per_weight * case.settings.threads**0.7
    launches = tuple(_launch(index, rate, rng) for index in range(LAUNCHES))
    seconds = TOKENS / rate
    memory = Memory(peak_rss_bytes=case.artifact.size_bytes + 2**27, anonymous_bytes=2**27)
    joules = PhaseEnergy(
        gross_j=_estimate(7 * seconds, 0.02), j_per_token=_estimate(7 / rate, 0.02), windows=5
    )
    return {
        "workload": Workload(
            name="chat", prompt_tokens=512, generate_tokens=TOKENS, repetitions=3, launches=LAUNCHES
        ),
        "speed": Speed(
            load_s=0.8,
            prefill=PhaseSpeed(
                tokens_per_s=_estimate(8 * rate, 0.01), samples_s=(64 / rate,), tokens=512
            ),
            decode=PhaseSpeed(
                tokens_per_s=_estimate(rate, 0.01), samples_s=(seconds,) * 5, tokens=TOKENS
            ),
            ttft_s=_estimate(66 / rate, 0.01),
            token_latency_s=Percentiles(p50=1 / rate, p90=1.1 / rate, p99=1.3 / rate),
            decode_from=512,
            launches=launches,
        ),
        "memory": memory,
        "energy": (
            Energy(
                source="ina",
                rails=("VDD_IN",),
                kind="measured",
                boundary="module",
                period_s=0.1,
                idle_w=_estimate(2.0, 0.02),
                decode=joules,
            ),
        ),
        "timelines": (_timeline(rng),),
    }


def _launch(index: int, rate: float, rng: np.random.Generator) -> Launch:
    own = rate * float(rng.normal(1, 0.01))
    return Launch(
        round=f"round-{index}",
        load_s=0.8,
        prefill_s=_rounded(rng.normal(64 / own, 0.1 / own, 3)),
        ttft_s=_rounded(rng.normal(66 / own, 0.1 / own, 3)),
        decode_s=_rounded(rng.normal(TOKENS / own, 0.1 / own, 3)),
        token_s=_rounded(rng.normal(1, 0.03, TOKENS).clip(0.8) / own),
        warm_up_rounds=3,
        settled=True,
        memory=Memory(peak_rss_bytes=2**30, weights_bytes=2**29, anonymous_bytes=2**27),
        before=_snapshot(rng),
        loaded=_snapshot(rng),
        after=_snapshot(rng),
        foreign_cpu=0.01,
    )


def _timeline(rng: np.random.Generator) -> Timeline:
    times = tuple(range(0, READINGS * 100_000_000, 100_000_000))
    series = tuple(
        Series(
            rail=rail,
            unit="W",
            kind="measured",
            t_ns=times,
            values=_rounded(rng.normal(7, 0.3, READINGS), 4),
        )
        for rail in ("VDD_IN", "VDD_CPU")
    )
    windows = tuple(
        Window(phase="decode", start_ns=start, end_ns=start + 6_000_000_000, tokens=TOKENS)
        for start in range(0, 36_000_000_000, 8_000_000_000)
    )
    total = Total(source="ina", rails=("VDD_IN",), kind="measured", boundary="module")
    return Timeline(period_s=0.1, totals=(total,), series=series, windows=windows)


def _answers(task: str, rng: np.random.Generator) -> dict[str, Any]:
    right = rng.random(ITEMS) < 0.6
    likely = np.round(rng.normal(-40, 10, (ITEMS, CHOICES)), 4)
    items = tuple(
        ItemResult(
            id=f"{task}-{index}",
            correct=bool(right[index]),
            chosen=int(likely[index].argmax()),
            loglikelihoods=tuple(float(value) for value in likely[index]),
        )
        for index in range(ITEMS)
    )
    value = proportion_estimate(int(right.sum()), ITEMS)
    sha256 = hashlib.sha256(task.encode()).hexdigest()
    accuracy = Accuracy(
        task=task, task_sha256=sha256, metric="acc", n=ITEMS, value=value, chance=0.25, items=items
    )
    return {"accuracy": accuracy}


def write_study(folder: Path, runs: int, study: Study) -> tuple[int, int]:
    """Write so many runs, all cases on one day after another; return the cases and the bytes."""
    rng = np.random.default_rng(study.seed)
    wanted = list(cases(study))
    size = 0
    for (_, model), members in itertools.groupby(
        enumerate(wanted), key=lambda told: (told[1].device.name, told[1].artifact.model)
    ):
        numbered = list(members)
        store = Store(folder, numbered[0][1].device.name)
        store.prepare()
        bodies = [[body(case, rng) for _ in range(BODIES)] for _, case in numbered]
        with (store.folder / f"{model}.jsonl").open("w") as file:
            for day in range(-(-runs // len(wanted))):
                for (number, _), texts in zip(numbered, bodies, strict=True):
                    order = day * len(wanted) + number
                    if order < runs:
                        size += file.write(_line(texts[day % BODIES], order, day))
    return len(wanted), size


def _line(text: str, order: int, day: int) -> str:
    moment = FIRST + datetime.timedelta(days=day, seconds=order % 86_400)
    created = moment.isoformat().replace("+00:00", "Z")
    return text.replace(RUN_ID, f"{order:032x}", 1).replace(CREATED, created, 1) + "\n"


def main() -> None:
    """Write a study into a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--models", type=int, default=6)
    parser.add_argument("--levels", type=int, default=6, choices=range(1, len(LEVELS) + 1))
    parser.add_argument("--threads", type=int, default=3, help="settings of each artifact")
    parser.add_argument("--devices", type=int, default=2, choices=range(1, len(BOARDS) + 1))
    parser.add_argument("--tasks", type=int, default=2, choices=range(len(TASKS) + 1))
    parser.add_argument("--seed", type=int, default=1)
    typed = vars(parser.parse_args())
    folder, runs = typed.pop("folder"), typed.pop("runs")
    count, size = write_study(folder, runs, Study(**typed))
    print(f"{runs} runs of {count} cases, {size / 1e6:.0f} MB in {folder}")


if __name__ == "__main__":
    main()

"""Is this device ready to be measured? Each check says ok, warning or failure, and what to type.

Knows runtimes, meters and conditions through their own modules, and measures the two figures that
bound a model's speed: memory bandwidth and a matrix product.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from edgebench.device.conditions import snapshot
from edgebench.device.meters import find_meters
from edgebench.device.sampler import find_pace
from edgebench.device.system import available_bytes, compute_cores
from edgebench.errors import MissingExtraError
from edgebench.records.device import DeviceEntry, Snapshot
from edgebench.records.formats import PACKAGES, runtime_version
from edgebench.records.messages import Check
from edgebench.records.meters import METERS

COPY_BYTES = 128 << 20
MATRIX = 1024
ROUNDS = 5
HOT_C = 75.0
LITTLE_BYTES = 1 << 30


def preflight(entry: DeviceEntry) -> Iterator[Check]:
    """Check this machine as the device `entry`, one check after the other."""
    yield from _runtimes(entry)
    yield from _conditions(snapshot())
    yield from _memory(entry)
    yield from _meters()
    yield _bandwidth(entry)
    yield _matrix_product()


def _runtimes(entry: DeviceEntry) -> Iterator[Check]:
    for name, (_, extra) in PACKAGES.items():
        try:
            version = runtime_version(name)
        except MissingExtraError:
            wanted = extra in (entry.extras or ("gguf",))
            yield Check(
                name=name, status="failure" if wanted else "warning", message="not installed",
                hint=f'pip install "edgebench[{extra}]"',
            )  # fmt: skip
            continue
        yield Check(name=name, status="ok", message=f"version {version}")
    if entry.settings.gpu_layers:
        yield _gpu_offload()


def _gpu_offload() -> Check:
    try:
        from edgebench.sources.llama_library import llama_api

        works = bool(llama_api().llama_supports_gpu_offload())
    except MissingExtraError:
        works = False
    if works:
        return Check(name="gpu offload", status="ok", message="llama.cpp was built with a GPU")
    return Check(
        name="gpu offload", status="failure", message="llama.cpp was built without a GPU",
        hint='CMAKE_ARGS="-DGGML_CUDA=on" pip install --force-reinstall --no-binary '
        "llama-cpp-python llama-cpp-python",
    )  # fmt: skip


def _conditions(now: Snapshot) -> Iterator[Check]:
    if now.governor:
        good = now.governor == "performance"
        yield Check(
            name="governor", status="ok" if good else "warning", message=now.governor,
            hint="" if good else "echo performance | sudo tee "
            "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )  # fmt: skip
    if now.power_mode:
        yield Check(
            name="power mode", status="ok", message=now.power_mode,
            hint="sudo nvpmodel -m N changes it, by the table in /etc/nvpmodel.conf",
        )  # fmt: skip
    if now.clocks_fixed is not None:
        yield Check(
            name="clocks", status="ok" if now.clocks_fixed else "warning",
            message="fixed" if now.clocks_fixed else "free to move",
            hint="" if now.clocks_fixed else "sudo jetson_clocks",
        )  # fmt: skip
    if now.temperature_c:
        name, hottest = max(now.temperature_c.items(), key=lambda pair: pair[1])
        hot = hottest >= HOT_C
        yield Check(
            name="heat", status="warning" if hot else "ok", message=f"{name} {hottest:.0f} °C",
            hint="let it cool down, or give it a fan" if hot else "",
        )  # fmt: skip
    yield from _power_supply(now)
    if now.load is not None:
        busy = now.load > 0.5 * compute_cores()
        yield Check(
            name="load", status="warning" if busy else "ok", message=f"{now.load:.1f}",
            hint="end what else is running; top shows it" if busy else "",
        )  # fmt: skip


def _power_supply(now: Snapshot) -> Iterator[Check]:
    if now.throttled is not None:
        if now.throttled:
            status: Literal["ok", "warning"] = "warning"
            message, hint = "throttled now", "a stronger power supply or more cooling"
        elif now.throttled_before:
            status, message, hint = "ok", "not now, but before", "sticky until the next start"
        else:
            status, message, hint = "ok", "never since the start", ""
        yield Check(name="throttling", status=status, message=message, hint=hint)
    if now.on_battery is not None:
        yield Check(
            name="power supply", status="warning" if now.on_battery else "ok",
            message="battery" if now.on_battery else "mains",
            hint="plug it in for speed; leave it for the battery's own gauge"
            if now.on_battery else "",
        )  # fmt: skip


def _memory(entry: DeviceEntry) -> Iterator[Check]:
    free = available_bytes()
    little = free < LITTLE_BYTES
    total = f" of {entry.memory_gib:g} GiB" if entry.memory_gib else ""
    yield Check(
        name="memory", status="warning" if little else "ok",
        message=f"{free / 2**30:.1f} GiB free{total}",
        hint="end other programs, or take small levels" if little else "",
    )  # fmt: skip


def _meters() -> Iterator[Check]:
    any_answered = False
    reasons = []
    for name in METERS:
        start = time.perf_counter()
        meters, reason = find_meters((name,))
        took = time.perf_counter() - start
        if not meters:
            reasons.append((name, reason or ""))
            continue
        any_answered = True
        for meter in meters:
            pace = find_pace(meter)
            rails = [rail for total in meter.totals for rail in total.rails]
            noise = f", noise {1000 * pace.noise_w:.0f} mW" if pace.noise_w is not None else ""
            yield Check(
                name=f"meter {name}", status="ok" if rails else "warning",
                message=f"every {1000 * pace.period_s:.0f} ms{noise}, found in "
                f"{1000 * took:.0f} ms: {' + '.join(rails) or 'no total is known'}",
                hint="" if rails else f"it shows {', '.join(meter.rails)}",
            )  # fmt: skip
            meter.close()
    for name, reason in reasons:
        if "type:" in reason:
            yield Check(name=f"meter {name}", status="warning", message=reason)
    if not any_answered:
        yield Check(
            name="energy", status="warning", message="; ".join(reason for _, reason in reasons),
            hint='--meter "command:PROGRAM" reads any program that prints watts',
        )  # fmt: skip


def _best(work: Callable[[], None]) -> float:
    """Return the least seconds of a few rounds."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def memory_bandwidth_b_s() -> float:
    """Copy memory with all compute cores; return bytes read and written a second."""
    import numpy as np

    threads = compute_cores()
    size = COPY_BYTES // threads
    pairs = [(np.ones(size, np.uint8), np.empty(size, np.uint8)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), pairs))

        seconds = _best(copy)
    return 2 * size * threads / seconds


def matrix_flop_s() -> float:
    """Multiply two single-precision matrices; return operations a second."""
    import numpy as np

    a = np.ones((MATRIX, MATRIX), np.float32)
    out = np.empty_like(a)

    def multiply() -> None:
        np.matmul(a, a, out=out)

    return float(2 * MATRIX**3 / _best(multiply))


def _bandwidth(entry: DeviceEntry) -> Check:
    measured = memory_bandwidth_b_s() / 1e9
    stated = max(entry.bandwidth_gb_s.values(), default=None)
    share = f", {measured / stated:.0%} of the stated {stated:g} GB/s" if stated else ""
    low = stated is not None and measured < 0.4 * stated
    return Check(
        name="memory bandwidth", status="warning" if low else "ok",
        message=f"{measured:.1f} GB/s copying{share}",
        hint="check the power mode and clocks" if low else "",
    )  # fmt: skip


def _matrix_product() -> Check:
    cores = os.cpu_count() or 1
    return Check(
        name="matrix product", status="ok",
        message=f"{matrix_flop_s() / 1e9:.0f} GFLOP/s in single precision on {cores} cores",
    )  # fmt: skip

"""The cores that this process computes on: pinning to some of them, and the clusters there are.

Knows Linux's masks and what the kernel says of each core's capacity. A pin is read back from every
thread: one that did not take is an error.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from edgebench.device.system import read_text
from edgebench.errors import UnsupportedError


def cores_of(typed: str) -> frozenset[int]:
    """Read `4-7` or `0-1+4`; empty for an empty text. Raises UnsupportedError on `7-4`."""
    cores: set[int] = set()
    for part in typed.split("+") if typed else ():
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if high < low:
            raise UnsupportedError(f"cores={typed}: {part} runs backwards", hint=f"{high}-{low}")
        cores.update(range(low, high + 1))
    return frozenset(cores)


def pin(typed: str) -> None:
    """Pin this process to cores; what it starts later is pinned, too.

    Raises UnsupportedError where one of them is not there or may not be used.
    """
    cores = cores_of(typed)
    if not cores:
        return
    allowed = os.sched_getaffinity(0)
    if missing := sorted(cores - allowed):
        raise UnsupportedError(
            f"cores={typed}: no core {missing[0]} may be used here",
            hint=f"this process may use {spelled(allowed)}",
        )
    for thread in _threads():
        with contextlib.suppress(OSError):  # it has ended
            os.sched_setaffinity(thread, cores)
    check_pin(typed)


def check_pin(typed: str) -> None:
    """Raise UnsupportedError where a thread of this process runs on other cores than asked."""
    cores = cores_of(typed)
    if not cores:
        return
    for thread in _threads():
        try:
            used = os.sched_getaffinity(thread)
        except OSError:  # it has ended
            continue
        if not used <= cores:
            raise UnsupportedError(
                f"cores={typed} did not take: a thread runs on {spelled(used)}",
                hint="the runtime moves its threads itself; leave cores out",
            )


def _threads() -> list[int]:
    return [int(thread.name) for thread in Path("/proc/self/task").iterdir()]


def spelled(cores: frozenset[int] | set[int]) -> str:
    """Write cores as they are typed: 0-3+6."""
    parts: list[str] = []
    for core in sorted(cores):
        if parts and core == int(parts[-1].rpartition("-")[2]) + 1:
            parts[-1] = f"{parts[-1].partition('-')[0]}-{core}"
        else:
            parts.append(str(core))
    return "+".join(parts)


def clusters() -> tuple[str, ...]:
    """Return the cores of each speed, the fastest first, spelled; one where all are alike.

    By the kernel's capacities, else by the highest clock of each core.
    """
    speeds: dict[int, set[int]] = {}
    for core in sorted(os.sched_getaffinity(0)):
        speed = _number(core, "cpu_capacity") or _number(core, "cpufreq/cpuinfo_max_freq") or 0
        speeds.setdefault(speed, set()).add(core)
    return tuple(spelled(speeds[speed]) for speed in sorted(speeds, reverse=True))


def _number(core: int, file: str) -> int | None:
    text = read_text(f"/sys/devices/system/cpu/cpu{core}/{file}")
    return int(text) if text and text.isdigit() else None

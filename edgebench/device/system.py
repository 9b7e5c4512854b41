"""This machine: its cores, its processor's time, a process's memory.

Knows Linux's files under one root, `/` unless EDGEBENCH_SYSROOT names another. What a machine
does not tell is None or absent. Changes nothing.
"""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import NamedTuple

from edgebench.records.speed import Memory


def root() -> Path:
    """Return the root under which board files are read."""
    return Path(os.environ.get("EDGEBENCH_SYSROOT", "/"))


def read_text(path: str) -> str | None:
    """Return a small system file's text without trailing NULs and spaces, or None."""
    try:
        raw = (root() / path.lstrip("/")).read_bytes()
    except OSError:
        return None
    return raw.decode("utf-8", "replace").rstrip("\0 \n\t")


def compute_cores() -> int:
    """Return the cores to compute with: physical ones, and only the big ones of a big.LITTLE.

    Bounded by the cores that this process may use.
    """
    import psutil

    big = _big_cores()
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return max(1, min(big or physical, physical, len(os.sched_getaffinity(0))))


def _big_cores() -> int | None:
    """Count the cores of the highest capacity, where the kernel says that capacities differ."""
    allowed = os.sched_getaffinity(0)
    values = [
        int(text)
        for path in sorted((root() / "sys/devices/system/cpu").glob("cpu[0-9]*/cpu_capacity"))
        if int(path.parent.name[3:]) in allowed
        if (text := read_text(str(path.relative_to(root())))) and text.isdigit()
    ]
    if len(set(values)) < 2:
        return None
    # Cores within a tenth of the fastest count as big: some boards bin their big cores apart.
    return sum(value >= 0.9 * max(values) for value in values)


def cpu_model() -> str | None:
    """Return the processor's name with its number of cores."""
    text = read_text("/proc/cpuinfo") or ""
    for key in ("model name", "Model", "Hardware"):
        for line in text.splitlines():
            if line.split(":")[0].strip() == key:
                return f"{line.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    return platform.processor() or platform.machine() or None


def process_memory() -> Memory:
    """Return this process's peak and present memory by /proc/self/status."""
    status: dict[str, int] = {}
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return Memory()
    for line in lines:
        key, _, rest = line.partition(":")
        if rest.strip().endswith("kB"):
            status[key] = int(rest.split()[0]) * 1024
    return Memory(
        peak_rss_bytes=status.get("VmHWM"),
        anonymous_bytes=status.get("RssAnon"),
        file_bytes=status.get("RssFile"),
    )


def available_bytes() -> int:
    """Return the memory that could be taken without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def cpu_times() -> CpuTimes:
    """Return the processor seconds spent so far, by the whole machine and by this process.

    Time that a hypervisor took away counts as the machine's: it was not ours.
    """
    import psutil

    whole = psutil.cpu_times()
    # A guest's time is already in user and nice.
    quiet = ("idle", "iowait", "guest", "guest_nice")
    busy = sum(whole) - sum(getattr(whole, name, 0.0) for name in quiet)
    own = os.times()
    return CpuTimes(
        time.monotonic(), busy, own.user + own.system + own.children_user + own.children_system
    )


class CpuTimes(NamedTuple):
    """Seconds: of the clock, of all processors at work, and of those that worked for us."""

    at_s: float
    busy_s: float
    own_s: float


def foreign_cpu(begin: CpuTimes, end: CpuTimes) -> float | None:
    """Return how many processors others kept busy in between; None where that can't be told.

    The kernel counts in hundredths of a second, so a fifth of a second is the least that tells.
    """
    wall_s = end.at_s - begin.at_s
    if wall_s < 0.2:
        return None
    return max(0.0, (end.busy_s - begin.busy_s) - (end.own_s - begin.own_s)) / wall_s

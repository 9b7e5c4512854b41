"""This machine: its name, its cores, a process's memory, kills for memory.

Knows Linux's files under one root, `/` unless EDGEBENCH_SYSROOT names another. What a machine
does not tell is None or absent. Changes nothing.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

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
    values = [
        int(text)
        for path in sorted((root() / "sys/devices/system/cpu").glob("cpu[0-9]*/cpu_capacity"))
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


def os_name() -> str | None:
    text = read_text("/etc/os-release") or ""
    for line in text.splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.split("=", 1)[1].strip('"')
    return platform.system()


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


def memory_kills() -> int:
    """Return how many processes the kernel has killed for memory since it started."""
    for line in (read_text("/proc/vmstat") or "").splitlines():
        key, _, value = line.partition(" ")
        if key == "oom_kill" and value.isdigit():
            return int(value)
    return 0

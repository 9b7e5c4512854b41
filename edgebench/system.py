"""The condition of this machine: cores, governor, clocks, heat, load, memory, kills for memory.

Knows Linux's files under one root, `/` unless EDGEBENCH_SYSROOT names another. What a machine
does not tell is None or absent. Changes nothing.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

from edgebench.records import DeviceInfo, Memory, Snapshot


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


def snapshot() -> Snapshot:
    """Return the machine's condition now."""
    import psutil

    return Snapshot(
        governor=_governors(),
        clocks_hz=_clocks(),
        temperature_c=_temperatures(),
        throttled=None,
        load=os.getloadavg()[0],
        free_bytes=psutil.virtual_memory().available,
    )


def _governors() -> str | None:
    names = {
        text
        for path in (root() / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
        if (text := read_text(str(path.relative_to(root()))))
    }
    return "+".join(sorted(names)) or None


def _clocks() -> dict[str, float]:
    clocks = {}
    for path in sorted(
        (root() / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    ):
        text = read_text(str(path.relative_to(root())))
        if text and text.isdigit():
            clocks[path.parent.parent.name] = int(text) * 1000.0
    return clocks


def _temperatures() -> dict[str, float]:
    found = {}
    for zone in sorted((root() / "sys/class/thermal").glob("thermal_zone*")):
        relative = zone.relative_to(root())
        text, name = read_text(f"{relative}/temp"), read_text(f"{relative}/type")
        if text and text.lstrip("-").isdigit():
            found[name or zone.name] = int(text) / 1000.0
    return found


def condition_warnings(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    """Say what in the machine's condition may have moved the figures."""
    warnings = []
    if before.governor and before.governor != "performance":
        warnings.append(f"CPU governor is {before.governor}, not performance")
    if before.load is not None and before.load > 0.5 * compute_cores():
        warnings.append(f"load was {before.load:.1f} before the case")
    for name, start in before.temperature_c.items():
        end = after.temperature_c.get(name)
        if end is not None and end - start > 10:
            warnings.append(f"{name} warmed from {start:.0f} to {end:.0f} °C")
    return tuple(warnings)


def this_device(name: str) -> DeviceInfo:
    """Describe this machine as the device `name`."""
    import psutil

    return DeviceInfo(
        name=name,
        board=read_text("/proc/device-tree/model"),
        cpu=cpu_model(),
        memory_bytes=psutil.virtual_memory().total,
        os=_os_name(),
        kernel=platform.release(),
        l4t=read_text("/etc/nv_tegra_release"),
    )


def cpu_model() -> str | None:
    """Return the processor's name with its number of cores."""
    text = read_text("/proc/cpuinfo") or ""
    for key in ("model name", "Model", "Hardware"):
        for line in text.splitlines():
            if line.split(":")[0].strip() == key:
                return f"{line.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    return platform.processor() or platform.machine() or None


def _os_name() -> str | None:
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

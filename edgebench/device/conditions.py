"""The condition of this machine at one moment: clocks, heat, throttling, power mode, load, memory.

Knows Linux's files, Jetson's nvpmodel and devfreq, the Raspberry Pi's throttling bits. What a
machine does not tell is None or absent. Changes nothing.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from edgebench.device.system import available_bytes, read_text, root
from edgebench.records.device import Snapshot

CPUS = "sys/devices/system/cpu"
EMC = "/sys/kernel/debug/bpmp/debug/clk/emc/rate"
# vcgencmd get_throttled: bits 0 to 3 are now, 16 to 19 at some time since the start.
THROTTLED_NOW = 0x0000F
THROTTLED_BEFORE = 0xF0000
_MODE = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=([\w.-]+)")
_L4T = re.compile(r"R(\d+) \(release\), REVISION: ([\d.]+)")


def snapshot() -> Snapshot:
    """Return the machine's condition now."""
    import psutil

    bits = throttled_bits()
    clocks, low, high = _clocks("scaling_cur_freq"), _limits("min"), _limits("max")
    return Snapshot(
        governor=_governors(),
        clocks_hz=clocks,
        min_clocks_hz=low,
        max_clocks_hz=high,
        temperature_c=_temperatures(),
        throttled=None if bits is None else bool(bits & THROTTLED_NOW),
        throttled_before=None if bits is None else bool(bits & THROTTLED_BEFORE),
        power_mode=power_mode(),
        clocks_fixed=_clocks_fixed(low, high) if _jetson() else None,
        load=os.getloadavg()[0],
        free_bytes=available_bytes(),
        swap_used_bytes=int(psutil.swap_memory().used),
        on_battery=_on_battery(),
    )


def power_mode() -> str | None:
    """Return a Jetson's power mode by its name, without root: nvpmodel's status and table."""
    status = read_text("/var/lib/nvpmodel/status") or ""
    match = re.search(r"pmode:(\d+)", status)
    if not match:
        return None
    number = int(match[1])
    table = read_text("/etc/nvpmodel.conf") or ""
    names = {int(number): name for number, name in _MODE.findall(table)}
    return str(names.get(number, f"mode {number}"))


def l4t() -> str | None:
    """Return the release of Jetson Linux, such as 36.4.3."""
    match = _L4T.search(read_text("/etc/nv_tegra_release") or "")
    return f"{match[1]}.{match[2]}" if match else None


def throttled_bits() -> int | None:
    """Return a Raspberry Pi's throttling bits; None on other machines."""
    text = read_text("/sys/devices/platform/soc/soc:firmware/get_throttled")
    if text is None:
        text = _vcgencmd_bits()
    try:
        return int(text, 16) if text else None
    except ValueError:
        return None


def _vcgencmd_bits() -> str | None:
    import subprocess

    from edgebench.device.vcgencmd import ask, find_vcgencmd

    command = find_vcgencmd()
    if command is None:
        return None
    try:
        return ask(command, "get_throttled").partition("=")[2].strip()
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def _jetson() -> bool:
    return "Jetson" in (read_text("/proc/device-tree/model") or "")


def _under(pattern: str) -> list[Path]:
    return sorted(root().glob(pattern))


def _text(path: Path) -> str | None:
    return read_text(str(path.relative_to(root())))


def _governors() -> str | None:
    names = {text for path in _under(f"{CPUS}/cpu[0-9]*/cpufreq/scaling_governor")
             if (text := _text(path))}  # fmt: skip
    return "+".join(sorted(names)) or None


def _clocks(file: str) -> dict[str, float]:
    """Return clocks of CPUs, GPU and memory in hertz."""
    clocks = {}
    for path in _under(f"{CPUS}/cpu[0-9]*/cpufreq/{file}"):
        text = _text(path)
        if text and text.isdigit():
            clocks[path.parent.parent.name] = int(text) * 1000.0
    for path in _under("sys/class/devfreq/*gpu*/cur_freq"):
        text = _text(path)
        if text and text.isdigit():
            clocks["gpu"] = float(text)
    text = read_text(EMC)
    if text and text.isdigit():
        clocks["memory"] = float(text)
    return clocks


def _limits(which: str) -> dict[str, float]:
    """Return the lowest or highest clocks that are allowed now."""
    clocks = {}
    for path in _under(f"{CPUS}/cpu[0-9]*/cpufreq/scaling_{which}_freq"):
        text = _text(path)
        if text and text.isdigit():
            clocks[path.parent.parent.name] = int(text) * 1000.0
    for path in _under(f"sys/class/devfreq/*gpu*/{which}_freq"):
        text = _text(path)
        if text and text.isdigit():
            clocks["gpu"] = float(text)
    return clocks


def _clocks_fixed(low: dict[str, float], high: dict[str, float]) -> bool | None:
    """Return whether jetson_clocks is on: the lowest clocks are the highest."""
    if not low or low.keys() != high.keys():
        return None
    return all(low[name] == high[name] for name in low)


def _temperatures() -> dict[str, float]:
    degrees = {}
    for zone in _under("sys/class/thermal/thermal_zone*"):
        text, name = _text(zone / "temp"), _text(zone / "type")
        if text and text.lstrip("-").isdigit():
            degrees[name or zone.name] = int(text) / 1000.0
    return degrees


def _on_battery() -> bool | None:
    states = [
        text for path in _under("sys/class/power_supply/BAT*/status") if (text := _text(path))
    ]
    return any(state == "Discharging" for state in states) if states else None

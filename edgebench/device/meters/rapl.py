"""RAPL: energy counters of Intel and AMD processors, through the kernel's powercap.

Source: Documentation/power/powercap in the kernel. Package zones make the total, with the DRAM
zones where there are any; core and uncore overlap with them and are only shown. psys, where a
maker wired it, is the whole board and a total of its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from edgebench.device.meters import IntegerFile, Meter, Rail, Reading
from edgebench.device.system import root
from edgebench.records.energy import Total

PLACE = "sys/class/powercap"
PLATFORM = "psys"
# Taken: makers state none. From Haswell on RAPL follows a reference on a line (Hackenberg et al.,
# "An energy efficiency feature survey of the Intel Haswell processor", 2015); AMD's is a model.
ERROR_SHARE = 0.03
GRANT = "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"


@dataclass(frozen=True)
class Zone:
    """One counter: its folder, name, range in joules, and whether it is part of the total."""

    path: Path
    name: str
    wrap_j: float
    counts: bool


class Rapl:
    """Reads every zone's counter."""

    nominal_s = 0.02
    lag_s = 0.0
    averaging_s = 0.0

    def __init__(self, zones: list[Zone]) -> None:
        self._files = [(zone.name, IntegerFile(zone.path / "energy_uj")) for zone in zones]
        self.rails = {
            zone.name: Rail(unit="J", kind="measured", wrap_j=zone.wrap_j) for zone in zones
        }
        names = tuple(zone.name for zone in zones if zone.counts)
        package = Total(
            source="rapl",
            rails=names,
            kind="measured",
            boundary="package",
            covers="cpu",
            error_share=ERROR_SHARE,
        )
        platform = Total(
            source="rapl psys",
            rails=(PLATFORM,),
            kind="measured",
            boundary="board",
            error_share=ERROR_SHARE,
        )
        self.totals = (package, platform) if PLATFORM in self.rails else (package,)

    def sample(self) -> list[Reading]:
        """Read all counters."""
        return [
            Reading(time.perf_counter_ns(), name, file.read() / 1e6) for name, file in self._files
        ]

    def close(self) -> None:
        """Close the counters."""
        for _, file in self._files:
            file.close()


def find() -> Meter | str:
    """Return a meter over all zones, or why there is none."""
    base = root() / PLACE
    zones: dict[str, Zone] = {}
    counters: dict[str, float] = {}
    for path in sorted(base.glob("intel-rapl:*")):
        parts = path.name.split(":")  # intel-rapl:0 is a package, intel-rapl:0:1 a part of it
        try:
            name = (path / "name").read_text().strip()
            top = len(parts) == 2
            unique = name if top else f"{zones_name(base, parts)}/{name}"
            if unique in zones:
                continue  # a second path to the same zone
            now_j = _micro(path / "energy_uj")
            wrap_j = _micro(path / "max_energy_range_uj")
        except PermissionError:
            return f"RAPL: energy_uj is readable by root alone; type: {GRANT}"
        except (OSError, ValueError):
            continue
        counts = (top and name.startswith("package")) or (not top and name == "dram")
        if counts and top and _same_counter(name, now_j, counters):
            continue
        zones[unique] = Zone(path, unique, wrap_j, counts)
    if not any(zone.counts for zone in zones.values()):
        return "no RAPL package zone"
    return Rapl(list(zones.values()))


def _same_counter(name: str, now_j: float, counters: dict[str, float]) -> bool:
    """Return whether a die shows its package's counter, as AMD's dies do, and remember it if not.

    Two counters of their own that stand within 1 part in 10,000 of each other do not happen.
    """
    package = name.partition("-die-")[0]
    for other, value in counters.items():
        if other.partition("-die-")[0] == package and abs(now_j - value) < 1e-4 * max(value, 1):
            return True
    counters[name] = now_j
    return False


def zones_name(base: Path, parts: list[str]) -> str:
    """Return the name of the package that a part belongs to."""
    return (base / f"{parts[0]}:{parts[1]}" / "name").read_text().strip()


def _micro(path: Path) -> float:
    file = IntegerFile(path)
    try:
        return file.read() / 1e6
    finally:
        file.close()

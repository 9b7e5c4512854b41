"""Power sensors of other chips, through the kernel's hwmon class.

An ACPI power meter shows the whole machine; AMD's energy driver counts by socket. What other chips
show is a part of the machine, so no total is claimed. Source: Documentation/hwmon/sysfs-interface.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgebench.device.meters import IntegerFile, Meter, Rail, Reading
from edgebench.device.system import root
from edgebench.records.energy import Total

PLACE = "sys/class/hwmon"
ELSEWHERE = ("ina3221", "ina238", "ina2xx", "BAT")  # read by meters of their own
WHOLE = "power_meter"
SOCKET = "Esocket"


@dataclass(frozen=True)
class Sensor:
    """One file in microwatts or microjoules."""

    path: Path
    name: str
    unit: Literal["W", "J"]


class Hwmon:
    """Reads every sensor."""

    nominal_s = 0.1

    def __init__(self, sensors: list[Sensor]) -> None:
        self._files = [(one.name, IntegerFile(one.path)) for one in sensors]
        self.rails = {one.name: Rail(unit=one.unit, kind="measured") for one in sensors}
        whole = tuple(name for name in self.rails if name.startswith(WHOLE))
        sockets = tuple(name for name in self.rails if f"/{SOCKET}" in name)
        self.totals = (Total(source="hwmon", rails=whole or sockets, kind="measured"),)

    def sample(self) -> list[Reading]:
        """Read all sensors."""
        return [
            Reading(time.perf_counter_ns(), name, file.read() / 1e6) for name, file in self._files
        ]

    def close(self) -> None:
        """Close the files."""
        for _, file in self._files:
            file.close()


def find() -> Meter | str:
    """Return a meter over the chips' sensors, or why there is none."""
    sensors: dict[str, Sensor] = {}
    for folder in sorted((root() / PLACE).glob("hwmon*")):
        try:
            chip = (folder / "name").read_text().strip()[:40]
        except OSError:
            continue
        if chip.startswith(ELSEWHERE):
            continue
        for path in [*sorted(folder.glob("power*_average")), *sorted(folder.glob("energy*_input"))]:
            label = path.with_name(
                path.name.replace("_average", "_label").replace("_input", "_label")
            )
            name = f"{chip}/{_label(label) or path.name.rpartition('_')[0]}"
            try:
                int(path.read_text())
            except (OSError, ValueError):
                continue
            sensors.setdefault(name, Sensor(path, name, "J" if "energy" in path.name else "W"))
    return Hwmon(list(sensors.values())) if sensors else "no hwmon power sensor"


def _label(path: Path) -> str:
    try:
        return path.read_text().strip()[:40]
    except OSError:
        return ""

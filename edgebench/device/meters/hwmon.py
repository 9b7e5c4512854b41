"""Power sensors of other chips, through the kernel's hwmon class.

An ACPI power meter shows the whole machine; AMD's energy driver counts by socket. What other chips
show is a part of the machine, so no total is claimed. Source: Documentation/hwmon/sysfs-interface
and acpi_power_meter: `power*_average_interval` in ms, `power*_accuracy` in percent.
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
MEAN_OF_S = 1.0  # where a power's interval is not told; ACPI's own default
ERROR_SHARE = 0.05  # taken, where the accuracy is not told


@dataclass(frozen=True)
class Sensor:
    """One file in microwatts or microjoules, its averaging time and its accuracy."""

    path: Path
    name: str
    unit: Literal["W", "J"]
    averaging_s: float = 0.0
    error_share: float = ERROR_SHARE


class Hwmon:
    """Reads every sensor."""

    lag_s = 0.0

    def __init__(self, sensors: list[Sensor]) -> None:
        self.averaging_s = max(sensor.averaging_s for sensor in sensors)
        self.nominal_s = max(0.1, self.averaging_s)
        self._files = [(sensor.name, IntegerFile(sensor.path)) for sensor in sensors]
        self.rails = {s.name: Rail(unit=s.unit, kind="measured") for s in sensors}
        whole = tuple(name for name in self.rails if name.startswith(WHOLE))
        sockets = tuple(name for name in self.rails if f"/{SOCKET}" in name)
        self.totals = (
            Total(
                source="hwmon",
                rails=whole or sockets,
                kind="measured",
                boundary="board" if whole else "package" if sockets else None,
                covers="cpu" if sockets and not whole else None,
                error_share=max(s.error_share for s in sensors),
            ),
        )

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
            sensors.setdefault(name, _sensor(path, name))
    return Hwmon(list(sensors.values())) if sensors else "no hwmon power sensor"


def _sensor(path: Path, name: str) -> Sensor:
    accuracy = _number(path.with_name(path.name.replace("_average", "_accuracy")))
    error_share = accuracy / 100 if accuracy is not None and 0 < accuracy < 100 else ERROR_SHARE
    if path.name.startswith("energy"):
        return Sensor(path, name, "J", error_share=ERROR_SHARE)
    interval_ms = _number(path.with_name(f"{path.name}_interval"))
    return Sensor(path, name, "W", interval_ms / 1e3 if interval_ms else MEAN_OF_S, error_share)


def _number(path: Path) -> float | None:
    """Read a number, with or without a percent sign."""
    try:
        return float(_label(path).rstrip("%"))
    except ValueError:
        return None


def _label(path: Path) -> str:
    try:
        return path.read_text().strip()[:40]
    except OSError:
        return ""

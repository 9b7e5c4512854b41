"""INA3221 and INA238 power monitors on Jetson boards, through hwmon or the older iio driver.

Which rail is a board's total is an explicit map by its device tree; no name is guessed at. Source:
the kernel's hwmon/ina3221 and hwmon/ina238, NVIDIA's developer guides.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgebench.device.meters import IntegerFile, Meter, Rail, Reading
from edgebench.device.system import read_text, root
from edgebench.records.energy import Total

# Start of the device tree's model -> the rails that add up to the total.
# AGX Orin has no rail for all: VDDQ_VDD2_1V8AO is already inside VIN_SYS_5V0.
TOTALS: dict[str, tuple[str, ...]] = {
    "NVIDIA Jetson Orin Nano": ("VDD_IN",),
    "NVIDIA Jetson Orin NX": ("VDD_IN",),
    "NVIDIA Jetson Xavier NX": ("VDD_IN",),
    "NVIDIA Jetson Nano": ("POM_5V_IN",),
    "NVIDIA Jetson AGX Orin": ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    "NVIDIA Jetson AGX Xavier": ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
    "Jetson-AGX": ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
    "NVIDIA Jetson AGX Thor": ("VIN",),
}
MODERN = ("sys/bus/i2c/drivers/ina3221", "sys/bus/i2c/drivers/ina238")
LEGACY = "sys/bus/i2c/drivers/ina3221x"
CHANNELS = (1, 2, 3)  # 4 to 6 are shunts, 7 their sum


@dataclass(frozen=True)
class Channel:
    """One rail: its name and how its watts are read."""

    name: str
    files: tuple[IntegerFile, ...]
    watts: Callable[[], float]


class Ina:
    """Reads every rail's power."""

    nominal_s = 0.1

    def __init__(self, channels: list[Channel], total: tuple[str, ...]) -> None:
        self._channels = channels
        self.rails = {one.name: Rail(unit="W", kind="measured") for one in channels}
        complete = total if set(total) <= set(self.rails) else ()
        self.totals = (Total(source="ina", rails=complete, kind="measured"),)

    def sample(self) -> list[Reading]:
        """Read all rails; a power below zero, as Thor's GPU rail shows at idle, counts as zero."""
        readings = []
        for channel in self._channels:
            watts = max(0.0, channel.watts())
            readings.append(Reading(time.perf_counter_ns(), channel.name, watts))
        return readings

    def close(self) -> None:
        """Close the files."""
        for channel in self._channels:
            for file in channel.files:
                file.close()


def find() -> Meter | str:
    """Return a meter over all rails, or why there is none."""
    channels: dict[str, Channel] = {}
    for channel in [*_modern(), *_legacy()]:
        try:
            channel.watts()
        except (OSError, ValueError):
            continue
        finally:
            for file in channel.files:
                file.close()
        channels.setdefault(channel.name, channel)
    if not channels:
        return "no INA3221 or INA238 sensor"
    model = read_text("/proc/device-tree/model") or ""
    fitting = [start for start in TOTALS if model.startswith(start)]
    total = TOTALS[max(fitting, key=len)] if fitting else ()
    return Ina(list(channels.values()), total)


def _modern() -> list[Channel]:
    found = []
    for driver in MODERN:
        for folder in sorted((root() / driver).glob("*/hwmon/hwmon*")):
            if (folder / "power1_input").is_file():
                found.append(_power_channel(folder))
                continue
            for number in CHANNELS:
                name = _name(folder / f"in{number}_label")
                if name and name != "NC" and (folder / f"curr{number}_input").is_file():
                    found.append(_product(folder, number, name))
    return found


def _power_channel(folder: Path) -> Channel:
    """An INA238: the chip multiplies itself, in microwatts."""
    labels = ("power1_label", "in1_label", "label", "name")
    name = next((text for one in labels if (text := _name(folder / one))), "INA238")
    file = IntegerFile(folder / "power1_input")
    return Channel(name, (file,), lambda: file.read() / 1e6)


def _product(folder: Path, number: int, name: str) -> Channel:
    """An INA3221 channel: millivolts times milliamperes."""

    volts = IntegerFile(folder / f"in{number}_input")
    amperes = IntegerFile(folder / f"curr{number}_input")
    return Channel(name, (volts, amperes), lambda: volts.read() * amperes.read() / 1e6)


def _legacy() -> list[Channel]:
    found = []
    for folder in sorted((root() / LEGACY).glob("*/iio:device*")):
        for number in range(3):
            name = _name(folder / f"rail_name_{number}")
            path = folder / f"in_power{number}_input"
            if name and name != "NC" and path.is_file():
                found.append(_milliwatts(name, path))
    return found


def _milliwatts(name: str, path: Path) -> Channel:
    file = IntegerFile(path)
    return Channel(name, (file,), lambda: file.read() / 1e3)


def _name(path: Path) -> str:
    try:
        return path.read_text().strip()[:64]
    except OSError:
        return ""

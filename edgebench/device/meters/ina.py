"""INA3221 and INA238 power monitors on Jetson boards, through hwmon or the older iio driver.

Which rail is a board's total is an explicit map by its device tree; no name is guessed at. Source:
the kernel's hwmon/ina3221 and hwmon/ina238, NVIDIA's developer guides.

A reading is a mean over the chip's own averaging. hwmon tells how long that is (`update_interval`
in ms: channels x samples x conversion times); where it does not, the drivers' settings count:
INA3221 one sample of 1.1 ms twice by three channels, INA238 16 samples of 1.052 ms by three, and
the older iio driver 64 samples (its register 0x7727).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edgebench.device.meters import IntegerFile, Meter, Rail, Reading
from edgebench.device.system import read_text, root
from edgebench.records.energy import Boundary, Total


class Rails(NamedTuple):
    """The rails that add up to a board's total, and what that includes."""

    names: tuple[str, ...]
    boundary: Boundary | None


# Start of the device tree's model -> its total.
# AGX Orin has no rail for all: VDDQ_VDD2_1V8AO is already inside VIN_SYS_5V0.
TOTALS: dict[str, Rails] = {
    "NVIDIA Jetson Orin Nano": Rails(("VDD_IN",), "module"),
    "NVIDIA Jetson Orin NX": Rails(("VDD_IN",), "module"),
    "NVIDIA Jetson Xavier NX": Rails(("VDD_IN",), "module"),
    "NVIDIA Jetson Nano": Rails(("POM_5V_IN",), "module"),
    "NVIDIA Jetson AGX Orin": Rails(("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), "module"),
    "NVIDIA Jetson AGX Xavier": Rails(("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"), "module"),
    "Jetson-AGX": Rails(("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"), "module"),
    "NVIDIA Jetson AGX Thor": Rails(("VIN",), "board"),  # the carrier too
}
MODERN = ("sys/bus/i2c/drivers/ina3221", "sys/bus/i2c/drivers/ina238")
LEGACY = "sys/bus/i2c/drivers/ina3221x"
CHANNELS = (1, 2, 3)  # 4 to 6 are shunts, 7 their sum
INA3221_S = 3 * 1 * (1.1e-3 + 1.1e-3)
INA238_S = 3 * 16 * 1.052e-3
LEGACY_S = 3 * 64 * (1.1e-3 + 1.1e-3)
ERROR_SHARE = 0.01  # the shunt's tolerance; the chips' own gain errors are under 0.3 %


@dataclass(frozen=True)
class Channel:
    """One rail: its name and how its watts are read."""

    name: str
    files: tuple[IntegerFile, ...]
    watts: Callable[[], float]
    averaging_s: float


class Ina:
    """Reads every rail's power."""

    lag_s = 0.0

    def __init__(self, channels: list[Channel], total: Rails) -> None:
        self._channels = channels
        self.averaging_s = max(channel.averaging_s for channel in channels)
        self.nominal_s = max(0.1, self.averaging_s)
        self.rails = {channel.name: Rail(unit="W", kind="measured") for channel in channels}
        complete = set(total.names) <= set(self.rails)
        self.totals = (
            Total(
                source="ina",
                rails=total.names if complete else (),
                kind="measured",
                boundary=total.boundary if complete else None,
                error_share=ERROR_SHARE,
            ),
        )

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
    total = TOTALS[max(fitting, key=len)] if fitting else Rails((), None)
    return Ina(list(channels.values()), total)


def _modern() -> list[Channel]:
    channels = []
    for driver in MODERN:
        for folder in sorted((root() / driver).glob("*/hwmon/hwmon*")):
            if (folder / "power1_input").is_file():
                channels.append(_power_channel(folder))
                continue
            for number in CHANNELS:
                name = _name(folder / f"in{number}_label")
                if name and name != "NC" and (folder / f"curr{number}_input").is_file():
                    channels.append(_product(folder, number, name))
    return channels


def _power_channel(folder: Path) -> Channel:
    """An INA238: the chip multiplies itself, in microwatts."""
    labels = ("power1_label", "in1_label", "label", "name")
    name = next((name for label in labels if (name := _name(folder / label))), "INA238")
    file = IntegerFile(folder / "power1_input")
    return Channel(name, (file,), lambda: file.read() / 1e6, _interval_s(folder, INA238_S))


def _product(folder: Path, number: int, name: str) -> Channel:
    """An INA3221 channel: millivolts times milliamperes."""

    volts = IntegerFile(folder / f"in{number}_input")
    amperes = IntegerFile(folder / f"curr{number}_input")
    interval_s = _interval_s(folder, INA3221_S)
    return Channel(name, (volts, amperes), lambda: volts.read() * amperes.read() / 1e6, interval_s)


def _interval_s(folder: Path, otherwise_s: float) -> float:
    """Return over how long the chip averages; the driver's default where hwmon does not tell."""
    try:
        return float(_name(folder / "update_interval")) / 1e3 or otherwise_s
    except ValueError:
        return otherwise_s


def _legacy() -> list[Channel]:
    channels = []
    for folder in sorted((root() / LEGACY).glob("*/iio:device*")):
        for number in range(3):
            name = _name(folder / f"rail_name_{number}")
            path = folder / f"in_power{number}_input"
            if name and name != "NC" and path.is_file():
                channels.append(_milliwatts(name, path))
    return channels


def _milliwatts(name: str, path: Path) -> Channel:
    file = IntegerFile(path)
    return Channel(name, (file,), lambda: file.read() / 1e3, LEGACY_S)


def _name(path: Path) -> str:
    try:
        return path.read_text().strip()[:64]
    except OSError:
        return ""

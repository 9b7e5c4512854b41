"""A battery's own gauge: the whole machine's power, while it runs on the battery alone.

Source: the kernel's power_supply class. On mains the gauge shows the charge, not the load.
"""

from __future__ import annotations

import time
from pathlib import Path

from edgebench.device.meters import Meter, Rail, Reading
from edgebench.device.system import root
from edgebench.records.energy import Total

PLACE = "sys/class/power_supply"
# Neither the kernel nor ACPI says how a gauge averages: notebooks take up to 15 s. Who knows their
# gauge better reads it through `command:averaging=1s ...`.
AVERAGING_S = 15.0
ERROR_SHARE = 0.05  # taken: gauges state no accuracy of their power


class Battery:
    """Reads every battery's power while it discharges."""

    nominal_s = 1.0  # no gauge is known to be faster
    lag_s = 0.0
    averaging_s = AVERAGING_S

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders
        self.rails = {folder.name: Rail(unit="W", kind="measured") for folder in folders}
        self.totals = (
            Total(
                source="battery",
                rails=tuple(self.rails),
                kind="measured",
                boundary="board",
                error_share=ERROR_SHARE,
            ),
        )

    def sample(self) -> list[Reading]:
        """Read all batteries; raise ValueError where one is no longer discharging."""
        return [
            Reading(time.perf_counter_ns(), folder.name, _watts(folder)) for folder in self._folders
        ]

    def close(self) -> None:
        """Hold nothing."""


def find() -> Meter | str:
    """Return a meter over the batteries, or why there is none."""
    folders = sorted((root() / PLACE).glob("BAT*"))
    if not folders:
        return "no battery"
    try:
        for folder in folders:
            _watts(folder)
    except (OSError, ValueError) as error:
        return f"battery: {error}"
    return Battery(folders)


def _watts(folder: Path) -> float:
    status = (folder / "status").read_text().strip()
    if status != "Discharging":
        raise ValueError(f"{folder.name} is {status[:20]}, so it does not show the load")
    if (folder / "power_now").is_file():
        return abs(int((folder / "power_now").read_text())) / 1e6
    # The current is negative on some boards while discharging.
    current = abs(int((folder / "current_now").read_text())) / 1e6
    return current * int((folder / "voltage_now").read_text()) / 1e6

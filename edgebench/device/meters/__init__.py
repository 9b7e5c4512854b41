"""Power and energy sensors: the protocol, and which of them this machine has.

A meter yields readings and nothing else; `figures/energy.py` makes joules of them later. Knows no
sensor itself: each has a file of its own, listed in METERS, and is believed once it has answered.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from edgebench.errors import UsageError, nearest
from edgebench.records.energy import Kind, Total


@dataclass(frozen=True)
class Rail:
    """What a rail's readings are: watts, or joules of a counter with its range."""

    unit: Literal["W", "J"]
    kind: Kind
    wrap_j: float | None = None


class Reading(NamedTuple):
    """One rail at one moment of `time.perf_counter_ns`."""

    t_ns: int
    rail: str
    value: float


class Meter(Protocol):
    """A sensor that was read once with success."""

    @property
    def nominal_s(self) -> float:
        """Return how often it is read where its own pace does not show."""
        ...

    @property
    def lag_s(self) -> float:
        """Return how late a reading comes, where that is known; else 0."""
        ...

    @property
    def averaging_s(self) -> float | None:
        """Return over how long a reading is the mean; 0 for an instant, None where unknown."""
        ...

    @property
    def rails(self) -> dict[str, Rail]:
        """Return what it reads."""
        ...

    @property
    def totals(self) -> tuple[Total, ...]:
        """Return the sums of rails that stand for the device, each with what it includes."""
        ...

    def sample(self) -> list[Reading]:
        """Read every rail once; raise OSError or ValueError where one can't be read."""
        ...

    def close(self) -> None:
        """Let the sensor go."""
        ...


class IntegerFile:
    """A small system file of one integer, kept open: a reading costs a few microseconds.

    The kernel writes a sysfs file anew for each read from its start.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._descriptor = -1

    def read(self) -> int:
        """Read the integer; raise OSError where the file has gone, ValueError where it is none."""
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_RDONLY)
        try:
            raw = os.pread(self._descriptor, 64, 0)
            if os.fstat(self._descriptor).st_nlink == 0:
                raise FileNotFoundError(f"{self._path} has vanished")
        except OSError:
            self.close()
            raise
        return int(raw)

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


# In the order in which a reader would trust them. `find` returns a Meter that has answered a real
# reading, or a sentence that says why there is none.
METERS = {
    "ina": "edgebench.device.meters.ina:find",
    "pmic": "edgebench.device.meters.pmic:find",
    "rapl": "edgebench.device.meters.rapl:find",
    "nvml": "edgebench.device.meters.nvml:find",
    "battery": "edgebench.device.meters.battery:find",
    "hwmon": "edgebench.device.meters.hwmon:find",
}
# Only where a person names them, with what they need after a colon.
NAMED = {
    "command": "edgebench.device.meters.command:find",
    "estimate": "edgebench.device.meters.estimate:find",
}
AUTO = ("auto",)


def check_names(wanted: Sequence[str]) -> None:
    """Raise UsageError on a meter that does not exist."""
    for word in wanted:
        name, colon, rest = word.partition(":")
        if name in NAMED and not rest:
            raise UsageError(f"--meter {name} needs more", hint=_example(name))
        if (colon and name not in NAMED) or name not in {*METERS, *NAMED, "auto", "none"}:
            names = [*METERS, *NAMED, "auto", "none"]
            raise UsageError(f"unknown meter {name!r}", hint=nearest(name, names))


def find_meters(wanted: Sequence[str] = AUTO) -> tuple[list[Meter], str | None]:
    """Probe the sensors wanted; return those that answer, and the reason where none does."""
    found: list[Meter] = []
    reasons: list[str] = []
    if "none" in wanted:
        return [], "no meter was wanted"
    for word in wanted:
        name, _, rest = word.partition(":")
        for place in METERS.values() if name == "auto" else [(METERS | NAMED)[name]]:
            module, _, function = place.partition(":")
            find = getattr(importlib.import_module(module), function)
            probed: Meter | str = find(rest) if name in NAMED else find()
            if isinstance(probed, str):
                reasons.append(probed)
            else:
                found.append(probed)
    return (found, None) if found else ([], "; ".join(reasons))


def _example(name: str) -> str:
    examples = {"command": '--meter "command:./meter --watts"', "estimate": "--meter estimate:15W"}
    return examples[name]

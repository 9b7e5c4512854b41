"""Power and energy sensors: the protocol, and which of them this machine has.

A meter yields readings and nothing else; `figures/energy.py` makes joules of them later. Knows no
sensor itself: each has a file of its own, and is believed once it has answered. Their names are in
`records/meters.py`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from edgebench.records.energy import Kind, Total
from edgebench.records.meters import METERS, TYPED


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


AUTO = ("auto",)


def find_meters(wanted: Sequence[str] = AUTO) -> tuple[list[Meter], str | None]:
    """Probe the sensors wanted; return those that answer, and the reason where none does.

    A meter's module has a `find`, which returns a Meter that has answered a real reading, or a
    sentence that says why there is none.
    """
    meters: list[Meter] = []
    reasons: list[str] = []
    if "none" in wanted:
        return [], "no meter was wanted"
    for word in wanted:
        typed, _, rest = word.partition(":")
        for name in METERS if typed == "auto" else (typed,):
            find = importlib.import_module(f"edgebench.device.meters.{name}").find
            try:
                probed: Meter | str = find(rest) if name in TYPED else find()
            except (OSError, ValueError) as error:
                probed = f"{name}: {error}"
            if isinstance(probed, str):
                reasons.append(probed)
            else:
                meters.append(probed)
    return (meters, None) if meters else ([], "; ".join(reasons))

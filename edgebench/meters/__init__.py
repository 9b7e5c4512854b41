"""Power and energy sensors: the protocol, and which of them this machine has.

A meter yields samples on a timeline and nothing else; `energy.py` makes joules of them later.
Knows no sensor itself: each has a file of its own, listed in METERS.
"""

from __future__ import annotations

import importlib
from typing import Protocol

from edgebench.messages import Sample
from edgebench.system import root


class Meter(Protocol):
    """A sensor that was read once with success."""

    name: str

    def sample(self) -> list[Sample]:
        """Read every rail once; `t_ns` is `time.perf_counter_ns`."""
        ...


# name -> "module:function"; the function returns a Meter that has answered a real reading, or
# a sentence that says why there is none.
METERS: dict[str, str] = {}


def find_meters() -> tuple[list[Meter], str | None]:
    """Probe every known sensor; return those that answer, and the reason where none does."""
    found: list[Meter] = []
    reasons: list[str] = []
    for place in METERS.values():
        module, _, function = place.partition(":")
        probed = getattr(importlib.import_module(module), function)()
        if isinstance(probed, str):
            reasons.append(probed)
        else:
            found.append(probed)
    if found:
        return found, None
    return [], "; ".join([*reasons, *_what_was_looked_for()])


def _what_was_looked_for() -> list[str]:
    """Say which sensors' places are empty here."""
    places = {
        "RAPL": "sys/class/powercap/intel-rapl:0",
        "NVIDIA GPU": "dev/nvidiactl",
        "INA3221": "sys/bus/i2c/drivers/ina3221",
        "battery": "sys/class/power_supply/BAT0",
    }
    absent = [name for name, place in places.items() if not (root() / place).exists()]
    present = [name for name in places if name not in absent]
    words = []
    if present:
        words.append(f"{' and '.join(present)}: seen, but this version does not read it yet")
    if absent:
        words.append(f"no {', '.join(absent)} sensor on this machine")
    return words

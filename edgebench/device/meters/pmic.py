"""The Raspberry Pi 5's power chip, through `vcgencmd pmic_read_adc`.

Twelve rails pair a current with a voltage. Their sum is the board without USB and other 5 V loads;
a fit of the wall's power to it (sum x 1.1451 + 0.5879 W, by the community) is given as derived.
"""

from __future__ import annotations

import math
import re
import time

from edgebench.device.meters import Meter, Rail, Reading
from edgebench.device.vcgencmd import ask, find_vcgencmd
from edgebench.records.energy import Total

WALL_SLOPE, WALL_OFFSET_W = 1.1451, 0.5879
# Taken: no accuracy of the chip is published, and the fit was made on other boards and supplies.
ERROR_SHARE, WALL_ERROR_SHARE = 0.05, 0.1
QUESTION = "pmic_read_adc"
_LINE = re.compile(r"^\s*(\w+)_([AV]) (?:current|volt)\(\d+\)=(nan|-?[\d.]+)([AV])\s*$", re.M)


class Pmic:
    """Reads all rails in one call of about 23 ms."""

    nominal_s = 0.1
    lag_s = 0.0
    averaging_s = 0.0  # a converter of the firmware, read when asked

    def __init__(self, command: str, rails: tuple[str, ...]) -> None:
        self._command = command
        self._names = rails
        self.rails = {name: Rail(unit="W", kind="measured") for name in rails}
        self.rails["wall"] = Rail(unit="W", kind="derived")
        self.totals = (
            Total(
                source="pmic",
                rails=rails,
                kind="measured",
                boundary="board",
                error_share=ERROR_SHARE,
            ),
            Total(
                source="pmic wall fit",
                rails=("wall",),
                kind="derived",
                boundary="wall",
                error_share=WALL_ERROR_SHARE,
            ),
        )

    def sample(self) -> list[Reading]:
        """Read all rails; raise ValueError where one gave no number, OSError on no answer."""
        begin = time.perf_counter_ns()
        watts = parse(ask(self._command, QUESTION))
        now = (begin + time.perf_counter_ns()) // 2
        missing = [name for name in self._names if name not in watts]
        if missing:
            raise ValueError(f"the power chip gave no number for {', '.join(missing[:3])}")
        total = sum(watts[name] for name in self._names)
        readings = [Reading(now, name, watts[name]) for name in self._names]
        return [*readings, Reading(now, "wall", total * WALL_SLOPE + WALL_OFFSET_W)]

    def close(self) -> None:
        """Hold nothing."""


def find() -> Meter | str:
    """Return a meter over the chip's rails, or why there is none."""
    command = find_vcgencmd()
    if command is None:
        return "no vcgencmd"
    try:
        said = ask(command, QUESTION)
    except (OSError, ValueError) as error:
        return f"vcgencmd: {error}"
    if "not registered" in said:
        return "this Raspberry Pi has no power chip that tells (a Pi 5 has)"
    watts = parse(said)
    if not watts:
        return (
            f"vcgencmd said: {said.strip()[:80] or 'nothing'}; type: sudo usermod -aG video $USER"
        )
    return Pmic(command, tuple(watts))


def parse(said: str) -> dict[str, float]:
    """Return watts by rail, for the rails whose current and voltage are both numbers."""
    amperes: dict[str, float] = {}
    volts: dict[str, float] = {}
    for name, kind, number, _ in _LINE.findall(said):
        try:
            value = float(number)
        except ValueError:
            continue
        if math.isfinite(value):
            (amperes if kind == "A" else volts)[name] = value
    return {name: amperes[name] * volts[name] for name in amperes if name in volts}

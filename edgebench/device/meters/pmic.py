"""The Raspberry Pi 5's power chip, through `vcgencmd pmic_read_adc`.

Twelve rails pair a current with a voltage. Their sum leaves out USB and other 5 V loads; a fit of
the wall's power to it (sum x 1.1451 + 0.5879 W, by the community) is given as derived.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import time

from edgebench.device.meters import Meter, Rail, Reading
from edgebench.device.system import root
from edgebench.records.energy import Total

WALL_SLOPE, WALL_OFFSET_W = 1.1451, 0.5879
_LINE = re.compile(r"^\s*(\w+)_([AV]) (?:current|volt)\(\d+\)=(nan|-?[\d.]+)([AV])\s*$", re.M)
_TIMEOUT_S = 1.0


class Pmic:
    """Reads all rails in one call of about 23 ms."""

    nominal_s = 0.1

    def __init__(self, command: str, rails: tuple[str, ...]) -> None:
        self._command = command
        self._names = rails
        self.rails = {name: Rail(unit="W", kind="measured") for name in rails}
        self.rails["wall"] = Rail(unit="W", kind="derived")
        self.totals = (
            Total(source="pmic", rails=rails, kind="measured"),
            Total(source="pmic wall fit", rails=("wall",), kind="derived"),
        )

    def sample(self) -> list[Reading]:
        """Read all rails; raise ValueError where one is missing or no number."""
        begin = time.perf_counter_ns()
        watts = parse(ask(self._command))
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
        said = ask(command)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"vcgencmd: {error}"
    if "not registered" in said:
        return "this Raspberry Pi has no power chip that tells (a Pi 5 has)"
    watts = parse(said)
    if not watts:
        return (
            f"vcgencmd said: {said.strip()[:80] or 'nothing'}; type: sudo usermod -aG video $USER"
        )
    return Pmic(command, tuple(watts))


def find_vcgencmd() -> str | None:
    """Return vcgencmd's path under the root, or on the search path."""
    own = root() / "usr/bin/vcgencmd"
    if own.is_file():
        return str(own)
    return shutil.which("vcgencmd") if str(root()) == "/" else None


def ask(command: str, *arguments: str) -> str:
    """Return what vcgencmd prints; raise ValueError where it fails."""
    done = subprocess.run(
        [command, *(arguments or ("pmic_read_adc",))], capture_output=True, text=True,
        timeout=_TIMEOUT_S, check=False,
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[:120]
        raise ValueError(f"{said or 'it failed'}; type: sudo usermod -aG video $USER")
    return done.stdout


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

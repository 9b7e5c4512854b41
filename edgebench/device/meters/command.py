"""Any program that prints watts or joules, a line each: smart plugs, bench meters, other sensors.

It is started once, without a shell, and read as it prints. A line is a number with an optional
unit: `12.3`, `12.3 W`, `845 mW`, `1532.9 J` (a counter that rises), `0.412 kWh`.
"""

from __future__ import annotations

import collections
import contextlib
import re
import shlex
import subprocess
import threading
import time
from typing import Literal

from edgebench.device.meters import Meter, Rail, Reading
from edgebench.records.energy import Total

FIRST_LINE_S = 5.0
_LINE = re.compile(r"\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*(mW|W|kW|mJ|J|kJ|Wh|kWh)?\s*")
_FACTORS = {
    "mW": 1e-3, "W": 1.0, "kW": 1e3, "mJ": 1e-3, "J": 1.0, "kJ": 1e3, "Wh": 3.6e3, "kWh": 3.6e6,
}  # fmt: skip


class Command:
    """A program's lines, each with the time when it came."""

    nominal_s = 0.1

    def __init__(self, typed: str) -> None:
        self._lines: collections.deque[tuple[int, float]] = collections.deque()
        self._unit: Literal["W", "J"] = "W"
        self._first = threading.Event()
        self._bad = ""
        self._process = subprocess.Popen(
            shlex.split(typed), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, errors="replace",
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self) -> str | None:
        """Wait for the first line; return what is wrong, or None."""
        running = not self._first.wait(FIRST_LINE_S)
        if self._bad or not self._lines:
            self.close()
            return self._bad or (
                f"it printed no number within {FIRST_LINE_S:.0f} s"
                if running
                else "it ended without printing a number"
            )
        self.rails = {"command": Rail(unit=self._unit, kind="measured")}
        self.totals = (Total(source="command", rails=("command",), kind="measured"),)
        return None

    def sample(self) -> list[Reading]:
        """Return the lines since the last call; raise ValueError where the program has ended."""
        readings = []
        while self._lines:
            t_ns, value = self._lines.popleft()
            readings.append(Reading(t_ns, "command", value))
        if not readings and (self._bad or self._process.poll() is not None):
            raise ValueError(self._bad or "the meter's program has ended")
        return readings

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.wait()
        self._reader.join(1.0)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError, OSError), self._process.stdout as lines:
            for line in lines:
                now = time.perf_counter_ns()
                match = _LINE.fullmatch(line)
                if not match:
                    self._bad = f"it printed {line.strip()[:40]!r}, which is no number of watts"
                    break
                unit = match[2] or "W"
                kind: Literal["W", "J"] = "W" if unit.endswith("W") else "J"
                if self._lines and kind != self._unit:
                    self._bad = "it printed watts and joules in turn"
                    break
                self._unit = kind
                self._lines.append((now, float(match[1]) * _FACTORS[unit]))
                self._first.set()
        self._first.set()


def find(typed: str) -> Meter | str:
    """Start the program; return its meter, or why it is none."""
    try:
        meter = Command(typed)
    except (OSError, ValueError) as error:
        return f"the meter {typed!r} can't be started: {error}"
    wrong = meter.wait()
    return f"the meter {typed!r}: {wrong}" if wrong else meter

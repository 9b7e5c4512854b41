"""Any program that prints watts or joules, a line each: smart plugs, bench meters, other sensors.

It is started once, without a shell, and read as it prints. A line is a number with an optional
unit: `12.3`, `12.3 W`, `845 mW`, `1532.9 J` (a counter that rises), `0.412 kWh`. What the person
knows of the meter stands before the program, as in `command:averaging=2s boundary=board ./meter`:
`averaging` and `lag` in seconds or ms, `accuracy` in percent, `boundary` (wall unless stated).
"""

from __future__ import annotations

import collections
import contextlib
import re
import shlex
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Literal, get_args

from edgebench.device.meters import Meter, Rail, Reading
from edgebench.processes import end, guarded
from edgebench.records.energy import Boundary, Total

FIRST_LINE_S = 5.0
MORE_LINES_S = 2.5  # to see how often it prints
LONGEST_LINE = 200  # in characters; what is longer isn't a number of watts
KEPT_LINES = 100_000  # of a program that nobody reads
ERROR_SHARE = 0.02  # taken, where no accuracy is stated; plugs are sold with 1 to 2 %
_LINE = re.compile(r"\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*(mW|W|kW|mJ|J|kJ|Wh|kWh)?\s*")
_FACTORS = {
    "mW": 1e-3,
    "W": 1.0,
    "kW": 1e3,
    "mJ": 1e-3,
    "J": 1.0,
    "kJ": 1e3,
    "Wh": 3.6e3,
    "kWh": 3.6e6,
}
_SETTING = re.compile(r"\s*(averaging|lag|accuracy|boundary)=(\S+)(.*)", re.S)
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")


@dataclass(frozen=True)
class Stated:
    """A program, and what the person states of the meter behind it."""

    program: str
    averaging_s: float | None = None
    lag_s: float = 0.0
    error_share: float = ERROR_SHARE
    boundary: Boundary = "wall"


def stated(typed: str) -> Stated:
    """Take the settings before a program apart; raise ValueError on one that is wrong."""
    settings: dict[str, str] = {}
    while match := _SETTING.fullmatch(typed):
        name, value, typed = match.groups()
        settings[name] = value
    boundary = next((b for b in get_args(Boundary) if b == settings.get("boundary", "wall")), None)
    if boundary is None:
        raise ValueError(f"boundary={settings['boundary']}: say package, module, board or wall")
    percent = settings.get("accuracy")
    share = _PERCENT.fullmatch(percent) if percent else None
    if percent and not share:
        raise ValueError(f"accuracy={percent}: say percent, such as accuracy=1%")
    return Stated(
        typed.strip(),
        _seconds("averaging", settings.get("averaging")),
        _seconds("lag", settings.get("lag")) or 0.0,
        float(share[1]) / 100 if share else ERROR_SHARE,
        boundary,
    )


def _seconds(name: str, typed: str | None) -> float | None:
    if typed is None:
        return None
    match = _SECONDS.fullmatch(typed)
    if not match:
        raise ValueError(f"{name}={typed}: say seconds, such as {name}=1.5s or {name}=200ms")
    return float(match[1]) * (1e-3 if match[2] == "ms" else 1.0)


class Command:
    """A program's lines, each with the time when it came."""

    def __init__(self, meter: Stated) -> None:
        self._stated = meter
        self.lag_s, self.averaging_s = meter.lag_s, meter.averaging_s
        self.nominal_s = 0.1
        self._lines: collections.deque[tuple[int, float]] = collections.deque(maxlen=KEPT_LINES)
        self._unit: Literal["W", "J"] | None = None
        self._first = threading.Event()
        self._third = threading.Event()
        self._bad = ""
        program = shlex.split(meter.program)
        if shutil.which(program[0]) is None:
            raise FileNotFoundError(f"there is no program {program[0]!r}")
        self._process = subprocess.Popen(
            guarded(program),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self) -> str | None:
        """Wait for the first lines; return what is wrong, or None."""
        running = not self._first.wait(FIRST_LINE_S)
        if self._bad or not self._lines or self._unit is None:
            self.close()
            return self._bad or (
                f"it printed no number within {FIRST_LINE_S:.0f} s"
                if running
                else "it ended without printing a number"
            )
        self._third.wait(MORE_LINES_S)
        times = [t_ns for t_ns, _ in list(self._lines)]
        if len(times) > 1:
            self.nominal_s = max(0.02, (times[-1] - times[0]) / 1e9 / (len(times) - 1))
        self.rails = {"command": Rail(unit=self._unit, kind="measured")}
        self.totals = (
            Total(
                source="command",
                rails=("command",),
                kind="measured",
                boundary=self._stated.boundary,
                error_share=self._stated.error_share,
            ),
        )
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
        """End the program and whatever it started."""
        end(self._process)
        self._reader.join(1.0)

    def _read(self) -> None:
        lines = self._process.stdout
        if lines is None:
            return
        with contextlib.suppress(ValueError, OSError), lines:
            while line := lines.readline(LONGEST_LINE):
                if not self._take(line, time.perf_counter_ns()):
                    break
        self._first.set()
        self._third.set()

    def _take(self, line: str, now_ns: int) -> bool:
        """Keep one line; return False where the program is no meter."""
        match = _LINE.fullmatch(line)
        if not match:
            self._bad = f"it printed {line.strip()[:40]!r}, which isn't a number of watts"
            return False
        unit = match[2] or "W"
        kind: Literal["W", "J"] = "W" if unit.endswith("W") else "J"
        if self._unit not in (None, kind):
            self._bad = "it printed watts and joules in turn"
            return False
        self._unit = kind
        self._lines.append((now_ns, float(match[1]) * _FACTORS[unit]))
        self._first.set()
        if len(self._lines) > 2:
            self._third.set()
        return True


def find(typed: str) -> Meter | str:
    """Start the program; return its meter, or why it is none."""
    try:
        meter = Command(stated(typed))
    except (OSError, ValueError, IndexError) as error:
        return f"the meter {typed!r} can't be started: {error}"
    wrong = meter.wait()
    return f"the meter {typed!r}: {wrong}" if wrong else meter

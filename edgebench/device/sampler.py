"""One thread that reads every meter at its own pace while phases run, and what it read.

Knows meters through their protocol, and how a sensor's pace is found. Makes no joules.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from edgebench.device.meters import Meter
from edgebench.records.energy import Series, Timeline, Window

Phase = Literal["idle", "prefill", "decode"]
FASTEST_S, SLOWEST_S = 0.02, 1.0
PACE_PROBE_S = 0.25
# A meter that takes long to read is read less often.
CPU_SHARE = 0.01
WALL_SHARE = 0.25
STOP_S = 2.5


@dataclass(frozen=True)
class Pace:
    """How often a meter is read, its read's cost, and the noise of its readings at rest."""

    period_s: float
    read_s: float
    noise_w: float | None


def find_pace(meter: Meter) -> Pace:
    """Watch a meter for a moment: how often its readings change, and how long one takes."""
    reads: list[float] = []
    costs: list[float] = []
    changes: list[int] = []
    values: list[float] = []
    last: tuple[float, ...] | None = None
    end = time.perf_counter_ns() + int(PACE_PROBE_S * 1e9)
    while time.perf_counter_ns() < end:
        start, busy = time.perf_counter_ns(), time.thread_time_ns()
        try:
            readings = meter.sample()
        except (OSError, ValueError):
            break
        now = time.perf_counter_ns()
        reads.append((now - start) / 1e9)
        costs.append((time.thread_time_ns() - busy) / 1e9)
        seen = tuple(reading.value for reading in readings)
        if seen and seen != last:
            changes.append(now)
            last = seen
            values.append(sum(seen))
        time.sleep(0.002)
    gaps = [(b - a) / 1e9 for a, b in itertools.pairwise(changes)]
    period = statistics.median(gaps) if len(gaps) >= 4 else meter.nominal_s
    read_s = statistics.median(reads) if reads else 0.0
    slow = max(read_s / WALL_SHARE, statistics.median(costs) / CPU_SHARE if costs else 0.0)
    watts = all(rail.unit == "W" for rail in meter.rails.values())
    noise = statistics.stdev(values) if watts and len(values) > 2 else None
    period = min(SLOWEST_S, max(FASTEST_S, period, slow))
    return Pace(period, read_s, noise)


@dataclass
class _Track:
    """What one meter gave so far."""

    meter: Meter
    pace: Pace
    due_s: float = 0.0
    times: dict[str, array[int]] = field(default_factory=dict)
    values: dict[str, array[float]] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    def read(self) -> None:
        try:
            readings = self.meter.sample()
        except (OSError, ValueError) as error:
            text = str(error)[:200] or type(error).__name__
            self.errors[text] = self.errors.get(text, 0) + 1
            return
        for reading in readings:
            self.times.setdefault(reading.rail, array("q")).append(reading.t_ns)
            self.values.setdefault(reading.rail, array("d")).append(reading.value)


class Sampler:
    """Reads meters in one thread between `start` and `stop`; keeps windows of phases."""

    def __init__(self, meters: Sequence[Meter], paces: Sequence[Pace]) -> None:
        self._tracks = [_Track(m, p) for m, p in zip(meters, paces, strict=True)]
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._windows: list[Window] = []

    @property
    def slowest_s(self) -> float:
        """Return the longest period of the meters; 0 where there are none."""
        return max((track.pace.period_s for track in self._tracks), default=0.0)

    def start(self) -> None:
        """Begin to read; nothing where there are no meters."""
        if self._tracks:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, daemon=True, name="sampler")
            self._thread.start()
            time.sleep(2 * self.slowest_s)  # a window's start needs a reading before it

    def stop(self) -> None:
        """Stop reading once there is a reading after the last window."""
        if self._thread is None:
            return
        time.sleep(2 * self.slowest_s)
        self._stop.set()
        self._thread.join(STOP_S)  # a sensor that blocks may not hold the run up
        self._thread = None

    def add(
        self, phase: Phase, start_ns: int, end_ns: int, tokens: tuple[int, int] = (0, 0)
    ) -> None:
        """Keep a window; tokens are those evaluated in it, and those of one repetition."""
        if self._tracks:
            self._windows.append(
                Window(
                    phase=phase, start_ns=start_ns, end_ns=end_ns, tokens=tokens[0],
                    repetition_tokens=tokens[1],
                )
            )  # fmt: skip

    def take(self) -> tuple[Timeline, ...]:
        """Return what was read since the last call, a timeline a meter."""
        windows = tuple(self._windows)
        self._windows = []
        return tuple(_timeline(track, windows) for track in self._tracks)

    def _run(self) -> None:
        while not self._stop.is_set():
            now = time.perf_counter()
            for track in self._tracks:
                if track.due_s <= now:
                    track.read()
                    track.due_s = max(track.due_s + track.pace.period_s, now)
            following = min(track.due_s for track in self._tracks)
            # Half the cost of Event.wait; a stop is heard within a period.
            time.sleep(max(0.0, following - time.perf_counter()))


def _timeline(track: _Track, windows: tuple[Window, ...]) -> Timeline:
    series = []
    for name, rail in track.meter.rails.items():
        times, values = track.times.pop(name, array("q")), track.values.pop(name, array("d"))
        count = min(len(times), len(values))  # the thread may be between the two
        series.append(
            Series(
                rail=name, unit=rail.unit, kind=rail.kind, wrap_j=rail.wrap_j,
                t_ns=tuple(times[:count]), values=tuple(values[:count]),
            )
        )  # fmt: skip
    errors = tuple(f"{text} ({count} times)" for text, count in track.errors.items())
    track.errors = {}
    return Timeline(
        period_s=track.pace.period_s, read_s=track.pace.read_s, totals=track.meter.totals,
        series=tuple(series), windows=windows, errors=errors,
    )  # fmt: skip

"""One thread that reads every meter at its own pace while phases run, and what it read.

Knows meters through their protocol, how a sensor's pace is found, and how long a window its sensors
need. Makes no joules. A meter that fails in whatever way costs its own readings alone.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import statistics
import threading
import time
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgebench.device.meters import Meter, Reading
from edgebench.records.energy import (
    MAX_COUNTER_J,
    MAX_POWER_W,
    Phase,
    Series,
    Timeline,
    Window,
    window_needed_s,
)

FASTEST_S, SLOWEST_S = 0.02, 1.0
PACE_PROBE_S = 0.25
# A meter that takes long to read is read less often.
CPU_SHARE = 0.01
WALL_SHARE = 0.25
STOP_S = 2.5
LONGEST_WINDOW_S = 30.0  # a meter that needs more has a figure only where the work itself is long
MIN_CHANGES = 5
KEPT_CHANGES = 64


@dataclass(frozen=True)
class Pace:
    """How often a meter is read, its read's cost, the noise of its total at rest.

    `update_s` is how often it has something new, as far as that was seen.
    """

    period_s: float
    read_s: float
    noise_w: float | None
    update_s: float = 0.0


def find_pace(meter: Meter) -> Pace:
    """Watch a meter for a moment: how often its readings change, and how long one takes."""
    reads: list[float] = []
    costs: list[float] = []
    changes: list[int] = []
    totals: list[float] = []
    last: list[float] = []
    rails = meter.totals[0].rails if meter.totals else ()
    end = time.perf_counter_ns() + int(PACE_PROBE_S * 1e9)
    while time.perf_counter_ns() < end:
        start, busy = time.perf_counter_ns(), time.thread_time_ns()
        try:
            readings = meter.sample()
        except Exception:  # noqa: BLE001 - whatever a meter raises is told once it is sampled
            break
        now = time.perf_counter_ns()
        reads.append((now - start) / 1e9)
        costs.append((time.thread_time_ns() - busy) / 1e9)
        seen = [reading.value for reading in readings]
        if seen and seen != last:
            changes.append(now)
            last = seen
            totals.append(sum(r.value for r in readings if r.rail in rails))
        time.sleep(0.002)
    gaps = [(b - a) / 1e9 for a, b in itertools.pairwise(changes)]
    update_s = statistics.median(gaps) if len(gaps) >= 4 else meter.nominal_s
    read_s = statistics.median(reads) if reads else 0.0
    slow = max(read_s / WALL_SHARE, statistics.median(costs) / CPU_SHARE if costs else 0.0)
    watts = rails and all(meter.rails[rail].unit == "W" for rail in rails)
    noise = statistics.stdev(totals) if watts and len(totals) > 2 else None
    period_s = min(SLOWEST_S, max(FASTEST_S, update_s, slow))
    return Pace(period_s, read_s, noise, max(update_s, period_s))


@dataclass
class _Track:
    """What one meter gave so far."""

    meter: Meter
    pace: Pace
    due_s: float = 0.0
    times: dict[str, array[int]] = field(default_factory=dict)
    values: dict[str, array[float]] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    last: float | None = None
    changes: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT_CHANGES))

    @property
    def _rails(self) -> tuple[str, ...]:
        return self.meter.totals[0].rails if self.meter.totals else ()

    def read(self) -> None:
        """Take a sample; whatever the meter raises is kept as its error."""
        try:
            readings = self.meter.sample()
            for reading in readings:
                _check(reading, self.meter.rails[reading.rail].unit)
        except Exception as error:  # noqa: BLE001 - one meter may not end the thread for the others
            message = str(error)[:200] or type(error).__name__
            self.errors[message] = self.errors.get(message, 0) + 1
            return
        watched = self._rails[:1]
        for reading in readings:
            self.times.setdefault(reading.rail, array("q")).append(reading.t_ns)
            self.values.setdefault(reading.rail, array("d")).append(reading.value)
            if reading.value != self.last and reading.rail in watched:
                self.last = reading.value
                self.changes.append(reading.t_ns)

    @property
    def update_s(self) -> float:
        """Return how often the meter has something new: as seen by now, at least as it is read."""
        changes = list(self.changes)
        if len(changes) <= MIN_CHANGES:
            return max(self.pace.period_s, self.pace.update_s)
        gaps = sorted((b - a) / 1e9 for a, b in itertools.pairwise(changes))
        return max(self.pace.period_s, gaps[len(gaps) // 4])

    @property
    def window_s(self) -> float:
        """Return how long a window must last for the meter; 0 where that would be too long."""
        if not self._rails:
            return 0.0  # it has no total, so no figure
        counts = all(self.meter.rails[rail].unit == "J" for rail in self._rails)
        averaging_s = 0.0 if counts else self.meter.averaging_s
        needed = window_needed_s(self.update_s, self.meter.lag_s, averaging_s)
        return needed if needed <= LONGEST_WINDOW_S else 0.0


def _check(reading: Reading, unit: str) -> None:
    limit = MAX_POWER_W if unit == "W" else MAX_COUNTER_J
    if not math.isfinite(reading.value) or abs(reading.value) > limit:
        raise ValueError(f"{reading.rail} showed {reading.value:.3g} {unit}, beyond any machine")


class Sampler:
    """Reads meters in one thread between `start` and `stop`; keeps windows of phases."""

    def __init__(self, meters: Sequence[Meter], paces: Sequence[Pace]) -> None:
        self._tracks = [_Track(m, p) for m, p in zip(meters, paces, strict=True)]
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._windows: list[Window] = []

    @property
    def slowest_s(self) -> float:
        """Return the longest period at which a meter is read; 0 where there are none."""
        return max((track.pace.period_s for track in self._tracks), default=0.0)

    @property
    def window_s(self) -> float:
        """Return how long a window must last for all meters; 0 where there are none.

        That is 20 updates of the slowest, and what it holds of the phase before. Asked again later
        it may be more, since paces are seen as readings change. A meter for which it would be
        longer than `LONGEST_WINDOW_S` is not waited for.
        """
        return max((track.window_s for track in self._tracks), default=0.0)

    def start(self) -> None:
        """Begin to read; nothing where there are no meters."""
        if self._tracks:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, daemon=True, name="sampler")
            self._thread.start()
            time.sleep(self.slowest_s)  # the first reading opens files

    def stop(self) -> None:
        """Stop reading once the readings of the last window, which may be late, are there."""
        if self._thread is None:
            return
        late_s = max(track.meter.lag_s for track in self._tracks)
        time.sleep(min(STOP_S, late_s + self.slowest_s))
        self._stop.set()
        self._thread.join(STOP_S)  # a sensor that blocks may not hold the run up
        self._thread = None

    def close(self) -> None:
        """Stop reading, and let all meters go; a second call does nothing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_S)
            self._thread = None
        for track in self._tracks:
            with contextlib.suppress(Exception):  # the others must go too
                track.meter.close()
        self._tracks = []

    def add(
        self, phase: Phase, start_ns: int, end_ns: int, tokens: tuple[int, int] = (0, 0)
    ) -> None:
        """Keep a window; tokens are those evaluated in it, and those of one repetition."""
        if self._tracks:
            evaluated, of_repetition = tokens
            self._windows.append(
                Window(
                    phase=phase,
                    start_ns=start_ns,
                    end_ns=end_ns,
                    tokens=evaluated,
                    repetition_tokens=of_repetition,
                )
            )

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
                rail=name,
                unit=rail.unit,
                kind=rail.kind,
                wrap_j=rail.wrap_j,
                t_ns=tuple(times[:count]),
                values=tuple(values[:count]),
            )
        )
    errors = tuple(f"{message} ({count} times)" for message, count in track.errors.items())
    track.errors = {}
    return Timeline(
        period_s=track.pace.period_s,
        read_s=track.pace.read_s,
        lag_s=track.meter.lag_s,
        averaging_s=track.meter.averaging_s,
        totals=track.meter.totals,
        series=tuple(series),
        windows=windows,
        errors=errors,
    )

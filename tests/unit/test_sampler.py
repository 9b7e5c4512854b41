"""The sampler: meters that fail cost their own readings alone, paces, windows, and letting go."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.boards import copy_board, moving, truth_of

from edgebench.device.calibrate import load_levels, record_pairs
from edgebench.device.meters import Rail, Reading, find_meters
from edgebench.device.sampler import Pace, Sampler, find_pace
from edgebench.figures.calibration import fit
from edgebench.figures.energy import energy_of
from edgebench.figures.totals import pairs_of
from edgebench.records.energy import Timeline, Total


class Meter:
    """A meter whose readings are given: a number, or an exception to raise."""

    def __init__(self, shows: Any, averaging_s: float | None = 0.0, **rails: str) -> None:
        self._shows = shows
        self.nominal_s, self.lag_s, self.averaging_s = 0.02, 0.0, averaging_s
        self.rails = {name: Rail("W", "measured") for name in (rails or {"r": "total"})}
        total = tuple(name for name in self.rails if rails.get(name, "total") == "total")
        self.totals = (Total(source="given", rails=total, kind="measured"),)
        self.closed = 0
        self.count = 0

    def sample(self) -> list[Reading]:
        """Return a reading a rail, or raise."""
        self.count += 1
        value = self._shows(self.count) if callable(self._shows) else self._shows
        if isinstance(value, BaseException):
            raise value
        return [Reading(time.perf_counter_ns(), rail, value) for rail in self.rails]

    def close(self) -> None:
        """Count how often it was let go."""
        self.closed += 1


def wobbling(count: int) -> float:
    """Ten watts, one way and the other."""
    return 10 + 0.01 * (count % 2)


def sampled(*meters: Any, seconds: float = 0.6) -> tuple[Timeline, ...]:
    """Read meters for a moment that counts as decode."""
    sampler = Sampler(meters, [Pace(0.02, 0.001, None)] * len(meters))
    sampler.start()
    start = time.perf_counter_ns()
    time.sleep(seconds)
    sampler.add("decode", start, time.perf_counter_ns(), (64, 64))
    sampler.stop()
    lines = sampler.take()
    sampler.close()
    return lines


@pytest.mark.parametrize(
    "fault",
    [RuntimeError("odd"), KeyError("odd"), OSError("odd"), 1e200, float("inf"), float("nan"), -1e9],
    ids=str,
)
def test_whatever_one_meter_does_the_others_go_on(fault: Any) -> None:
    """Any exception and any reading that can't be: the error is that meter's own."""
    bad, good = Meter(fault), Meter(wobbling)
    lines = sampled(bad, good)
    assert lines[0].series[0].values == ()
    assert "odd" in lines[0].errors[0] or "beyond any machine" in lines[0].errors[0]
    broken = energy_of(lines[0], lines[0].totals[0])
    assert broken.decode is None
    assert lines[0].errors[0] in str(broken.reason)
    assert len(lines[1].series[0].values) > 10
    assert lines[1].errors == ()
    assert Timeline.model_validate_json(lines[0].model_dump_json())


def test_the_noise_is_that_of_the_total() -> None:
    """A wall that is derived from the parts, and parts within a whole, are not added again."""
    noise = find_pace(Meter(wobbling, VDD_IN="total", part="", wall="")).noise_w
    assert noise == pytest.approx(0.005, rel=0.1)


def test_a_window_must_last_for_the_slowest_meter_that_can_be_waited_for() -> None:
    """20 updates and what it holds of before; one that needs minutes is not waited for."""
    mean_of_1_s, slow = Meter(wobbling, averaging_s=1.0), Meter(wobbling, averaging_s=15.0)
    paces = [Pace(0.1, 0.0, None, 0.1), Pace(1.0, 0.0, None, 15.0)]
    assert Sampler([mean_of_1_s], paces[:1]).window_s == pytest.approx(3.2)
    assert Sampler([mean_of_1_s, slow], paces).window_s == pytest.approx(3.2)
    assert Sampler([slow], paces[1:]).window_s == 0
    assert Sampler((), ()).window_s == 0
    assert Sampler([Meter(wobbling, r="")], paces[:1]).window_s == 0  # no total, no figure


def test_a_pace_that_shows_later_makes_windows_longer() -> None:
    """Believed to be new each 20 ms, it was new each sixth reading."""
    sampler = Sampler([Meter(lambda n: 10.0 + n // 6)], [Pace(0.02, 0.0, None, 0.02)])
    before = sampler.window_s
    sampler.start()
    time.sleep(1.2)
    sampler.stop()
    assert sampler.window_s > 3 * before
    sampler.close()


def test_closing_lets_every_meter_go_once() -> None:
    """Also where one of them fails to."""
    first, second = Meter(wobbling), Meter(wobbling)
    first.close = lambda: 1 / 0  # type: ignore[method-assign, assignment]
    sampler = Sampler([first, second], [Pace(0.02, 0.0, None)] * 2)
    sampler.start()
    sampler.close()
    sampler.close()
    assert second.closed == 1
    count = second.count
    time.sleep(0.1)
    assert second.count == count


def test_no_meter_costs_no_time() -> None:
    """Neither start nor stop waits where there is nothing to read."""
    sampler = Sampler((), ())
    sampler.start()
    sampler.add("decode", 0, 10)
    sampler.stop()
    assert sampler.take() == ()


# replayed boards


@pytest.fixture
def board(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a copy of a board's tree this machine's root."""
    root = copy_board(request.param, tmp_path)
    monkeypatch.setenv("EDGEBENCH_SYSROOT", str(root))
    return root


def vanish(path: Path) -> None:
    """Take the sensor away."""
    path.unlink()


def babble(path: Path) -> None:
    """Let it answer what is no number."""
    path.write_text("ERROR\n")


def block(path: Path) -> None:
    """Let a read wait for ever: a pipe that nobody writes to."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("board", ["jetson-orin-nano-8gb"], indirect=True)
@pytest.mark.parametrize("fault", [vanish, babble, block])
def test_a_sensor_that_fails_costs_its_figure_alone(
    board: Path, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absent with the reason."""
    monkeypatch.setattr("edgebench.device.sampler.STOP_S", 0.3)
    meters, _ = find_meters(("ina",))
    sampler = Sampler(meters, [Pace(0.02, 0.001, None)])
    paths = list(board.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/curr1_input"))
    sampler.start()
    start = time.perf_counter_ns()
    time.sleep(0.2)
    for path in paths:
        fault(path)
    time.sleep(0.4)
    sampler.add("decode", start, time.perf_counter_ns(), (64, 64))
    sampler.stop()
    line = sampler.take()[0]
    energy = energy_of(line, line.totals[0])
    assert energy.decode is None
    assert energy.reason
    for path in paths:
        if fault is block:  # let the thread go
            with path.open("w") as pipe:
                pipe.write("1\n")


@pytest.mark.parametrize(
    ("board", "source", "seconds"),
    [("jetson-agx-orin-64gb", "ina", 0.8), ("raspberry-pi-5", "pmic", 1.5)],
    indirect=["board"],
)
def test_a_healthy_board_gives_its_joules(board: Path, source: str, seconds: float) -> None:
    """The truth's watts times the window's seconds."""
    with moving(board):
        meter = find_meters((source,))[0][0]
        line = sampled(meter, seconds=seconds)[0]
    energy = energy_of(line, line.totals[0])
    assert energy.decode is not None, energy.reason
    meters = truth_of(board)["meters"]
    watts = next(meter["total_w"] for meter in meters if meter["source"] == source)
    assert energy.decode.gross_j.value == pytest.approx(watts * line.windows[0].seconds, rel=0.01)


@pytest.mark.parametrize(
    ("board", "source", "word"),
    [("intel-laptop", "battery", "a window would have to last"), ("intel-n100", "rapl", "stuck")],
    indirect=["board"],
)
def test_slow_and_stuck_boards_say_so(board: Path, source: str, word: str) -> None:
    """A battery's mean of 15 s, and counters that never move."""
    with moving(board):
        line = sampled(find_meters((source,))[0][0])[0]
    assert word in str(energy_of(line, line.totals[0]).reason)


def test_sensors_are_read_beside_a_reference_at_several_loads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five levels twice over on four cores; the pairs give the line back."""
    assert load_levels(4) == (0, 1, 2, 3, 4, 0, 1, 2, 3, 4)
    assert load_levels(1) == (0, 1, 0, 1)
    monkeypatch.setattr("edgebench.device.calibrate.LEAST_S", 0.5)
    monkeypatch.setattr("edgebench.device.calibrate._BUSY", ["sleep", "60"])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    level = [4.0]

    def told(done: int, total: int) -> None:
        level[0] = 4.0 + 2 * (done % 3)

    wall = Meter(lambda n: level[0] + 0.01 * (n % 2))
    sensor = Meter(lambda n: 0.8 * (level[0] + 0.01 * (n % 2)) - 1)
    reference, line = record_pairs(wall, [sensor], told)
    found = fit(pairs_of(line, line.totals[0], reference))
    assert (found.gain, found.offset_w) == pytest.approx((1.25, 1.25), rel=0.02)
    assert (wall.closed, sensor.closed) == (1, 1)

"""Joules of known powers; sensors that are late, average, wrap and stick; launches."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sensors import SENSORS, Sensor, scores, study

from edgebench.figures.energy import energies, energy_of, joined
from edgebench.figures.windows import NoFigure, power_of, readings_of, unwrap
from edgebench.records.energy import (
    Calibration,
    Energy,
    Series,
    Timeline,
    Total,
    Window,
    window_needed_s,
)

Power = Callable[[float], float]
RNG = random.Random(3)


def constant(_: float) -> float:
    """Ten watts."""
    return 10.0


def ramp(t: float) -> float:
    """Five watts, and one more each second."""
    return 5 + t


def square(t: float) -> float:
    """Four and twelve watts in turn, half a second each."""
    return 4.0 if int(2 * t) % 2 == 0 else 12.0


def joules(power: Power, start: float, end: float, steps: int = 20_000) -> float:
    """Return the energy by a fine sum."""
    width = (end - start) / steps
    return sum(power(start + (i + 0.5) * width) for i in range(steps)) * width


def powers(power: Power, period: float, until: float = 30.0, noise: float = 0.01) -> Series:
    """Sample a power, with a sensor's small noise."""
    times = [i * period for i in range(int(until / period) + 1)]
    return Series(
        rail="r",
        unit="W",
        kind="measured",
        t_ns=tuple(int(t * 1e9) for t in times),
        values=tuple(power(t) + RNG.uniform(-noise, noise) for t in times),
    )


def counter(
    power: Power, period: float, until: float = 30.0, wrap_j: float | None = None
) -> Series:
    """Count a power's joules, read each period."""
    total, values = 0.0, []
    for i in range(int(until / period) + 1):
        values.append(total % wrap_j if wrap_j else total)
        total += joules(power, i * period, (i + 1) * period, 20)
    return Series(
        rail="r",
        unit="J",
        kind="measured",
        wrap_j=wrap_j,
        t_ns=tuple(int(i * period * 1e9) for i in range(len(values))),
        values=tuple(values),
    )


def window(start: float, end: float, phase: str = "decode", tokens: int = 10) -> Window:
    """A phase's window in seconds."""
    return Window.model_validate(
        {
            "phase": phase,
            "start_ns": int(start * 1e9),
            "end_ns": int(end * 1e9),
            "tokens": tokens,
            "repetition_tokens": tokens,
        }
    )


def line_of(
    *series: Series,
    windows: Sequence[Window] = (),
    rails: tuple[str, ...] = ("r",),
    **changes: Any,
) -> Timeline:
    """A timeline of an instantaneous sensor whose total is `rails`."""
    fields: dict[str, Any] = {
        "period_s": 0.05,
        "averaging_s": 0.0,
        "totals": (Total(source="test", rails=rails, kind="measured", boundary="module"),),
        "series": series,
        "windows": tuple(windows),
    }
    return Timeline(**(fields | changes))


def watts(series: Series, start: float, end: float, **changes: Any) -> float:
    """Return the mean power of a window."""
    return power_of(readings_of(series), window(start, end), line_of(series, **changes)).watts


@pytest.mark.parametrize("power", [constant, ramp, square])
@pytest.mark.parametrize("sampled", [powers, counter])
def test_known_powers_are_found(power: Power, sampled: Callable[..., Series]) -> None:
    """Within 1 %, in windows of many updates."""
    series = sampled(power, 0.02)
    for start, end in ((2.013, 24.021), (3.5, 9.5), (1.0, 3.0)):
        truth = joules(power, start, end) / (end - start)
        assert watts(series, start, end) == pytest.approx(truth, rel=0.01)


@settings(max_examples=40, deadline=None)
@given(
    before=st.floats(1, 50),
    during=st.floats(1, 50),
    averaging=st.floats(0, 2),
    lag=st.floats(0, 1),
    period=st.floats(0.02, 0.2),
    length=st.floats(1, 1.6),
)
def test_nothing_of_the_phase_before_or_after_is_in_a_window(
    before: float, during: float, averaging: float, lag: float, period: float, length: float
) -> None:
    """Any two powers, any lag and averaging that are stated: what the window shows is its own."""
    start = 6.0
    end = start + length * window_needed_s(period, lag, averaging)

    def shown(t: float) -> float:
        u, a = t - lag, max(averaging, 1e-9)
        overlap = max(0.0, min(u, end) - max(u - a, start)) / a
        return during * overlap + before * (1 - overlap)

    series = powers(shown, period, until=end + 5, noise=1e-6)
    found = watts(series, start, end, lag_s=lag, averaging_s=averaging)
    assert found == pytest.approx(during, rel=1e-3)


@pytest.mark.parametrize("sensor", SENSORS, ids=lambda sensor: sensor.name)
def test_simulated_sensors_are_unbiased_and_their_intervals_hold(sensor: Sensor) -> None:
    """Launches of known watts: a bias of at most 1 %, intervals that hold; or no figure."""
    for name, score in scores(sensor, 12, seed=5).items():
        if not sensor.has_figure:
            assert not score.ratios
            continue
        assert score.ratios or name in ("idle", "net decode")
        if score.ratios:
            assert abs(score.bias) < 0.01, name
            assert score.coverage > 0.8, name  # 12 studies: tools/sim_energy.py makes 200


def test_an_averaging_time_that_nobody_stated_is_noticed() -> None:
    """A mean of 3 s behind a program: no figure, and what to state."""
    import numpy as np

    sensor = Sensor("mean of 3 s", 0.1, 0.1, averaging_s=3.0, stated_averaging_s=None)
    energy, _ = study(sensor, np.random.default_rng(1))
    assert energy.decode is None
    assert "averaging=3s" in str(energy.reason)


def test_fewer_launches_and_windows_give_wider_intervals_or_none() -> None:
    """Five launches are narrower than two windows; one window has no interval."""
    import numpy as np

    def half(launches: int, repetitions: int) -> float | None:
        energy, _ = study(SENSORS[0], np.random.default_rng(2), launches, repetitions)
        assert energy.decode
        ends = energy.decode.j_per_token.bounds
        return (ends.high - ends.low) / 2 if ends else None

    many, few = half(5, 2), half(1, 2)
    assert many is not None
    assert few is not None
    assert few > many
    assert half(1, 1) is None


def test_a_window_that_is_too_short_says_how_long_it_would_have_to_be() -> None:
    """20 updates, and what the sensor holds of the phase before."""
    series = powers(constant, 0.1)
    for length in (0.05, 1.2):
        line = line_of(series, windows=[window(5, 5 + length)], averaging_s=1.0)
        found = energy_of(line, line.totals[0])
        assert found.decode is None
        assert "a window would have to last 3.2 s" in str(found.reason)


def test_short_windows_count_together() -> None:
    """Three windows of 10 updates each are enough, one is not."""
    series = powers(constant, 0.1)
    windows = [window(start, start + 1.1) for start in (5, 8, 11)]
    for count in (1, 3):
        line = line_of(series, windows=windows[:count])
        assert (energy_of(line, line.totals[0]).decode is not None) == (count == 3)


def test_one_line_a_second_is_no_silence() -> None:
    """A plug's own pace is seen in its lines, whatever it was believed to be."""
    series = powers(constant, 1.0, until=60)
    line = line_of(series, windows=[window(5, 30)], period_s=0.1, averaging_s=None)
    found = energy_of(line, line.totals[0])
    assert found.decode is not None, found.reason
    assert found.period_s == pytest.approx(1.0)


def test_a_counter_that_wraps_three_times_is_followed() -> None:
    """Ten watts over a range of 60 J for 24 s."""
    series = counter(constant, 0.1, wrap_j=60.0)
    assert max(series.values) < 60
    assert watts(series, 1, 25) == pytest.approx(10, rel=1e-6)


def test_a_reset_counter_is_not_taken_for_a_wrap() -> None:
    """After a reset there is no figure; windows before it keep theirs."""
    values = [10.0 * i for i in range(100)] + [10.0 * i for i in range(100)]
    times = tuple(int(i * 1e8) for i in range(200))
    for wrap in (None, 262143.0):
        series = Series(
            rail="r", unit="J", kind="measured", wrap_j=wrap, t_ns=times, values=tuple(values)
        )
        with pytest.raises(NoFigure, match="reset"):
            watts(series, 8, 12)
        assert watts(series, 2, 6) == pytest.approx(100)
        with pytest.raises(NoFigure, match="reset"):
            unwrap(series)


@pytest.mark.parametrize("sampled", [powers, counter])
def test_a_stuck_sensor_has_no_figure(sampled: Callable[..., Series]) -> None:
    """From the start, or from the middle of a window on."""
    moving = sampled(square, 0.1)
    stuck = moving.model_copy(
        update={
            "values": tuple(
                v if t < 8e9 else moving.values[79]
                for t, v in zip(moving.t_ns, moving.values, strict=True)
            )
        }
    )
    with pytest.raises(NoFigure, match="stuck"):
        watts(stuck, 9, 15)
    with pytest.raises(NoFigure, match="stuck"):
        readings_of(moving.model_copy(update={"values": (5.0,) * len(moving.values)}))


def test_coarse_steps_widen_the_interval_and_are_told() -> None:
    """Steps of 1 W on 8.4 W: half a step to either side at least."""
    coarse = powers(lambda t: 9.0 if t % 1.6 < 0.2 else 8.0, 0.1, noise=0.0)
    line = line_of(coarse, windows=[window(2, 8), window(10, 16), window(18, 24)])
    found = energy_of(line, line.totals[0])
    assert found.decode is not None, found.reason
    ends = found.decode.gross_j.bounds
    assert ends is not None
    assert ends.high - found.decode.gross_j.value >= 0.5 * 6
    assert "steps of 1 W" in found.warnings[0]


def test_one_value_for_a_whole_phase_is_coarse_and_over_two_phases_stuck() -> None:
    """A plug of whole watts that answers to each phase has figures; one that doesn't has none."""

    def whole(t: float) -> float:
        return phased(t) + (int(20 * t) % 2 if 3.5 < t < 4.5 else 0)

    answering = case_of(powers(whole, 0.05, noise=0.0))
    found = energy_of(answering, answering.totals[0])
    assert found.decode is not None, found.reason
    assert found.decode.gross_j.value == pytest.approx(35.0, rel=0.01)
    frozen = case_of(powers(lambda t: whole(min(t, 4.4)), 0.05, noise=0.0))
    found = energy_of(frozen, frozen.totals[0])
    assert found.decode is None
    assert "stuck" in str(found.reason)


def test_a_gap_has_no_figure() -> None:
    """A sensor that was silent for a second."""
    whole = powers(constant, 0.05)
    kept = [i for i, t in enumerate(whole.t_ns) if not 5e9 < t < 6e9]
    series = whole.model_copy(
        update={
            "t_ns": tuple(whole.t_ns[i] for i in kept),
            "values": tuple(whole.values[i] for i in kept),
        }
    )
    with pytest.raises(NoFigure, match=r"silent for 1\.0"):
        watts(series, 2, 10)
    assert watts(series, 7, 10) == pytest.approx(10, rel=0.01)


def test_a_window_outside_the_readings_has_no_figure() -> None:
    """Nothing is extrapolated."""
    with pytest.raises(NoFigure):
        watts(powers(constant, 0.05, until=5), 6, 9)


@pytest.mark.parametrize("value", [-5.0, 1e200, 1e308])
def test_impossible_powers_leave_no_figure(value: float) -> None:
    """A negative load, and more than any machine takes: the reason, and nothing overflows."""
    series = powers(lambda t: value * (1 + t / 1e3), 0.1, until=30 if value < 1e308 else 0.5)
    line = line_of(series, windows=[window(2, 10), window(12, 20, "idle", 0)])
    found = energy_of(line, line.totals[0])
    assert found.decode is None
    assert found.idle_w is None
    assert "negative" in str(found.reason) or "beyond any machine" in str(found.reason)


# a source's figures


def case_of(*series: Series, rails: tuple[str, ...] = ("r",)) -> Timeline:
    """Idle from 1 to 3 and 27 to 29 s, prefill from 5 to 7, decode from 8 to 18 in two windows."""
    windows = (
        window(1, 3, "idle", 0),
        window(5, 7, "prefill", 512),
        window(8, 13, "decode", 64),
        window(13, 18, "decode", 64),
        window(27, 29, "idle", 0),
    )
    return line_of(*series, rails=rails, windows=windows)


def phased(t: float) -> float:
    """Idle 2 W, prefill 12 W, decode 7 W."""
    return 12.0 if 5 <= t < 7 else (7.0 if 8 <= t < 18 else 2.0)


def test_a_source_that_can_not_be_computed_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with it, its energy is absent with the reason, and the others are there."""
    line = case_of(powers(phased, 0.05))
    calls = itertools.count()

    def sometimes(*arguments: Any) -> Energy:
        if next(calls) == 0:
            raise OverflowError("math range error")
        return energy_of(*arguments)

    monkeypatch.setattr("edgebench.figures.energy.energy_of", sometimes)
    first, second = energies([line, line])
    assert first.decode is None
    assert first.reason == "it could not be computed (OverflowError: math range error)"
    assert second.decode


def test_a_calibration_that_makes_power_negative_leaves_no_figure() -> None:
    """What is below zero is told, and not stored as energy."""
    fit = Calibration(gain=1.0, offset_w=-50.0, gain_sd=0.0, offset_sd=0.0, n=3)
    line = case_of(powers(phased, 0.05))
    found = energy_of(line, line.totals[0], fit)
    assert found.decode is None
    assert "its calibration makes -43 W of 7 W" in str(found.reason)


def test_gross_net_and_per_token() -> None:
    """Idle power is taken off; everything is for one repetition."""
    line = case_of(powers(phased, 0.05))
    found = energy_of(line, line.totals[0])
    assert found.idle_w is not None
    assert found.idle_w.value == pytest.approx(2.0, rel=0.01)
    assert found.decode is not None
    assert found.decode.gross_j.value == pytest.approx(35.0, rel=0.01)
    assert found.decode.net_j is not None
    assert found.decode.net_j.value == pytest.approx(25.0, rel=0.01)
    assert found.decode.j_per_token.value == pytest.approx(35 / 64, rel=0.01)
    assert found.prefill is not None
    assert found.prefill.gross_j.value == pytest.approx(24.0, rel=0.01)
    assert found.boundary == "module"
    assert found.warnings == ()
    assert found.reason is None


def test_the_sensors_own_error_is_in_the_interval_and_cancels_in_part_in_net() -> None:
    """An accuracy of 5 % widens both; net by 5 % of net."""
    exact = case_of(powers(phased, 0.05, noise=0.001))
    rough = exact.totals[0].model_copy(update={"error_share": 0.05})
    found = energy_of(exact, rough)
    assert found.decode is not None
    assert found.decode.net_j is not None
    for estimate in (found.decode.gross_j, found.decode.net_j):
        assert estimate.bounds is not None
        half = (estimate.bounds.high - estimate.bounds.low) / 2
        assert half == pytest.approx(0.05 * estimate.value, rel=0.1)


def test_stated_watts_have_no_interval() -> None:
    """Nobody knows how far off they are; a constant is what they are, not a stuck sensor."""
    stated = powers(constant, 0.05, noise=0.0).model_copy(update={"kind": "estimated"})
    line = case_of(stated)
    found = energy_of(line, line.totals[0].model_copy(update={"kind": "estimated"}))
    assert found.decode is not None
    assert found.decode.gross_j.value == pytest.approx(50.0, rel=1e-6)
    assert found.decode.gross_j.bounds is None


def test_rails_add_up_and_a_missing_one_leaves_no_total() -> None:
    """AGX Orin's total is a sum of three; two of them are none. A rail that is off counts as 0."""
    a, b = powers(phased, 0.05), powers(constant, 0.05)
    off = powers(lambda t: 0.0, 0.05, noise=0.0)
    rails = tuple(
        series.model_copy(update={"rail": name})
        for series, name in ((a, "a"), (b, "b"), (off, "off"))
    )
    line = case_of(*rails, rails=("a", "b", "off"))
    found = energy_of(line, line.totals[0])
    assert found.decode is not None, found.reason
    assert found.decode.gross_j.value == pytest.approx(85.0, rel=0.01)
    assert found.rail_w == pytest.approx({"a": 7, "b": 10, "off": 0}, rel=0.01)
    line = case_of(*rails, rails=("a", "b", "c"))
    found = energy_of(line, line.totals[0])
    assert found.decode is None
    assert "c gave no readings" in str(found.reason)


def test_no_total_shows_every_rail() -> None:
    """An unknown board: rails apart, no sum."""
    line = case_of(powers(phased, 0.05), rails=())
    found = energy_of(line, line.totals[0])
    assert found.decode is None
    assert found.rail_w == pytest.approx({"r": 7.0}, rel=0.01)
    assert "known to be this board's total" in str(found.reason)


def test_idle_that_drifts_is_flagged() -> None:
    """Two watts before, three after."""
    line = case_of(powers(lambda t: phased(t) + (1 if t > 20 else 0), 0.05))
    found = energy_of(line, line.totals[0])
    assert found.idle_drift_w == pytest.approx(1.0, abs=0.02)
    assert "idle power moved by" in found.warnings[0]


# launches


def test_launches_are_joined_and_counted() -> None:
    """Three launches of their own readings: a value each, and no window reaches into another."""
    lines: list[Timeline] = []
    for number in range(3):
        part = case_of(powers(lambda t, n=number: phased(t) * (1 + n / 100), 0.05))  # type: ignore[misc]
        lines = joined(lines, [part])  # each clock begins anew: it is moved behind
    assert [w.launch for w in lines[0].windows] == [0] * 5 + [1] * 5 + [2] * 5
    again = Timeline.model_validate_json(lines[0].model_dump_json())
    found = energy_of(again, again.totals[0])
    assert found.decode is not None
    assert found.decode.gross_j.value == pytest.approx(35 * 1.01, rel=0.01)
    assert found.decode.gross_j.n == 3
    assert "launches" in found.decode.gross_j.method


def test_a_meter_that_is_missing_in_a_launch_costs_that_launch_alone() -> None:
    """A battery that was plugged in meanwhile: its windows of the first launch stay."""
    first, other = case_of(powers(phased, 0.05)), case_of(powers(constant, 0.05))
    other = other.model_copy(update={"totals": (Total(source="x", rails=("r",), kind="derived"),)})
    lines = joined(joined([], [first, other]), [first])
    assert [len(line.windows) for line in lines] == [10, 5]
    assert [e.source for e in energies(lines)] == ["test", "x"]

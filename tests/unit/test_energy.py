"""Joules of known powers: constant, ramp, square wave, counters that wrap, reset and stick."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebench.figures.energy import NoFigure, energy_of, integrate, joined, unwrap
from edgebench.records.energy import MIN_PERIODS, Series, Timeline, Total, Window

Power = Callable[[float], float]


def constant(_: float) -> float:
    """Ten watts."""
    return 10.0


def ramp(t: float) -> float:
    """Five watts, and one more each second."""
    return 5 + t


def square(t: float) -> float:
    """Four and twelve watts in turn, one second each."""
    return 4.0 if int(t) % 2 == 0 else 12.0


def joules(power: Power, start: float, end: float) -> float:
    """Return the exact energy, by a fine sum."""
    steps = 200_000
    width = (end - start) / steps
    return sum(power(start + (i + 0.5) * width) for i in range(steps)) * width


def powers(power: Power, period: float, until: float = 30.0, phase: float = 0.0) -> Series:
    """Sample a power."""
    times = [phase + i * period for i in range(int((until - phase) / period) + 1)]
    return Series(
        rail="r", unit="W", kind="measured",
        t_ns=tuple(int(t * 1e9) for t in times), values=tuple(power(t) for t in times),
    )  # fmt: skip


def counter(
    power: Power, period: float, until: float = 30.0, wrap_j: float | None = None
) -> Series:
    """Count a power's joules, read each period."""
    count = int(until / period) + 1
    total, values = 0.0, []
    for i in range(count):
        values.append(total % wrap_j if wrap_j else total)
        total += joules_simple(power, i * period, (i + 1) * period)
    return Series(
        rail="r", unit="J", kind="measured", wrap_j=wrap_j,
        t_ns=tuple(int(i * period * 1e9) for i in range(count)), values=tuple(values),
    )  # fmt: skip


def joules_simple(power: Power, start: float, end: float) -> float:
    """Return the energy of a short step."""
    width = (end - start) / 20
    return sum(power(start + (i + 0.5) * width) for i in range(20)) * width


def window(start: float, end: float, phase: str = "decode", tokens: int = 10) -> Window:
    """A phase's window in seconds."""
    return Window.model_validate(
        {
            "phase": phase, "start_ns": int(start * 1e9), "end_ns": int(end * 1e9),
            "tokens": tokens, "repetition_tokens": tokens,
        }
    )  # fmt: skip


@pytest.mark.parametrize("power", [constant, ramp, square])
@pytest.mark.parametrize("sampled", [powers, counter])
def test_known_powers_give_exact_joules(power: Power, sampled: Callable[..., Series]) -> None:
    """Windows of 20 periods or more: within 1 %, and within the bounds that are told."""
    for start, end in ((2.013, 24.021), (3.5, 8.37), (1.0, 3.0)):
        series = sampled(power, 0.02)
        truth = joules(power, start, end)
        found = integrate(series, window(start, end), 0.02)
        assert found.value == pytest.approx(truth, rel=0.01)
        assert found.low - 1e-6 <= truth <= found.high + 1e-6


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.1, 60), min_size=4, max_size=8),
    st.floats(0.02, 0.2),
    st.floats(0.3, 2),
    st.floats(0, 1),
)
def test_bounds_hold_for_any_steps_of_power(
    levels: Sequence[float], period: float, start: float, phase: float
) -> None:
    """Random powers of a second each, random sampling: the truth lies within the bounds."""

    def power(t: float) -> float:
        return levels[min(len(levels) - 1, max(0, int(t / 3)))]

    series = powers(power, period, until=3 * len(levels), phase=phase * period)
    end = start + max(2.0, MIN_PERIODS * period + 0.01)
    if end > 3 * len(levels) - 2 * period:
        return
    truth = joules_steps(levels, start, end)
    found = integrate(series, window(start, end), period)
    assert found.low - 1e-6 <= truth <= found.high + 1e-6


def joules_steps(levels: Sequence[float], start: float, end: float) -> float:
    """Return the exact energy of powers of three seconds each."""
    total = 0.0
    for index, level in enumerate(levels):
        total += level * max(0.0, min(end, 3 * index + 3) - max(start, 3 * index))
    return total


def test_a_window_under_twenty_periods_has_no_figure() -> None:
    """Nor one that is shorter than a period."""
    series = powers(constant, 0.1)
    for length in (0.05, 1.9):
        with pytest.raises(NoFigure, match="shorter than 20 periods"):
            integrate(series, window(5, 5 + length), 0.1)


def test_a_counter_that_wraps_three_times_is_followed() -> None:
    """Ten watts over a range of 60 J: 240 J in 24 s."""
    series = counter(constant, 0.1, wrap_j=60.0)
    assert max(series.values) < 60
    found = integrate(series, window(1, 25), 0.1)
    assert found.value == pytest.approx(240, rel=1e-6)


def test_a_reset_counter_is_not_taken_for_a_wrap() -> None:
    """After a reset there is no figure; windows before it keep theirs."""
    values = [10.0 * i for i in range(100)] + [10.0 * i for i in range(100)]
    times = tuple(int(i * 1e8) for i in range(200))
    for wrap in (None, 262143.0):
        series = Series(
            rail="r", unit="J", kind="measured", wrap_j=wrap, t_ns=times, values=tuple(values)
        )
        with pytest.raises(NoFigure, match="reset"):
            integrate(series, window(8, 12), 0.1)
        assert integrate(series, window(2, 6), 0.1).value == pytest.approx(400)
        with pytest.raises(NoFigure, match="reset"):
            unwrap(series)


def test_a_stuck_counter_is_not_integrated() -> None:
    """The same value for a whole window is no zero."""
    series = counter(lambda t: 0.0, 0.1)
    with pytest.raises(NoFigure, match="stuck"):
        integrate(series, window(2, 10), 0.1)


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
        integrate(series, window(2, 10), 0.05)
    assert integrate(series, window(7, 10), 0.05).value == pytest.approx(30)


def test_a_window_outside_the_readings_has_no_figure() -> None:
    """Nothing is extrapolated."""
    with pytest.raises(NoFigure, match="not read around"):
        integrate(powers(constant, 0.05, until=5), window(3, 9), 0.05)


# a source's figures


def timeline(*series: Series, total: tuple[str, ...] = ("r",), busy: float = 10.0) -> Timeline:
    """Idle from 1 to 3 and 27 to 29 s, prefill from 5 to 7, decode from 8 to 18 in two windows."""
    return Timeline(
        period_s=0.05, totals=(Total(source="test", rails=total, kind="measured"),),
        series=series,
        windows=(
            window(1, 3, "idle", 0), window(5, 7, "prefill", 512), window(8, 13, "decode", 64),
            window(13, 18, "decode", 64), window(27, 29, "idle", 0),
        ),
    )  # fmt: skip


def phased(t: float) -> float:
    """Idle 2 W, prefill 12 W, decode 7 W."""
    return 12.0 if 5 <= t < 7 else (7.0 if 8 <= t < 18 else 2.0)


def test_gross_net_and_per_token() -> None:
    """Idle power is taken off; everything is for one repetition."""
    line = timeline(powers(phased, 0.05))
    found = energy_of(line, line.totals[0])
    assert found.idle_w is not None
    assert found.idle_w.value == pytest.approx(2.0)
    assert found.decode is not None
    assert found.decode.gross_j.value == pytest.approx(35.0, rel=0.01)
    assert found.decode.net_j is not None
    assert found.decode.net_j.value == pytest.approx(25.0, rel=0.01)
    assert found.decode.j_per_token.value == pytest.approx(35 / 64, rel=0.01)
    assert found.prefill is not None
    assert found.prefill.gross_j.value == pytest.approx(24.0, rel=0.06)
    assert found.warnings == ()
    assert found.reason is None


def test_rails_add_up_and_a_missing_one_leaves_no_total() -> None:
    """AGX Orin's total is a sum of three; two of them are none."""
    a, b = powers(phased, 0.05), powers(constant, 0.05)
    two = (a.model_copy(update={"rail": "a"}), b.model_copy(update={"rail": "b"}))
    line = timeline(*two, total=("a", "b"))
    found = energy_of(line, line.totals[0])
    assert found.decode is not None
    assert found.decode.gross_j.value == pytest.approx(85.0, rel=0.01)
    line = timeline(*two, total=("a", "b", "c"))
    found = energy_of(line, line.totals[0])
    assert found.decode is None
    assert "c gave no readings" in str(found.reason)


def test_no_total_shows_every_rail() -> None:
    """An unknown board: rails apart, no sum."""
    line = timeline(powers(phased, 0.05), total=())
    found = energy_of(line, line.totals[0])
    assert found.decode is None
    assert found.rail_w == pytest.approx({"r": 7.0}, rel=0.01)
    assert "known to be this board's total" in str(found.reason)


def test_idle_that_drifts_is_flagged() -> None:
    """Two watts before, three after."""
    line = timeline(powers(lambda t: phased(t) + (1 if t > 20 else 0), 0.05))
    found = energy_of(line, line.totals[0])
    assert found.idle_drift_w == pytest.approx(1.0)
    assert "idle power moved by +1.00 W" in found.warnings[0]


def test_later_requests_are_joined_to_the_same_meter() -> None:
    """Windows and readings of two requests give what one would have given."""
    whole = timeline(powers(phased, 0.05))
    half = len(whole.series[0].t_ns) // 2
    parts = [
        whole.model_copy(
            update={
                "series": (
                    whole.series[0].model_copy(
                        update={
                            "t_ns": whole.series[0].t_ns[part],
                            "values": whole.series[0].values[part],
                        }
                    ),
                ),
                "windows": windows,
            }
        )
        for part, windows in (
            (slice(0, half), whole.windows[:3]),
            (slice(half, None), whole.windows[3:]),
        )
    ]
    again = joined(joined([], parts[:1]), parts[1:])[0]
    assert energy_of(again, again.totals[0]) == energy_of(whole, whole.totals[0])
    assert math.isclose(len(again.windows), 5)

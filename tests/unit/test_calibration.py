"""Calibrations: lines are recovered, their intervals hold, and figures carry them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.errors import UsageError
from edgebench.figures.calibration import Line, Pair, fit, parse_pair
from edgebench.figures.energy import energies, energy_of
from edgebench.figures.totals import pairs_of
from edgebench.records.energy import Calibration, Series, Timeline, Total, Window


@given(
    st.floats(0.5, 2),
    st.floats(-2, 5),
    st.lists(st.floats(1, 50), min_size=3, max_size=12),
)
def test_an_exact_line_is_recovered(gain: float, offset: float, levels: list[float]) -> None:
    """Any gain and offset, from any levels that lie apart."""
    pairs = [Pair(x, gain * x + offset) for x in levels]
    if max(levels) - min(levels) < 0.3 * np.mean(levels):
        with pytest.raises(UsageError, match="within"):
            fit([Pair(levels[0] + i * 1e-3, 5) for i in range(4)])
        return
    found = fit(pairs)
    assert found.gain == pytest.approx(gain, rel=1e-6)
    assert found.offset_w == pytest.approx(offset, abs=1e-6)
    assert found.gain_sd < 1e-6


def test_the_lines_interval_holds_the_truth() -> None:
    """1,000 fits of 6 noisy pairs: 95 % intervals hold the wall's watts in 93 to 97 %."""
    rng = np.random.default_rng(4)
    held = []
    for _ in range(1000):
        x = np.linspace(3, 12, 6) + rng.uniform(-1, 1, 6)
        y = 1.15 * x + 0.6 + rng.normal(0, 0.1, 6)
        line = Line(fit([Pair(*pair) for pair in zip(x, y, strict=True)]))
        at = rng.uniform(3, 12)
        shown = line.fit.gain * at + line.fit.offset_w
        held.append(abs(shown - (1.15 * at + 0.6)) <= line.half_w(shown))
    assert 0.93 <= np.mean(held) <= 0.97


@pytest.mark.parametrize(
    ("pairs", "word"),
    [
        ([Pair(5, 6), Pair(8, 9)], "too few"),
        ([Pair(5, 6), Pair(5.1, 6), Pair(5.2, 6.1)], "within"),
        ([Pair(5, 9), Pair(8, 6), Pair(9, 5)], "fall"),
    ],
)
def test_pairs_that_give_no_line_are_refused(pairs: list[Pair], word: str) -> None:
    """Too few, too close, or the wrong way round."""
    with pytest.raises(UsageError, match=word):
        fit(pairs)


def test_typed_pairs_are_read() -> None:
    """Watts with or without their unit."""
    assert parse_pair("5.1W=6.3W") == (5.1, 6.3)
    assert parse_pair("845 mW = 1.2") == (0.845, 1.2)
    for typed in ("5.1", "5.1W:6.3W", "a=b", "-5W=3W"):
        with pytest.raises(UsageError, match="pair"):
            parse_pair(typed)


def line(source: str, watts: dict[float, float], gain: float, offset: float) -> Timeline:
    """Levels of ten seconds each, by a sensor that shows gain x watts + offset."""
    rng = np.random.default_rng(len(source))
    times = np.arange(0, 10 * len(watts), 0.1)
    levels = list(watts.items())
    values = [gain * levels[int(t // 10)][1] + offset + rng.normal(0, 0.02) for t in times]
    return Timeline(
        period_s=0.1,
        averaging_s=0.0,
        totals=(
            Total(source=source, rails=("r",), kind="measured", boundary="board", error_share=0.05),
        ),
        series=(
            Series(
                rail="r",
                unit="W",
                kind="measured",
                t_ns=tuple(int(t * 1e9) for t in times),
                values=tuple(values),
            ),
        ),
        windows=tuple(
            Window(phase="load", start_ns=(10 * i + 1) * 10**9, end_ns=(10 * i + 9) * 10**9)
            for i in range(len(levels))
        ),
    )


WATTS = {0: 4.0, 1: 8.0, 2: 12.0, 3: 5.0}


def test_two_meters_side_by_side_become_pairs_and_a_line() -> None:
    """The sensor shows 0.8 of the wall less a watt: the line undoes that."""
    sensor, wall = line("sensor", WATTS, 0.8, -1.0), line("plug", WATTS, 1.0, 0.0)
    pairs = pairs_of(sensor, sensor.totals[0], wall)
    assert len(pairs) == 4
    found = fit(pairs)
    assert found.gain == pytest.approx(1.25, rel=0.02)
    assert found.offset_w == pytest.approx(1.25, abs=0.1)


def test_a_sensor_that_can_not_be_read_gives_no_pairs() -> None:
    """With the reason."""
    sensor, wall = line("sensor", WATTS, 0.0, 5.0), line("plug", WATTS, 1.0, 0.0)
    stuck = sensor.series[0].model_copy(update={"values": (5.0,) * len(sensor.series[0].t_ns)})
    with pytest.raises(UsageError, match="stuck"):
        pairs_of(sensor.model_copy(update={"series": (stuck,)}), sensor.totals[0], wall)


def test_figures_carry_the_calibration() -> None:
    """Joules of the wall, derived, wider by the line's error; the sensor's own stay beside them."""
    measured = line("sensor", WATTS, 0.8, -1.0)
    windows = tuple(
        w.model_copy(
            update={
                "phase": "idle" if i in (0, 3) else "decode",
                "tokens": 10,
                "repetition_tokens": 10,
            }
        )
        for i, w in enumerate(measured.windows)
    )
    measured = measured.model_copy(update={"windows": windows})
    exact = Calibration(
        gain=1.25, offset_w=1.25, gain_sd=0.0, offset_sd=0.0, n=8, mean_w=5.0, low_w=2.0, high_w=9.0
    )
    plain, wall = energies([measured], {"sensor": exact})
    assert (plain.source, plain.boundary, plain.kind) == ("sensor", "board", "measured")
    assert (wall.source, wall.boundary, wall.kind) == ("sensor calibrated", "wall", "derived")
    assert wall.decode is not None
    assert wall.decode.gross_j.value == pytest.approx((8 + 12) / 2 * 8, rel=0.01)
    assert wall.calibration == exact
    rough = exact.model_copy(update={"gain_sd": 0.05, "offset_sd": 0.3})
    wider = energy_of(measured, measured.totals[0], rough)
    assert wider.decode is not None
    for a, b in ((wall.decode.gross_j, wider.decode.gross_j),):
        assert a.bounds is not None
        assert b.bounds is not None
        assert b.bounds.high - b.bounds.low > a.bounds.high - a.bounds.low
    narrow = exact.model_copy(update={"low_w": 2.0, "high_w": 3.0})
    assert "outside what was calibrated" in " ".join(
        energy_of(measured, measured.totals[0], narrow).warnings
    )

"""A sensor is fitted to a wall meter by what a person typed, and later runs carry the fit."""

from __future__ import annotations

import json

import pytest
from support.shell import Shell, error_of

PAIRS = ("--pair", "5W=7.1W", "--pair", "10W=13W", "--pair", "15W=19.05W", "--pair", "20W=25W")


def test_typed_pairs_are_fitted_and_kept(edgebench: Shell) -> None:
    """The line is the least-squares one; a second sensor doesn't drop the first."""
    told = edgebench.json("devices", "calibrate", "cpu", "--source", "rapl", *PAIRS, "--json")
    line = told["calibration"]["rapl"]
    assert line["gain"] == pytest.approx(1.195, abs=0.01)
    assert line["offset_w"] == pytest.approx(1.1, abs=0.1)
    assert line["gain_sd"] > 0
    edgebench.json("devices", "calibrate", "cpu", "--source", "ina", *PAIRS, "--json")
    devices = {entry["name"]: entry for entry in edgebench.json("devices", "--json")["devices"]}
    assert set(devices["cpu"]["calibration"]) == {"rapl", "ina"}
    assert devices["cpu"]["kind"] == "cpu"
    said = edgebench("devices", "calibrate", "cpu", "--source", "rapl", *PAIRS).stdout
    assert "rapl: wall = 1.19" in said


def test_runs_carry_the_fit(edgebench: Shell, fakes) -> None:
    """A sensor that was calibrated has the wall's joules too, derived, with the fit's error."""
    fakes("f16", {"decode_s": 4e-3})
    edgebench("devices", "calibrate", "cpu", "--source", "estimate", *PAIRS)
    runs = edgebench.json(
        "profile", "fakes", "--device", "cpu", "--workload", "16+8", "--tasks", "none",
        "--launches", "1", "--retries", "0", "--meter", "estimate:10W", "--json",
    )["runs"]  # fmt: skip
    sources = {(one["source"], one["boundary"]): one for one in runs[0]["energy"]}
    boundaries = {boundary for _, boundary in sources}
    assert "wall" in boundaries
    assert json.dumps(runs[0]["energy"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "needs a meter or pairs"),
        (("--pair", "5W=6W"), "needs the sensor's name"),
        (("--source", "ina", "--pair", "5W=6W"), "too few"),
        (("--source", "ina", "--pair", "five"), "isn't a pair of watts"),
        (("--source", "ina", *PAIRS, "--meter", "command:x"), "needs a meter or pairs"),
    ],
)
def test_wrong_words_get_one_line(edgebench: Shell, arguments: tuple[str, ...], said: str) -> None:
    """What is missing is named, with what to type, and nothing is kept."""
    done = edgebench("devices", "calibrate", "cpu", *arguments)
    assert (done.returncode, said in error_of(done)) == (2, True), done.stderr
    assert "hint:" in done.stderr


@pytest.mark.parametrize("meter", ["command:/nonexistent", "command:echo hello", "rapl"])
def test_a_named_meter_that_gives_nothing_stops_the_command(
    edgebench: Shell, fakes, meter: str
) -> None:
    """Nobody measures for an hour to find that the plug was not plugged in."""
    fakes("f16")
    done = edgebench("profile", "fakes", "--device", "cpu", "--meter", meter, "--tasks", "none")
    assert (done.returncode, "gives no readings" in error_of(done)) == (2, True)
    assert not list(edgebench.cwd.glob("profiles/**/*.jsonl"))

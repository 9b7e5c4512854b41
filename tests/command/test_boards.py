"""Whole commands on replayed boards: the device is known, and its sensors' joules are its truth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.boards import copy_board, moving, truth_of
from support.shell import MakeFake, Shell


@pytest.fixture
def board(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a copy of a board's tree this machine's root."""
    root = copy_board(request.param, tmp_path)
    monkeypatch.setenv("EDGEBENCH_SYSROOT", str(root))
    monkeypatch.setattr("edgebench.worker.measure.MIN_IDLE_S", 0.1)
    return root


PROFILE = (
    *("profile", "fakes", "--workload", "64+32", "--tasks", "none"),
    *("--launches", "1", "--retries", "0", "--json"),
)


@pytest.mark.parametrize("board", ["jetson-orin-nano-8gb", "raspberry-pi-5"], indirect=True)
def test_profile_on_a_replayed_board_gives_its_known_joules(
    board: Path, edgebench: Shell, fakes: MakeFake
) -> None:
    """`--device jetson` resolves to the board; watts times seconds; then compared by its mode."""
    truth = truth_of(board)
    fakes("q8_0", {"decode_s": 0.002, "prefill_s": 0.001})
    with moving(board):
        run = edgebench.json(*PROFILE, "--device", truth["family"] or "cpu", "--repetitions", "2")[
            "runs"
        ][0]
    assert run["status"] == "ok", run["error"]
    assert run["device"]["name"] == (truth["board"] if truth["family"] else "cpu")
    assert run["device"]["power_mode"] == truth["power_mode"]
    expected = truth["meters"][0]
    energy = next(e for e in run["energy"] if e["source"] == expected["source"])
    assert energy["reason"] is None
    assert energy["boundary"] in ("module", "board")
    assert sorted(energy["rails"]) == sorted(expected["rails"])
    assert energy["idle_w"]["value"] == pytest.approx(expected["total_w"], rel=0.01)
    windows = [w for w in run["timelines"][0]["windows"] if w["phase"] == "decode"]
    seconds = [32e-9 * (w["end_ns"] - w["start_ns"]) / w["tokens"] for w in windows]
    joules = energy["decode"]["gross_j"]["value"]
    assert 0.98 * min(seconds) < joules / expected["total_w"] < 1.02 * max(seconds)
    assert abs(energy["decode"]["net_j"]["value"]) < 0.02 * joules
    assert expected["source"] in edgebench("compare").stdout


@pytest.mark.parametrize("board", ["intel-n100"], indirect=True)
def test_a_stuck_counter_leaves_the_run_whole(
    board: Path, edgebench: Shell, fakes: MakeFake
) -> None:
    """RAPL files that never move: no joules, the reason, and all other figures."""
    fakes("q8_0")
    run = edgebench.json(*PROFILE, "--device", "cpu", "--repetitions", "1", "--meter", "rapl")[
        "runs"
    ][0]
    assert run["status"] == "ok"
    assert run["energy"][0]["decode"] is None
    assert "stuck" in run["energy"][0]["reason"]
    assert "stuck" in edgebench("compare").stdout.replace("\n", " ")


@pytest.mark.parametrize("watts", ["1e200 W", "-5 W"])
def test_a_meter_that_prints_nonsense_costs_energy_alone(
    edgebench: Shell, fakes: MakeFake, watts: str
) -> None:
    """Beyond any machine, or negative: the reason; speed is stored."""
    fakes("q8_0")
    program = f"command:averaging=0s sh -c 'while true; do echo {watts}; sleep 0.02; done'"
    run = edgebench.json(
        *PROFILE, "--device", "cpu", "--repetitions", "1", "--meter", program, "--json"
    )["runs"][0]
    assert run["status"] == "ok"
    assert run["speed"]["decode"]["tokens_per_s"]["value"] > 0
    assert all(e["decode"] is None for e in run["energy"])
    reason = run["energy"][0]["reason"] if run["energy"] else run["energy_reason"]
    assert reason


@pytest.mark.parametrize("board", ["jetson-orin-nano-8gb"], indirect=True)
def test_preflight_says_what_to_type(board: Path, edgebench: Shell) -> None:
    """Each line is ok, a warning or a failure."""
    with moving(board):
        done = edgebench("devices", "check", "jetson", "--json")
    told = json.loads(done.stdout)
    checks = {check["name"]: check for check in told["checks"]}
    assert told["device"] == "jetson-orin-nano-8gb"
    assert checks["power mode"]["message"] == truth_of(board)["power_mode"]
    assert "VDD_IN" in checks["meter ina"]["message"]
    assert checks["memory bandwidth"]["message"].split()[1] == "GB/s"
    assert "GFLOP/s" in checks["matrix product"]["message"]
    failed = any(check["status"] == "failure" for check in checks.values())
    assert done.returncode == (1 if failed else 0)

"""Meters on replayed boards: each tree's own truth, and sensors that fail in the middle."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from support.shell import MakeFake, Shell

from edgebench.device.conditions import snapshot
from edgebench.device.meters import check_names, find_meters
from edgebench.device.sampler import Pace, Sampler, find_pace
from edgebench.device.system import compute_cores
from edgebench.errors import UsageError
from edgebench.plan.devices import load_registry, this_device

BOARDS = Path(__file__).parents[1] / "boards"
NAMES = sorted(path.name for path in BOARDS.iterdir() if (path / "truth.json").is_file())


@pytest.fixture
def board(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy a board's tree, so that a test may break it, and make it this machine's root."""
    root = tmp_path / "root"
    shutil.copytree(BOARDS / request.param, root)
    for program in (root / "usr/bin").glob("*"):
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("EDGEBENCH_SYSROOT", str(root))
    monkeypatch.chdir(tmp_path)
    return root


def truth_of(root: Path) -> dict[str, Any]:
    """Return what is known of a board."""
    found: dict[str, Any] = json.loads((root / "truth.json").read_text())
    return found


@pytest.mark.parametrize("board", NAMES, indirect=True)
def test_board_shows_its_name_mode_and_conditions(board: Path) -> None:
    """The registry's entry, power mode, L4T, governor, heat and throttling as the tree has them."""
    truth = truth_of(board)
    registry = load_registry()
    if truth["board"] in registry.devices:
        assert registry.here() == truth["board"]
        if truth["family"]:
            assert registry.resolve(truth["family"]) == truth["board"]
    else:
        assert registry.here() == "cpu"
    device = this_device(registry.here())
    assert (device.power_mode, device.l4t) == (truth["power_mode"], truth["l4t"])
    now = snapshot()
    assert now.governor == truth["governor"]
    assert now.temperature_c.items() >= truth["temperature_c"].items()
    assert (now.throttled, now.throttled_before) == (
        truth["throttled_now"], truth["throttled_before"],
    )  # fmt: skip


@pytest.mark.parametrize("board", NAMES, indirect=True)
def test_meters_give_the_known_watts(board: Path) -> None:
    """Every rail and the total, by the right arithmetic; no total where none may be claimed."""
    for expected in truth_of(board)["meters"]:
        if expected["source"] == "rapl":
            continue
        found, reason = find_meters((expected["source"],))
        assert found, reason
        watts = {reading.rail: reading.value for reading in found[0].sample()}
        for rail, value in expected["all_rails_w"].items():
            assert watts[rail] == pytest.approx(value, rel=1e-6, abs=1e-9)
        total = found[0].totals[0].rails
        if expected["total_w"] is None:
            assert total == ()
        else:
            assert sorted(total) == sorted(expected["rails"])
            assert sum(watts[rail] for rail in total) == pytest.approx(expected["total_w"])


@pytest.mark.parametrize("board", NAMES, indirect=True)
def test_only_the_boards_own_meters_answer(board: Path) -> None:
    """No sensor of another machine, and a reason where there is none."""
    found, reason = find_meters()
    sources = [meter.totals[0].source for meter in found if meter.totals[0].source != "nvml"]
    expected = [one["source"] for one in truth_of(board)["meters"]]
    assert sorted(sources) == sorted(expected)
    assert bool(reason) == (not found)


@pytest.mark.parametrize("board", ["intel-laptop", "intel-n100", "server-two-gpu"], indirect=True)
def test_rapl_counts_packages_and_dram_once(board: Path) -> None:
    """Duplicate dies and the mmio copy are left out; core and uncore are not in the total."""
    expected = next(one for one in truth_of(board)["meters"] if one["source"] == "rapl")
    found, _ = find_meters(("rapl",))
    rails = found[0].totals[0].rails
    packages = [rail for rail in rails if not rail.endswith("/dram")]
    assert sorted(packages) == sorted(expected["rails"])
    joules = {reading.rail: reading.value for reading in found[0].sample()}
    assert sum(joules[rail] for rail in packages) == pytest.approx(
        expected["counted_energy_uj"] / 1e6
    )
    assert all(found[0].rails[rail].wrap_j == expected["max_energy_range_uj"] / 1e6
               for rail in packages)  # fmt: skip


@pytest.mark.parametrize("board", ["intel-n100"], indirect=True)
def test_rapl_without_rights_says_what_to_type(
    board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exact command that grants them."""

    def denied(path: Path) -> float:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("edgebench.meters.rapl._micro", denied)
    _, reason = find_meters(("rapl",))
    assert "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj" in str(reason)


@pytest.mark.parametrize("board", ["raspberry-pi-5"], indirect=True)
def test_pi_gives_the_wall_as_derived_and_survives_nan(board: Path) -> None:
    """The community's fit is never measured; a rail of nanV is no reading."""
    found, _ = find_meters(("pmic",))
    kinds = {total.source: total.kind for total in found[0].totals}
    assert kinds == {"pmic": "measured", "pmic wall fit": "derived"}
    watts = {reading.rail: reading.value for reading in found[0].sample()}
    total = truth_of(board)["meters"][0]["total_w"]
    assert watts["wall"] == pytest.approx(total * 1.1451 + 0.5879)
    program = board / "usr/bin/vcgencmd"
    program.write_text(f"#!/bin/sh\ncat {board}/usr/share/pmic-nan.txt\n")
    with pytest.raises(ValueError, match="VDD_CORE"):
        found[0].sample()


@pytest.mark.parametrize("board", ["raspberry-pi-4"], indirect=True)
def test_pi_4_is_told_apart(board: Path) -> None:
    """Its firmware does not know the command."""
    found, reason = find_meters(("pmic",))
    assert not found
    assert "a Pi 5 has" in str(reason)


@pytest.mark.parametrize("board", ["intel-laptop"], indirect=True)
def test_battery_counts_only_while_it_discharges(board: Path) -> None:
    """Plugged in, at the start or in the middle, it shows the charge."""
    found, _ = find_meters(("battery",))
    assert found[0].sample()[0].value > 0
    (board / "sys/class/power_supply/BAT0/status").write_text("Charging\n")
    with pytest.raises(ValueError, match="Charging"):
        found[0].sample()
    _, reason = find_meters(("battery",))
    assert "does not show the load" in str(reason)


@pytest.mark.parametrize("board", ["orange-pi-5"], indirect=True)
def test_only_big_cores_compute(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RK3588: four of eight."""
    import psutil

    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert compute_cores() == truth_of(board)["cores_big"] == 4


# the sampler, and sensors that fail


def sampled(root: Path, name: str, break_it: Any) -> Any:
    """Read a board for a second, break a sensor after a third of it; return the timeline."""
    found, _ = find_meters((name,))
    sampler = Sampler(found, [Pace(0.02, 0.001, None)])
    sampler.start()
    start = time.perf_counter_ns()
    time.sleep(0.3)
    break_it(root)
    time.sleep(0.7)
    sampler.add("decode", start, time.perf_counter_ns(), (64, 64))
    begin = time.monotonic()
    sampler.stop()
    assert time.monotonic() - begin < 4
    return sampler.take()[0]


def vanish(root: Path) -> None:
    """Take the sensor away."""
    for path in root.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/curr1_input"):
        path.unlink()


def babble(root: Path) -> None:
    """Let it answer what is no number."""
    for path in root.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/curr1_input"):
        path.write_text("ERROR\n")


def block(root: Path) -> None:
    """Let a read wait for ever: a pipe that nobody writes to."""
    for path in root.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/curr1_input"):
        path.unlink()
        os.mkfifo(path)


@pytest.mark.parametrize("board", ["jetson-orin-nano-8gb"], indirect=True)
@pytest.mark.parametrize("fault", [vanish, babble, block])
def test_a_sensor_that_fails_costs_its_figure_alone(board: Path, fault: Any) -> None:
    """Absent with the reason; whatever else was measured stands."""
    from edgebench.figures.energy import energy_of

    line = sampled(board, "ina", fault)
    found = energy_of(line, line.totals[0])
    assert found.decode is None
    assert found.reason
    for path in board.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/curr1_input"):
        if fault is block:  # let the thread go
            with path.open("w") as pipe:
                pipe.write("1\n")


@pytest.mark.parametrize(
    ("board", "source"),
    [("jetson-agx-orin-64gb", "ina"), ("intel-laptop", "battery"), ("raspberry-pi-5", "pmic")],
    indirect=["board"],
)
def test_a_healthy_board_gives_its_joules(board: Path, source: str) -> None:
    """Constant files: the truth's watts times the window's seconds."""
    from edgebench.figures.energy import energy_of

    line = sampled(board, source, lambda root: None)
    found = energy_of(line, line.totals[0])
    assert found.decode is not None, found.reason
    meters = truth_of(board)["meters"]
    watts = next(one["total_w"] for one in meters if one["source"] == source)
    assert found.decode.gross_j.value == pytest.approx(watts * line.windows[0].seconds, rel=0.01)


def test_no_meter_costs_no_time() -> None:
    """Neither start nor stop waits where there is nothing to read."""
    sampler = Sampler((), ())
    begin = time.perf_counter()
    sampler.start()
    sampler.add("decode", 0, 10)
    sampler.stop()
    assert sampler.take() == ()
    assert time.perf_counter() - begin < 0.05


# meters by name


def test_a_program_that_prints_watts_is_a_meter() -> None:
    """Watts with and without a unit; it is started once and read as it prints."""
    script = "while true; do echo 12.5; sleep 0.02; done"
    found, reason = find_meters((f"command:sh -c '{script}'",))
    assert found, reason
    pace = find_pace(found[0])
    assert pace.period_s <= 0.2
    time.sleep(0.1)
    readings = found[0].sample()
    assert readings
    assert {reading.value for reading in readings} == {12.5}
    found[0].close()


@pytest.mark.parametrize(
    ("line", "unit", "value"),
    [("845 mW", "W", 0.845), ("1532.9 J", "J", 1532.9), ("0.5 kWh", "J", 1.8e6), ("7", "W", 7)],
)
def test_units_are_read(line: str, unit: str, value: float) -> None:
    """SI inside."""
    found, reason = find_meters((f"command:sh -c 'echo {line}; sleep 5'",))
    assert found, reason
    assert found[0].rails["command"].unit == unit
    assert found[0].sample()[0].value == pytest.approx(value)
    found[0].close()


@pytest.mark.parametrize("program", ["false", "echo hello", "no-such-program-here", "sh -c 'exit'"])
def test_a_program_that_is_no_meter_says_why(program: str) -> None:
    """It ends, prints words, or does not exist."""
    found, reason = find_meters((f"command:{program}",))
    assert not found
    assert program.split()[0] in str(reason)


def test_an_estimate_is_marked_and_only_by_name() -> None:
    """Never found by itself."""
    found, _ = find_meters(("estimate:15W",))
    assert found[0].totals[0].kind == "estimated"
    assert all(meter.totals[0].kind != "estimated" for meter in find_meters()[0])


@pytest.mark.parametrize("name", ["nvlm", "command", "estimate", "rapl:x"])
def test_wrong_names_are_wrong_usage(name: str) -> None:
    """With the nearest name or an example."""
    with pytest.raises(UsageError):
        check_names((name,))


# the whole command on a replayed board


REPLAYED = [name for name in NAMES if name.startswith("jetson")]
REPLAYED += ["raspberry-pi-5"]  # a battery's gauge is slow: windows of 20 s, so not here


@pytest.mark.parametrize("board", REPLAYED, indirect=True)
def test_profile_on_a_replayed_board_gives_its_known_joules(
    board: Path, edgebench: Shell, fakes: MakeFake
) -> None:
    """`--device jetson` resolves to the board; watts times seconds; then compared by its mode."""
    truth = truth_of(board)
    fakes("q8_0", {"decode_s": 0.002, "prefill_s": 0.001})
    there = Shell(edgebench.cwd, edgebench.env | {"EDGEBENCH_SYSROOT": str(board)})
    run = there.json(
        "profile", "fakes", "--device", truth["family"] or "cpu", "--workload", "64+32",
        "--tasks", "none", "--repetitions", "1", "--json",
    )["runs"][0]  # fmt: skip
    assert run["status"] == "ok", run["error"]
    assert run["device"]["name"] == (truth["board"] if truth["family"] else "cpu")
    assert run["device"]["power_mode"] == truth["power_mode"]
    expected = next(one for one in truth["meters"] if one["source"] != "rapl")
    energy = next(one for one in run["energy"] if one["source"] == expected["source"])
    assert energy["reason"] is None
    assert sorted(energy["rails"]) == sorted(expected["rails"])
    assert energy["idle_w"]["value"] == pytest.approx(expected["total_w"], rel=0.01)
    assert energy["decode"]["gross_j"]["value"] == pytest.approx(
        expected["total_w"] * 32 * 0.002, rel=0.15
    )
    assert abs(energy["decode"]["net_j"]["value"]) < 0.02 * energy["decode"]["gross_j"]["value"]
    table = there("compare").stdout
    assert f"{expected['source']}, measured" in table.replace("\n", " ")


@pytest.mark.parametrize("board", ["intel-n100"], indirect=True)
def test_a_stuck_counter_leaves_the_run_whole(
    board: Path, edgebench: Shell, fakes: MakeFake
) -> None:
    """RAPL files that never move: no joules, the reason, and all other figures."""
    fakes("q8_0")
    there = Shell(edgebench.cwd, edgebench.env | {"EDGEBENCH_SYSROOT": str(board)})
    run = there.json(
        "profile", "fakes", "--device", "cpu", "--workload", "64+32", "--tasks", "none",
        "--repetitions", "1", "--meter", "rapl", "--json",
    )["runs"][0]  # fmt: skip
    assert run["status"] == "ok"
    assert run["energy"][0]["decode"] is None
    assert "stuck" in run["energy"][0]["reason"]
    assert "stuck" in there("compare").stdout.replace("\n", " ")


@pytest.mark.parametrize("board", ["jetson-orin-nano-8gb"], indirect=True)
def test_preflight_says_what_to_type(board: Path, edgebench: Shell) -> None:
    """Each line is ok, a warning or a failure."""
    there = Shell(edgebench.cwd, edgebench.env | {"EDGEBENCH_SYSROOT": str(board)})
    done = there("devices", "check", "jetson", "--json")
    found = json.loads(done.stdout)
    checks = {one["name"]: one for one in found["checks"]}
    assert found["device"] == "jetson-orin-nano-8gb"
    assert checks["power mode"]["message"] == truth_of(board)["power_mode"]
    assert "VDD_IN" in checks["meter ina"]["message"]
    assert checks["memory bandwidth"]["message"].split()[1] == "GB/s"
    assert "GFLOP/s" in checks["matrix product"]["message"]
    failed = any(one["status"] == "failure" for one in checks.values())
    assert done.returncode == (1 if failed else 0)

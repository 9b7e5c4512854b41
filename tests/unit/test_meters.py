"""Meters on replayed boards: each tree's own truth, what it includes, and how late it is."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.boards import NAMES, copy_board, truth_of

from edgebench.device.conditions import snapshot
from edgebench.device.identity import hello
from edgebench.device.meters import find_meters
from edgebench.device.meters.command import stated
from edgebench.device.system import compute_cores
from edgebench.errors import UsageError
from edgebench.plan.devices import load_registry
from edgebench.records.meters import check_meters


@pytest.fixture
def board(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a copy of a board's tree this machine's root."""
    root = copy_board(request.param, tmp_path)
    monkeypatch.setenv("EDGEBENCH_SYSROOT", str(root))
    monkeypatch.chdir(tmp_path)
    return root


@pytest.mark.parametrize("board", NAMES, indirect=True)
def test_board_shows_its_name_mode_and_conditions(board: Path) -> None:
    """The registry's entry, power mode, L4T, governor, heat and throttling as the tree has them."""
    truth, registry, there = truth_of(board), load_registry(), hello()
    known = truth["board"] in registry.devices
    assert registry.board_of(there) == (truth["board"] if known else "cpu")
    if known and truth["family"]:
        assert registry.resolve(truth["family"], there).name == truth["board"]
    assert (there.device.power_mode, there.device.l4t) == (truth["power_mode"], truth["l4t"])
    now = snapshot()
    assert now.governor == truth["governor"]
    assert now.temperature_c.items() >= truth["temperature_c"].items()
    assert now.throttled == truth["throttled_now"]
    assert now.throttled_before == truth["throttled_before"]


@pytest.mark.parametrize("board", NAMES, indirect=True)
def test_meters_give_the_known_watts(board: Path) -> None:
    """Every rail and the total, by the right arithmetic; no total where none may be claimed."""
    for expected in truth_of(board)["meters"]:
        if expected["source"] == "rapl":
            continue
        meters, reason = find_meters((expected["source"],))
        assert meters, reason
        watts = {reading.rail: reading.value for reading in meters[0].sample()}
        for rail, value in expected["all_rails_w"].items():
            assert watts[rail] == pytest.approx(value, rel=1e-6, abs=1e-9)
        total = meters[0].totals[0].rails
        if expected["total_w"] is None:
            assert total == ()
        else:
            assert sorted(total) == sorted(expected["rails"])
            assert sum(watts[rail] for rail in total) == pytest.approx(expected["total_w"])


@pytest.mark.parametrize("board", NAMES, indirect=True)
def test_only_the_boards_own_meters_answer(board: Path) -> None:
    """No sensor of another machine, and a reason where there is none."""
    meters, reason = find_meters()
    sources = [meter.totals[0].source for meter in meters if meter.totals[0].source != "nvml"]
    assert sorted(sources) == sorted(meter["source"] for meter in truth_of(board)["meters"])
    assert bool(reason) == (not meters)


@pytest.mark.parametrize(
    ("board", "boundaries"),
    [
        ("jetson-orin-nano-8gb", {"ina": "module"}),
        ("jetson-agx-orin-64gb", {"ina": "module"}),
        ("jetson-agx-thor", {"ina": "board"}),
        ("raspberry-pi-5", {"pmic": "board", "pmic wall fit": "wall"}),
        ("intel-n100", {"rapl": "package"}),
        ("intel-laptop", {"rapl": "package", "rapl psys": "board", "battery": "board"}),
        ("unknown-arm", {"ina": None}),
    ],
    indirect=["board"],
)
def test_every_source_says_what_it_includes(board: Path, boundaries: dict[str, str]) -> None:
    """And how exact it is; an unknown board's rails include nobody knows what."""
    totals = [total for meter in find_meters()[0] for total in meter.totals]
    told = {total.source: total.boundary for total in totals if total.source != "nvml"}
    assert told == boundaries
    assert all(0 < total.error_share <= 0.1 for total in totals)
    assert {t.source: t.covers for t in totals}.get("rapl", "cpu") == "cpu"


@pytest.mark.parametrize("board", ["jetson-agx-orin-64gb"], indirect=True)
def test_ina_averages_as_its_settings_say(board: Path) -> None:
    """`update_interval` of the slowest chip; the driver's default where there is none."""
    assert find_meters(("ina",))[0][0].averaging_s == pytest.approx(0.0066)
    folder = next(board.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*"))
    (folder / "update_interval").write_text("140\n")
    meter = find_meters(("ina",))[0][0]
    assert (meter.averaging_s, meter.nominal_s) == (0.14, 0.14)


@pytest.mark.parametrize(
    ("board", "name", "averaging_s"),
    [
        ("jetson-xavier-nx", "ina", 0.4224),
        ("jetson-agx-thor", "ina", 0.050496),
        ("intel-n100", "rapl", 0.0),
        ("intel-laptop", "battery", 15.0),
        ("raspberry-pi-5", "pmic", 0.0),
    ],
    indirect=["board"],
)
def test_meters_say_over_how_long_they_average(board: Path, name: str, averaging_s: float) -> None:
    """Documented defaults where sysfs does not tell."""
    assert find_meters((name,))[0][0].averaging_s == pytest.approx(averaging_s)


def test_an_acpi_meter_averages_by_its_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milliseconds and percent beside the reading; a second and 5 % where they are missing."""
    folder = tmp_path / "sys/class/hwmon/hwmon3"
    folder.mkdir(parents=True)
    (folder / "name").write_text("power_meter\n")
    (folder / "power1_average").write_text("213000000\n")
    monkeypatch.setenv("EDGEBENCH_SYSROOT", str(tmp_path))
    meter = find_meters(("hwmon",))[0][0]
    assert (meter.averaging_s, meter.totals[0].error_share) == (1.0, 0.05)
    (folder / "power1_average_interval").write_text("3000\n")
    (folder / "power1_accuracy").write_text("1.5%\n")
    meter = find_meters(("hwmon",))[0][0]
    assert (meter.averaging_s, meter.totals[0].error_share) == (3.0, 0.015)
    assert meter.totals[0].boundary == "board"
    assert meter.sample()[0].value == 213


@pytest.mark.parametrize(
    ("capability", "unit", "averaging_s"),
    [
        ((8, 6), "W", 1.0),
        ((8, 0), "W", 0.1),
        ((7, 0), "W", 0.1),
        (None, "W", 1.0),
        ((9, 0), "J", 0),
    ],
)
def test_nvml_power_is_a_mean_of_a_second_on_newer_gpus(
    capability: tuple[int, int] | None, unit: str, averaging_s: float
) -> None:
    """Ampere and later but GA100; one that does not tell its age is taken as new."""
    from edgebench.device.meters import nvml

    class Api:
        """Answers, or fails, as NVML does."""

        class NVMLError(Exception):
            """NVML's own."""

        def nvmlDeviceGetCudaComputeCapability(self, handle: object) -> tuple[int, int]:
            """Return the GPU's age."""
            if capability is None:
                raise self.NVMLError
            return capability

    assert nvml._averaging_s(Api(), None, unit) == averaging_s


@pytest.mark.parametrize("board", ["intel-laptop", "intel-n100", "server-two-gpu"], indirect=True)
def test_rapl_counts_packages_and_dram_once(board: Path) -> None:
    """Duplicate dies and the mmio copy are left out; core and uncore are not in the total."""
    expected = next(meter for meter in truth_of(board)["meters"] if meter["source"] == "rapl")
    meter = find_meters(("rapl",))[0][0]
    packages = [rail for rail in meter.totals[0].rails if not rail.endswith("/dram")]
    assert sorted(packages) == sorted(expected["rails"])
    joules = {reading.rail: reading.value for reading in meter.sample()}
    counted = sum(joules[rail] for rail in packages)
    assert counted == pytest.approx(expected["counted_energy_uj"] / 1e6)
    assert {meter.rails[rail].wrap_j for rail in packages} == {
        expected["max_energy_range_uj"] / 1e6
    }


@pytest.mark.parametrize("board", ["intel-n100"], indirect=True)
def test_rapl_without_rights_says_what_to_type(
    board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exact command that grants them."""

    def denied(path: Path) -> float:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("edgebench.device.meters.rapl._micro", denied)
    _, reason = find_meters(("rapl",))
    assert "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj" in str(reason)


@pytest.mark.parametrize("board", ["raspberry-pi-5"], indirect=True)
def test_pi_gives_the_wall_as_derived_and_survives_nan(board: Path) -> None:
    """The community's fit is never measured; a rail of nanV is no reading."""
    meter = find_meters(("pmic",))[0][0]
    kinds = {total.source: total.kind for total in meter.totals}
    assert kinds == {"pmic": "measured", "pmic wall fit": "derived"}
    watts = {reading.rail: reading.value for reading in meter.sample()}
    total = truth_of(board)["meters"][0]["total_w"]
    assert watts["wall"] == pytest.approx(total * 1.1451 + 0.5879)
    program = board / "usr/bin/vcgencmd"
    program.write_text(f"#!/bin/sh\ncat {board}/usr/share/pmic-nan.txt\n")
    with pytest.raises(ValueError, match="VDD_CORE"):
        meter.sample()


@pytest.mark.parametrize("board", ["raspberry-pi-5"], indirect=True)
def test_a_firmware_that_hangs_is_an_error_of_the_reading(
    board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An OSError as for every meter, a reason where it is probed, and no throttling told."""
    monkeypatch.setattr("edgebench.device.vcgencmd.TIMEOUT_S", 0.05)
    meter = find_meters(("pmic",))[0][0]
    (board / "usr/bin/vcgencmd").write_text("#!/bin/sh\nexec sleep 5\n")
    with pytest.raises(OSError, match="did not answer"):
        meter.sample()
    assert "did not answer" in str(find_meters(("pmic",))[1])
    (board / "sys/devices/platform/soc/soc:firmware/get_throttled").unlink()
    assert snapshot().throttled is None


@pytest.mark.parametrize("board", ["raspberry-pi-4"], indirect=True)
def test_pi_4_is_told_apart(board: Path) -> None:
    """Its firmware does not know the command."""
    meters, reason = find_meters(("pmic",))
    assert not meters
    assert "a Pi 5 has" in str(reason)


@pytest.mark.parametrize("board", ["intel-laptop"], indirect=True)
def test_battery_counts_only_while_it_discharges(board: Path) -> None:
    """Plugged in, at the start or in the middle, it shows the charge."""
    meter = find_meters(("battery",))[0][0]
    assert meter.sample()[0].value > 0
    (board / "sys/class/power_supply/BAT0/status").write_text("Charging\n")
    with pytest.raises(ValueError, match="Charging"):
        meter.sample()
    _, reason = find_meters(("battery",))
    assert "does not show the load" in str(reason)


@pytest.mark.parametrize("board", ["orange-pi-5"], indirect=True)
def test_only_big_cores_compute(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RK3588: four of eight."""
    import psutil

    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert compute_cores() == truth_of(board)["cores_big"] == 4


# meters by name


def command(program: str) -> Any:
    """Start a program as a meter."""
    meters, reason = find_meters((f"command:{program}",))
    assert meters, reason
    return meters[0]


def test_a_program_that_prints_watts_is_a_meter() -> None:
    """It is started once and read as it prints; its pace is that of its lines."""
    meter = command("sh -c 'while true; do echo 12.5; sleep 0.02; done'")
    assert meter.nominal_s < 1
    time.sleep(0.1)
    assert {reading.value for reading in meter.sample()} == {12.5}
    meter.close()


@pytest.mark.parametrize(
    ("line", "unit", "value"),
    [("845 mW", "W", 0.845), ("1532.9 J", "J", 1532.9), ("0.5 kWh", "J", 1.8e6), ("7", "W", 7)],
)
def test_units_are_read(line: str, unit: str, value: float) -> None:
    """SI inside."""
    meter = command(f"sh -c 'echo {line}; echo {line}; echo {line}; sleep 5'")
    assert meter.rails["command"].unit == unit
    assert meter.sample()[0].value == pytest.approx(value)
    meter.close()


def test_what_is_known_of_a_meter_stands_before_its_program() -> None:
    """Averaging, lag, accuracy and boundary; unknown, 0, 2 % and wall where nothing is said."""
    known = stated("averaging=2s lag=300ms accuracy=0.5% boundary=board ./meter --watts a=b")
    assert known.program == "./meter --watts a=b"
    assert (known.averaging_s, known.lag_s, known.boundary) == (2.0, 0.3, "board")
    assert known.error_share == 0.005
    plain = stated("./meter --watts")
    assert (plain.averaging_s, plain.lag_s, plain.boundary) == (None, 0.0, "wall")
    for wrong in ("averaging=2", "boundary=house", "accuracy=1"):
        with pytest.raises(ValueError, match="say"):
            stated(f"{wrong} ./meter")
    meters, reason = find_meters(("command:averaging=soon ./meter",))
    assert not meters
    assert "averaging=1.5s" in str(reason)


def test_closing_a_meter_ends_all_that_its_program_started() -> None:
    """A shell and what it waits for."""
    meter = command("sh -c 'echo 5; echo 5; echo 5; sleep 776 & sleep 777'")
    group = meter._process.pid
    os.killpg(group, 0)  # it is there
    meter.close()
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)  # an orphan is reaped by another process
    assert False, "the program lives on"  # noqa: B011, PT015


@pytest.mark.parametrize("program", ["false", "echo hello", "no-such-program-here", "sh -c 'exit'"])
def test_a_program_that_is_no_meter_says_why(program: str) -> None:
    """It ends, prints words, or does not exist."""
    meters, reason = find_meters((f"command:{program}",))
    assert not meters
    assert program.split()[0] in str(reason)


def test_an_estimate_is_marked_and_only_by_name() -> None:
    """Never found by itself; it includes what the person says."""
    meters, _ = find_meters(("estimate:15W", "estimate:20W wall"))
    assert [meter.totals[0].kind for meter in meters] == ["estimated", "estimated"]
    assert [meter.totals[0].boundary for meter in meters] == [None, "wall"]
    assert all(meter.totals[0].kind != "estimated" for meter in find_meters()[0])


@pytest.mark.parametrize("name", ["nvlm", "command", "estimate", "rapl:x"])
def test_wrong_names_are_wrong_usage(name: str) -> None:
    """With the nearest name or an example."""
    with pytest.raises(UsageError):
        check_meters((name,))

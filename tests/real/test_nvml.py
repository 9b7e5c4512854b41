"""NVML through the real pynvml and a small library of our own that speaks NVML's C interface."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.shell import MakeFake, Shell

SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define NOT_SUPPORTED 3
#define GPU_LOST 15
static long reads;
static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}
static const char *mode(void) { const char *m = getenv("FAKE_NVML"); return m ? m : "energy"; }
int nvmlInit_v2(void) { return 0; }
int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) {
    return code == NOT_SUPPORTED ? "Not Supported" : code == GPU_LOST ? "GPU is lost" : "Error";
}
int nvmlDeviceGetCount_v2(unsigned *count) { *count = number("FAKE_GPUS", 2); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = (void *)(size_t)(index + 1); return 0;
}
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
    snprintf(uuid, length, "GPU-%08zu-aaaa", (size_t)device); return 0;
}
static int lost(void) { return strcmp(mode(), "lost") == 0 && ++reads > 3; }
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj) {
    if (strcmp(mode(), "power") == 0 || strcmp(mode(), "none") == 0) return NOT_SUPPORTED;
    if (lost()) return GPU_LOST;
    *mj = 1000000ull * (size_t)device; return 0;
}
int nvmlDeviceGetPowerUsage(void *device, unsigned *mw) {
    if (strcmp(mode(), "none") == 0) return NOT_SUPPORTED;
    *mw = 50000u * (unsigned)(size_t)device;
    if (number("FAKE_MOVE", 0)) *mw += (unsigned)(rand() % 100); /* one that never moves is stuck */
    return 0;
}
"""

READ = """
import json
from edgebench.device.meters import find_meters
found, reason = find_meters(("nvml",))
out = {"reason": reason}
if found:
    meter = found[0]
    out["units"] = {name: rail.unit for name, rail in meter.rails.items()}
    out["values"] = [[r.rail, r.value] for r in meter.sample()]
    errors = []
    for _ in range(4):
        try:
            meter.sample()
        except OSError as error:
            errors.append(str(error))
    out["errors"] = errors
    meter.close()
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the library; skip where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("nvml")
    (folder / "nvml.c").write_text(SOURCE)
    target = folder / "libnvidia-ml.so.1"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(target), str(folder / "nvml.c")], check=True
    )
    return folder


def read(library: Path, **env: str) -> dict[str, Any]:
    """Find and read the meter in a process that loads the library."""
    done = subprocess.run(
        [sys.executable, "-c", READ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_LIBRARY_PATH": str(library), **env},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_energy_counter_is_preferred(library: Path) -> None:
    """Millijoules of two GPUs, each by its UUID."""
    found = read(library)
    assert found["units"] == {"GPU-00000001-aaaa": "J", "GPU-00000002-aaaa": "J"}
    assert found["values"] == [["GPU-00000001-aaaa", 1000.0], ["GPU-00000002-aaaa", 2000.0]]


def test_power_is_polled_where_there_is_no_counter(library: Path) -> None:
    """Milliwatts."""
    found = read(library, FAKE_NVML="power", FAKE_GPUS="1")
    assert found["values"] == [["GPU-00000001-aaaa", 50.0]]
    assert found["units"] == {"GPU-00000001-aaaa": "W"}


def test_not_supported_is_no_meter(library: Path) -> None:
    """As on a Jetson: NVML initialises, and then answers nothing."""
    found = read(library, FAKE_NVML="none")
    assert "Not Supported" in found["reason"]


def test_only_the_gpus_that_may_be_used_count(library: Path) -> None:
    """CUDA_VISIBLE_DEVICES names one by its UUID."""
    found = read(library, CUDA_VISIBLE_DEVICES="GPU-00000002")
    assert list(found["units"]) == ["GPU-00000002-aaaa"]


def test_a_gpu_lost_midway_is_an_error_of_the_reading(library: Path) -> None:
    """The timeline then has a gap, and the figure a reason."""
    found = read(library, FAKE_NVML="lost", FAKE_GPUS="1")
    assert any("lost" in error for error in found["errors"])


def test_a_server_of_two_gpus_gives_their_joules(
    library: Path, edgebench: Shell, fakes: MakeFake
) -> None:
    """The whole command: 50 and 100 W by polling, beside a replayed server's RAPL that is stuck."""
    fakes("q8_0", {"decode_s": 0.002, "prefill_s": 0.001})
    board = Path(__file__).parents[1] / "boards" / "server-two-gpu"
    fake = {"LD_LIBRARY_PATH": str(library), "FAKE_NVML": "power", "FAKE_MOVE": "1"}
    there = Shell(edgebench.cwd, edgebench.env | {"EDGEBENCH_SYSROOT": str(board)} | fake)
    run = there.json(
        *("profile", "fakes", "--device", "cuda", "--workload", "64+32", "--tasks", "none"),
        *("--repetitions", "1", "--launches", "1", "--retries", "0", "--json"),
    )["runs"][0]
    assert run["status"] == "ok", run["error"]
    energy = {source["source"]: source for source in run["energy"]}
    gpu = energy["nvml"]
    assert (gpu["boundary"], gpu["covers"]) == ("package", "gpu")
    assert gpu["idle_w"]["value"] == pytest.approx(150, rel=0.01)
    line = next(line for line in run["timelines"] if line["totals"][0]["source"] == "nvml")
    assert line["averaging_s"] == 1.0  # no compute capability is told
    window = max(
        (w for w in line["windows"] if w["phase"] == "decode"),
        key=lambda w: w["end_ns"] - w["start_ns"],
    )
    seconds = 32e-9 * (window["end_ns"] - window["start_ns"]) / window["tokens"]
    assert gpu["decode"]["gross_j"]["value"] == pytest.approx(150 * seconds, rel=0.01)
    assert "stuck" in energy["rapl"]["reason"]

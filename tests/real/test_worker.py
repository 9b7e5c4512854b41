"""The real worker process, on the fake runtime: whatever becomes of it costs its case alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from support.shell import MakeFake, Shell

QUICK = ("--device", "cpu", "--workload", "64+16", "--tasks", "none", "--json")


def statuses(shell: Shell, *more: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Profile all fakes; return the exit code and each level's run."""
    done = shell("profile", "fakes", *QUICK, *more)
    runs = json.loads(done.stdout)["runs"]
    return done.returncode, {run["artifact"]["level"]: run for run in runs}


@pytest.mark.parametrize("where", ["open", "speed"])
@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ("crash", "crashed", "SIGABRT"),
        ("kill", "crashed", "SIGKILL"),
        ("oom", "oom", "OutOfMemoryError"),
        ("fail", "failed", "EdgebenchError"),
    ],
)
def test_fault_of_one_case_leaves_the_others(
    edgebench: Shell, fakes: MakeFake, fault: str, status: str, kind: str, where: str
) -> None:
    """The case has its status, the reason and no figures; its neighbours are measured."""
    fakes("f16")
    fakes("q8_0", {"fault": fault, "fault_in": where})
    fakes("q4_0", {"seed": 1})
    code, runs = statuses(edgebench)
    assert code == 1
    assert {level: run["status"] for level, run in runs.items()} == {
        "f16": "ok", "q8_0": status, "q4_0": "ok",
    }  # fmt: skip
    broken = runs["q8_0"]
    assert broken["error"]["type"] == kind
    assert broken["error"]["message"]
    assert broken["speed"] is None


def test_repaired_case_alone_is_measured_again(edgebench: Shell, fakes: MakeFake) -> None:
    """The same command tries what failed, and leaves what is stored."""
    fakes("f16")
    fakes("q8_0", {"fault": "kill"})
    _, first = statuses(edgebench)
    code, second = statuses(edgebench)
    assert code == 1
    assert first["f16"]["run_id"] == second["f16"]["run_id"]
    assert first["q8_0"]["run_id"] != second["q8_0"]["run_id"]
    assert second["q8_0"]["error"]["signal"] == signal.SIGKILL


def test_silent_worker_is_given_up(edgebench: Shell, fakes: MakeFake) -> None:
    """A case that gives no sign of life for --timeout seconds is `timeout`; the next one runs."""
    fakes("f16", {"fault": "hang"})
    fakes("q8_0")
    _, runs = statuses(edgebench, "--timeout", "3")
    assert (runs["f16"]["status"], runs["q8_0"]["status"]) == ("timeout", "ok")
    assert "3 s" in runs["f16"]["error"]["message"]


def test_library_that_prints_does_not_break_the_protocol(edgebench: Shell, fakes: MakeFake) -> None:
    """What a library writes to stdout or stderr lands in the log."""
    fakes("f16", {"fault": "garbage"})
    code, runs = statuses(edgebench)
    assert (code, runs["f16"]["status"]) == (0, "ok")
    logs = list((edgebench.cwd.parent / "home/cache/edgebench/logs").glob("*.log"))
    text = "".join(path.read_text() for path in logs)
    assert "a library printed this to stdout" in text


def test_each_kind_of_measurement_has_its_own_process(edgebench: Shell, fakes: MakeFake) -> None:
    """A fault while scoring leaves the speed of the same artifact."""
    fakes("f16", {"fault": "kill", "fault_in": "score"})
    done = edgebench("profile", "fakes", "--device", "cpu", "--workload", "64+16", "--json")
    runs = json.loads(done.stdout)["runs"]
    assert [(run["task"], run["status"]) for run in runs] == [(None, "ok"), ("basics", "crashed")]


def test_worker_answers_garbage_with_a_failure() -> None:
    """Lines that are no request get a `failed` reply each, and the worker goes on."""
    done = subprocess.run(
        [sys.executable, "-m", "edgebench.worker.server"],
        input='nonsense\n{"request": "fly"}\n\xff\n{"request": "close"}\n',
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert [reply["reply"] for reply in replies] == ["failed"] * 3


def test_worker_ends_with_its_parent() -> None:
    """At the end of stdin the worker is gone."""
    done = subprocess.run(
        [sys.executable, "-m", "edgebench.worker.server"], stdin=subprocess.DEVNULL,
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"")


def test_worker_that_times_llama_cpp_has_no_numpy() -> None:
    """numpy in the same process slows llama.cpp's prefill: nothing but scoring may import it."""
    pytest.importorskip("llama_cpp")
    code = (
        "import sys, edgebench.worker, edgebench.runtimes.llamacpp\n"
        "from edgebench.llama_library import llama_api\n"
        "assert llama_api().llama_max_devices() > 0\n"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_low_level_import_leaves_the_package_usable() -> None:
    """Whoever imports `llama_cpp` afterwards gets the whole package."""
    pytest.importorskip("llama_cpp")
    code = (
        "from edgebench.llama_library import llama_api\n"
        "api = llama_api()\n"
        "import llama_cpp, llama_cpp.llama_cpp as low\n"
        "assert low is api and llama_cpp.Llama\n"
        "assert llama_api() is api"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

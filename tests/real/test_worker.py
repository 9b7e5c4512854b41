"""The real worker process, on the fake runtime: whatever becomes of it costs its case alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from support.shell import MakeFake, Shell
from support.task_files import write_quiz

SPEED = ("--workload", "16+4", "--tasks", "none", "--launches", "1", "--retries", "0")


@pytest.mark.parametrize(
    ("fault", "where", "kind"),
    [("crash", "open", "SIGABRT"), ("crash", "speed", "SIGABRT"), ("kill", "speed", "SIGKILL")],
)
def test_death_of_one_worker_leaves_the_others(
    edgebench: Shell, fakes: MakeFake, fault: str, where: str, kind: str
) -> None:
    """The case is `crashed`, says by what and has no figures; its neighbours are measured."""
    fakes("f16")
    fakes("q8_0", {"fault": fault, "fault_in": where})
    runs = edgebench.profile(*SPEED, code=1)
    assert {level: run.status for level, run in runs.items()} == {"f16": "ok", "q8_0": "crashed"}
    broken = runs["q8_0"]
    assert broken.error
    assert (broken.error.type, broken.speed) == (kind, None)
    assert broken.error.signal == getattr(signal, kind)
    assert "see " in broken.error.hint


def test_killed_case_alone_is_measured_again(edgebench: Shell, fakes: MakeFake) -> None:
    """The same command tries what failed, and leaves what is stored."""
    fakes("f16")
    fakes("q8_0", {"fault": "kill"})
    first, second = edgebench.profile(*SPEED, code=1), edgebench.profile(*SPEED, code=1)
    assert first["f16"].run_id == second["f16"].run_id
    assert first["q8_0"].run_id != second["q8_0"].run_id


def test_silent_worker_is_given_up(edgebench: Shell, fakes: MakeFake) -> None:
    """A case that gives no sign of life for --timeout seconds is `timeout`; the next one runs."""
    fakes("f16", {"fault": "hang"})
    fakes("q8_0")
    runs = edgebench.profile(*SPEED, "--timeout", "3", code=1)
    assert (runs["f16"].status, runs["q8_0"].status) == ("timeout", "ok")
    assert runs["f16"].error
    assert "3 s" in runs["f16"].error.message


def test_library_that_prints_does_not_break_the_protocol(edgebench: Shell, fakes: MakeFake) -> None:
    """What a library writes to stdout or stderr lands in the log."""
    fakes("f16", {"fault": "garbage"})
    assert edgebench.profile(*SPEED)["f16"].status == "ok"
    logs = list((edgebench.cwd.parent / "home/cache/edgebench/logs").glob("*.log"))
    assert "a library printed this to stdout" in "".join(path.read_text() for path in logs)


def test_each_kind_of_measurement_has_its_own_process(edgebench: Shell, fakes: MakeFake) -> None:
    """A fault while scoring leaves the speed of the same artifact."""
    fakes("f16", {"fault": "kill", "fault_in": "score"})
    edgebench("profile", "fakes", "--device", "cpu", "--workload", "16+4", "--launches", "1")
    runs = [(run.task, run.status) for run in edgebench.stored()]
    assert runs == [(None, "ok"), ("basics", "crashed")]


def test_reference_that_dies_ends_the_race_of_all(edgebench: Shell, fakes: MakeFake) -> None:
    """The level says that its reference was killed; its own worker is ended."""
    fakes("f32", {"fault": "kill", "fault_in": "score"}, bits_per_weight=32.0)
    fakes("q4_0", {"seed": 2})
    write_quiz(edgebench.cwd)
    runs = edgebench.profile(
        "--workload", "none", "--tasks", "quiz.yaml", "--race", "--tolerance", "3%", code=1
    )
    assert (runs["f32"].status, runs["q4_0"].status) == ("crashed", "failed")
    assert runs["q4_0"].error
    message = "the reference tiny-f32 failed: the worker was ended by SIGKILL"
    assert runs["q4_0"].error.message == message


def test_worker_answers_garbage_with_a_failure() -> None:
    """Lines that are no request get a `failed` reply each, and the worker goes on."""
    done = subprocess.run(
        [sys.executable, "-m", "edgebench.worker"],
        input='nonsense\n{"request": "fly"}\n\xff\n{"request": "close"}\n',
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert [reply["reply"] for reply in replies] == ["hello", *["failed"] * 3]


def test_worker_ends_with_its_parent() -> None:
    """At the end of stdin the worker is gone."""
    done = subprocess.run(
        [sys.executable, "-m", "edgebench.worker"], stdin=subprocess.DEVNULL,
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert [json.loads(line)["reply"] for line in done.stdout.splitlines()] == ["hello"]


def test_worker_that_times_llama_cpp_has_no_numpy() -> None:
    """numpy in the same process slows llama.cpp's prefill: nothing but scoring may import it."""
    pytest.importorskip("llama_cpp")
    code = (
        "import sys, edgebench.worker.server, edgebench.worker.runtimes.llamacpp\n"
        "from edgebench.sources.llama_library import llama_api\n"
        "assert llama_api().llama_max_devices() > 0\n"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_low_level_import_leaves_the_package_usable() -> None:
    """Whoever imports `llama_cpp` afterwards gets the whole package."""
    pytest.importorskip("llama_cpp")
    code = (
        "from edgebench.sources.llama_library import llama_api\n"
        "api = llama_api()\n"
        "import llama_cpp, llama_cpp.llama_cpp as low\n"
        "assert low is api and llama_cpp.Llama\n"
        "assert llama_api() is api"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

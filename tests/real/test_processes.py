"""Real processes: none from the working folder, none that stays, and none that holds the parent."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.leftovers import Marked, ended
from support.shell import Family, MakeFake, Shell, hear_ctrl_c
from support.task_files import write_quiz
from support.traps import lay_traps, write_script

from edgebench.records.messages import Tokenize
from edgebench.run.transports import WorkerError, local
from edgebench.run.transports.local import LocalTransport, LocalWorker

ONCE = ("--device", "cpu", "--launches", "1", "--retries", "0")
SPEED = (*ONCE, "--workload", "16+4", "--tasks", "none")
# What it starts makes sessions of its own, one of them without a parent.
PROGRAM = "sh -c 'setsid sleep 776 & (setsid sleep 777 &); while :; do echo 5; sleep 0.01; done'"
METER = ("--meter", f"command:{PROGRAM}")
KILL, SEGV, STOP = signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP
TERM, HUP, INT = signal.SIGTERM, signal.SIGHUP, signal.SIGINT


@pytest.fixture
def marked(edgebench: Shell) -> Iterator[Marked]:
    """Return a shell whose processes are known."""
    shell = Marked(edgebench)
    yield shell
    shell.kill()


def test_no_module_of_the_working_folder_is_run(
    marked: Marked, fakes: MakeFake, tmp_path: Path
) -> None:
    """A command, its workers and its meter start where every module's name is taken by a trap.

    When it has ended, none of them is left.
    """
    fakes("f16")
    assert lay_traps(marked.shell.cwd, tmp_path / "sprung") > 300
    script = write_script(tmp_path / "bin" / "edgebench")
    there = Shell(marked.shell.cwd, marked.shell.env, (str(script),))
    done = there("profile", "fakes", *ONCE, "--workload", "16+4", *METER)
    assert not (tmp_path / "sprung").exists(), (tmp_path / "sprung").read_text()
    assert done.returncode == 0, done.stderr
    assert marked.are_gone(), marked.processes()
    assert {run.status for run in there.stored()} == {"ok"}


def test_no_module_of_the_working_folder_is_run_by_conversions(
    families: dict[str, Family], converting: Shell
) -> None:
    """The folder in which all formats and levels were made of checkpoints is full of traps."""
    assert families
    assert (converting.cwd / "torch.py").exists()
    assert not (converting.cwd / "sprung").exists(), (converting.cwd / "sprung").read_text()


def test_python_m_runs_nothing_once_it_has_reached_us(edgebench: Shell, tmp_path: Path) -> None:
    """`python -m` imports a few modules from the working folder by itself; no others follow."""
    code = "import runpy, sys; print(*sys.modules)"
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lay_traps(edgebench.cwd, tmp_path / "sprung")
    for name in {"edgebench", *plain.stdout.split()}:
        (edgebench.cwd / f"{name}.py").unlink(missing_ok=True)
    done = edgebench("tasks")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "truth",
    [{"fault": "fail"}, {"fault": "hang"}, {"fault": "kill"}],
    ids=["failed", "timed out", "worker killed"],
)
def test_a_meter_ends_with_its_worker(
    marked: Marked, fakes: MakeFake, truth: dict[str, str]
) -> None:
    """Whatever becomes of the worker: also what the meter's program started stays no longer."""
    fakes("q8_0", truth)
    timeout = "3" if truth["fault"] == "hang" else "60"
    done = marked.shell("profile", "fakes", *SPEED, *METER, "--timeout", timeout)
    assert done.returncode == 1, done.stderr
    assert marked.are_gone(), marked.processes()


@pytest.mark.parametrize(
    ("signals", "code"),
    [((KILL,), -KILL), ((TERM,), 143), ((HUP,), 129), ((INT,), 130), ((INT, INT), 130)],
    ids=["KILL", "TERM", "HUP", "INT", "INT twice"],
)
def test_a_command_that_is_ended_leaves_no_process(
    marked: Marked, fakes: MakeFake, signals: tuple[signal.Signals, ...], code: int
) -> None:
    """While a meter runs beside a launch: one line is said, and what never ended isn't stored."""
    fakes("q8_0", {"fault": "hang"})
    command = marked.shell.start("profile", "fakes", *SPEED, *METER)
    marked.await_processes(1, "edgebench.worker", "tiny-q8_0")
    marked.await_processes(2, "sleep", "77")
    said = [] if KILL in signals else ["interrupted; what was finished is stored"]
    assert ended(command, *signals) == (code, said)
    assert marked.are_gone(), marked.processes()
    assert marked.shell.stored() == []


PHASES = {
    "load": (("open",), ("profile", "fakes", *SPEED), ("tiny-q8_0",)),
    "scoring": (("score",), ("profile", "fakes", *ONCE, "--workload", "none"), ("tiny-q8_0",)),
    "race": (
        ("score",),
        ("profile", "fakes", *ONCE, "--workload", "none", "--tasks", "quiz.yaml", "--race",
         "--tolerance", "3%"),
        ("tiny-q8_0",),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("phase", "signals"), [("load", (INT, INT)), ("scoring", (INT,)), ("race", (INT, INT))]
)
def test_one_ctrl_c_ends_every_phase(
    marked: Marked, fakes: MakeFake, phase: str, signals: tuple[signal.Signals, ...]
) -> None:
    """A worker that is busy isn't waited for, and none is left."""
    where, arguments, words = PHASES[phase]
    fakes("f32", bits_per_weight=32.0)
    fakes("q8_0", {"fault": "hang", "fault_in": where[0], "seed": 2})
    write_quiz(marked.shell.cwd)
    command = marked.shell.start(*arguments)
    marked.await_process("edgebench.worker", *words)
    code, said = ended(command, *signals)
    assert (code, said[-1:]) == (130, ["interrupted; what was finished is stored"])
    assert marked.are_gone(), marked.processes()
    assert all(run.status == "ok" for run in marked.shell.stored())


def test_ctrl_c_while_the_command_starts(marked: Marked) -> None:
    """From its first import of ours on: one line at most and 130, or Python's own end before."""
    script = write_script(marked.shell.cwd / "bin" / "edgebench")
    for wait_ms in range(0, 400, 40):
        command = subprocess.Popen(
            [sys.executable, str(script), "devices", "check"],
            cwd=marked.shell.cwd, env=marked.shell.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hear_ctrl_c,
        )  # fmt: skip
        time.sleep(wait_ms / 1000)
        command.send_signal(INT)
        _, said = command.communicate(timeout=60)
        if "edgebench" in said or command.returncode == 130:
            assert (command.returncode, len(said.splitlines())) == (130, 1), said
    assert marked.are_gone()


@pytest.mark.parametrize("phase", ["load", "scoring"])
@pytest.mark.parametrize(
    ("number", "status"), [(KILL, "crashed"), (SEGV, "crashed"), (STOP, "timeout")]
)
def test_a_worker_that_is_struck_costs_its_case(
    marked: Marked, fakes: MakeFake, phase: str, number: signal.Signals, status: str
) -> None:
    """Its case says how it ended, the other one is measured, and the exit code is 1."""
    where, arguments, words = PHASES[phase]
    fakes("f16")
    fakes("q8_0", {"fault": "hang", "fault_in": where[0]})
    command = marked.shell.start(*arguments, "--timeout", "2" if number == STOP else "60")
    marked.await_process("edgebench.worker", *words).send_signal(number)
    assert ended(command)[0] == 1
    assert marked.are_gone()
    runs = {run.artifact.level: run for run in marked.shell.stored() if run.task != "divergence"}
    assert {level: run.status for level, run in runs.items()} == {"f16": "ok", "q8_0": status}


STREAMS = {
    "stderr closed": ("2>&-", 0),
    "stdout closed": (">&-", 0),
    "stdout full": ("> /dev/full", 2),
    "stderr full": ("2> /dev/full", 0),
}


@pytest.mark.parametrize(("redirection", "code"), STREAMS.values(), ids=STREAMS)
def test_streams_that_take_nothing_cost_no_measurement(
    edgebench: Shell, fakes: MakeFake, redirection: str, code: int
) -> None:
    """The run is stored; where the table can't be written that is one line and exit 2."""
    fakes("f16")
    typed = f"{sys.executable} -m edgebench profile fakes {' '.join(SPEED)} {redirection}"
    done = subprocess.run(
        ["sh", "-c", typed], cwd=edgebench.cwd, env=edgebench.env,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert [run.status for run in edgebench.stored()] == ["ok"]
    if code:
        said = done.stderr.splitlines()[-1]
        assert said == "error: can't write the output: No space left on device"


def test_an_encoding_that_lacks_signs_gets_them_escaped(edgebench: Shell, fakes: MakeFake) -> None:
    """With PYTHONIOENCODING=ascii tables are printed, and JSON stays the same JSON."""
    fakes("f16", model="mödel", name="mödel-f16")
    plain = Shell(edgebench.cwd, edgebench.env | {"PYTHONIOENCODING": "ascii"})
    printed = plain.json("profile", "fakes", *SPEED, "--json")
    assert printed["runs"][0]["artifact"]["model"] == "mödel"
    assert "m\\u00f6del" in plain("compare").stdout


def worker_of(code: str, log: Path) -> LocalWorker:
    """Return a parent's end of a worker that says a true hello and then runs code."""
    hello = subprocess.run(
        [sys.executable, "-m", "edgebench.worker"], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    begin = f"import sys, os, time\nsys.stdout.write({hello!r}); sys.stdout.flush()\n"
    process = subprocess.Popen(
        [sys.executable, "-c", begin + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        bufsize=0, start_new_session=True,
    )  # fmt: skip
    return LocalWorker(process, log)


BIG = Tokenize(texts=("x" * 1_000_000,))
PROGRESS = json.dumps({"reply": "progress", "done": 1, "total": 2})
OUT_OF_ORDER = {
    "deaf": ("time.sleep(600)", "timeout"),
    "garbage": ("while 1: os.write(1, b'nonsense\\n')", "failed"),
    "endless line": ("while 1: os.write(1, b'x' * 65536)", "failed"),
    "early answer": (f"os.write(1, b'{PROGRESS}\\n'); os.write(1, b'{{}}\\n'); time.sleep(600)",
                     "failed"),
    "closed output": ("os.close(1); time.sleep(600)", "failed"),
    "dead": ("os.abort()", "crashed"),
}  # fmt: skip


@pytest.mark.parametrize(("code", "status"), OUT_OF_ORDER.values(), ids=OUT_OF_ORDER)
def test_a_worker_out_of_order_neither_holds_nor_fills_the_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, status: str
) -> None:
    """It is ended, whether it reads nothing of a long request or says what is no answer."""
    monkeypatch.setattr(local, "CLOSE_S", 0.5)
    worker = worker_of(code, tmp_path / "log")
    before = psutil.Process().memory_info().rss
    with pytest.raises(WorkerError) as caught:
        worker.request(BIG, 1.0, lambda done, total: None)
    assert caught.value.status == status
    assert psutil.Process().memory_info().rss - before < 512 << 20
    worker.close()


def test_a_worker_that_talks_while_it_is_sent_to_does_not_block(tmp_path: Path) -> None:
    """Both pipes are full at once: a megabyte goes one way while progress comes the other."""
    code = (
        f"line = b'{PROGRESS}\\n' * 3000\nos.write(1, line)\nsys.stdin.buffer.readline()\n"
        'os.write(1, b\'{"reply": "tokenize", "tokens": []}\\n\'); sys.stdin.buffer.readline()'
    )
    worker = worker_of(code, tmp_path / "log")
    told: list[int] = []
    worker.request(BIG, 30.0, lambda done, total: told.append(done))
    assert len(told) == 3000
    worker.close()


def test_a_worker_that_does_not_close_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped one does not hold the command."""
    monkeypatch.setattr(local, "CLOSE_S", 0.5)
    worker = LocalTransport(tmp_path).start(device=None, name="stopped")  # type: ignore[arg-type]
    worker._process.send_signal(STOP)
    worker.close()
    assert worker._process.returncode == -KILL

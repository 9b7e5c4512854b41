"""The whole command in a process of its own: Ctrl-C, a full disk, completion in a shell."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.shell import MakeFake, Shell, error_of

ONCE = ("--launches", "1", "--retries", "0")
SPEED = ("--device", "cpu", "--workload", "16+4", "--tasks", "none", *ONCE)


def test_full_disk_loses_nothing_that_was_stored(edgebench: Shell, fakes: MakeFake) -> None:
    """On a full disk the command ends with a clear line; earlier lines stay whole."""
    disk = edgebench.cwd / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("mounting a small disk needs rights that this user has not")
    try:
        fakes("f16")
        edgebench("profile", "fakes", *SPEED, "--output", str(disk))
        path = next((disk / "cpu").glob("*.jsonl"))
        before = path.read_bytes()
        with (disk / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(b"\0" * 512):
                    pass
            except OSError:
                pass
        fakes("q8_0", {"seed": 1})
        done = edgebench("profile", "fakes", *SPEED, "--output", str(disk), "--no-resume")
        assert done.returncode in (1, 2)
        assert "No space left" in error_of(done)
        assert path.read_bytes() == before
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_ctrl_c_keeps_what_is_done(edgebench: Shell, fakes: MakeFake) -> None:
    """Ctrl-C while a task is answered: what was measured is stored, and no worker is left.

    The exit code is 130, as a shell has it.
    """
    fakes("f16")
    fakes("q8_0", {"fault": "hang", "fault_in": "score"})
    process = edgebench.start("profile", "fakes", *SPEED[:4], *ONCE)
    deadline = time.monotonic() + 120
    while len(edgebench.stored()) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children()
    while not workers and time.monotonic() < deadline:
        time.sleep(0.05)
        workers = psutil.Process(process.pid).children()
    process.send_signal(2)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "interrupted" in stderr
    assert [run.status for run in edgebench.stored()] == ["ok"] * 3
    assert psutil.wait_procs(workers, timeout=10)[1] == []


def test_bash_takes_the_completion(edgebench: Shell) -> None:
    """As the manual says: the script is evaluated, and bash then knows how words are completed."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    script = Path(sys.executable).parent / "edgebench"
    if not script.exists():
        pytest.skip("edgebench is not installed as a command")
    typed = 'eval "$(_EDGEBENCH_COMPLETE=bash_source edgebench)"; complete -p edgebench'
    env = edgebench.env | {"PATH": f"{script.parent}:{edgebench.env['PATH']}"}
    done = subprocess.run(
        [bash, "--norc", "-c", typed], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "complete -o nosort -F _edgebench_completion edgebench\n"
    words = {
        "COMP_WORDS": "edgebench pro",
        "COMP_CWORD": "1",
        "_EDGEBENCH_COMPLETE": "bash_complete",
    }
    done = subprocess.run([script], env=env | words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "plain,profile\n")

"""Real processes in a campaign: a worker that is asked, a program in its place, a whole command.

Knows how each is started, watched and ended. Judges nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgebench.run.transports import local

WORKER_S = 100.0
COMMAND_S = 100.0  # a model may be measured meanwhile, on a busy machine
_PAUSE_S = 0.02


def answered(requests: Sequence[bytes]) -> bool:
    """Send requests to a worker; return whether it answered each with a message, or died of one.

    Raises ValueError where it answers one with something else, or not.
    """
    from edgebench.records.messages import Failed, Progress, read_reply

    done = subprocess.run(
        [sys.executable, "-m", "edgebench.worker"],
        input=b"\n".join(requests) + b"\n",
        capture_output=True,
        timeout=WORKER_S,
        check=False,
    )
    replies = [read_reply(line) for line in done.stdout.splitlines()]
    ended = [reply for reply in replies[1:] if not isinstance(reply, Progress)]
    closed = any(_is_close(line) for line in requests)
    if done.returncode == 0 and len(ended) != len(requests) and not closed:
        raise ValueError(f"{len(requests)} requests had {len(ended)} answers")
    if done.returncode > 0:
        raise ValueError(f"the worker ended with {done.returncode}: {done.stderr[-3000:]!r}")
    return not all(isinstance(reply, Failed) for reply in ended)


def _is_close(line: bytes) -> bool:
    with contextlib.suppress(ValueError, RecursionError):
        fields = json.loads(line)
        return isinstance(fields, dict) and fields.get("request") == "close"
    return False


@contextlib.contextmanager
def in_place_of_workers(program: Path) -> Iterator[local.LocalTransport]:
    """Yield a transport whose worker processes run a program."""
    usual = local.python_module
    local.python_module = lambda module: [sys.executable, str(program)]
    try:
        yield local.LocalTransport(program.parent / "logs")
    finally:
        local.python_module = usual


def run_command(typed: Sequence[str]) -> tuple[int, str, int]:
    """Run a whole command; return its code, what it said on stderr and its largest memory."""
    peak = 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "edgebench", *typed],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        end = time.monotonic() + COMMAND_S
        while process.poll() is None:
            peak = max(peak, peak_bytes(process.pid))
            if time.monotonic() > end:
                process.kill()
            time.sleep(_PAUSE_S)
        said.seek(0)
        words = said.read().decode("utf-8", "replace")
    return process.returncode, words, peak


def peak_bytes(pid: int | None = None) -> int:
    """Return a process's largest resident memory since it was last counted anew; 0 once gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid or os.getpid()}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def waited_s() -> float:
    """Return how long this thread has waited in all while other programs had the processors."""
    try:
        fields = Path("/proc/thread-self/schedstat").read_text().split()
        return int(fields[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0

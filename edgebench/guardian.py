"""Stand between a program and whoever wants it, so that nothing of it is left when either ends.

Run as a script: `python -I -S guardian.py PARENT PROGRAM ARGUMENT ...`. The guardian takes in what
the program leaves behind, also what made a session of its own, and ends all of it when the program
ends, when PARENT is gone, or on SIGTERM. It ends as the program did. It sleeps until then.
Knows Linux; elsewhere it becomes the program. Imports nothing of ours: a sensor's program must
not wait for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator

PATIENCE_S = 1.0  # for what can't be killed, as a program that another user owns
_HEARD = {signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT}
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36
_NOT_FOUND = 127  # as a shell has it


def die_with(parent: int, by: signal.Signals) -> None:
    """Let the kernel send this process a signal when its parent ends; at once where it has."""
    _prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        os.kill(os.getpid(), by)


def main() -> None:
    """Run a program, and end as it does, with all that it started."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform != "linux":
        os.execvp(command[0], command)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    die_with(parent, signal.SIGTERM)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("0")  # a worker asks to go first when memory ends; this cleans up after it
    guardian = os.getpid()
    program = os.fork()
    if not program:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _become(command, guardian)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # whoever reads the program's output must see its end
        os.dup2(nothing, descriptor)
    status = _watch(program)
    _end_all()
    _end_as(status)


def _become(command: list[str], guardian: int) -> None:
    die_with(guardian, signal.SIGKILL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores, and a program inherits
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"can't run {command[0]}: {error.strerror}\n".encode("utf-8", "replace"))
        os._exit(_NOT_FOUND)


def _watch(program: int) -> int:
    """Sleep until the program has ended or a signal says to end it; return its wait status."""
    while True:
        heard = signal.sigwait(_HEARD)
        if heard != signal.SIGCHLD:
            return heard
        with contextlib.suppress(ChildProcessError):
            for pid, status in _reaped():
                if pid == program:
                    return status


def _reaped() -> Iterator[tuple[int, int]]:
    """Give children that have ended, with their status; raise ChildProcessError after the last."""
    while (ended := os.waitpid(-1, os.WNOHANG))[0]:
        yield ended


def _end_all() -> None:
    """Kill children until none is left: those of a killed one become this process's own."""
    deadline = time.monotonic() + PATIENCE_S
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            for pid in _children():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            signal.sigtimedwait({signal.SIGCHLD}, 0.02)
            for _ in _reaped():
                pass


def _children() -> list[int]:
    here = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(name) == here]


def _parent(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])  # a name may hold brackets
    except (OSError, IndexError, ValueError):
        return -1


def _end_as(status: int) -> None:
    """End with the code or the signal of a wait status, without a core file of this process."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        os._exit(code)
    _prctl(_PR_SET_DUMPABLE, 0)
    with contextlib.suppress(OSError, ValueError):  # SIGKILL takes no handler
        signal.signal(-code, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
    os.kill(os.getpid(), -code)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


if __name__ == "__main__":
    main()

"""Which processes a command started, known by a word in their environment; and signals to them."""

from __future__ import annotations

import signal
import subprocess
import time
import uuid
from collections.abc import Callable

import psutil

from support.shell import Shell

PATIENCE_S = 60.0  # a limit against hanging, not a measurement
GONE_S = 2.0


class Marked:
    """A shell whose processes can be told from all others, also when their parent has gone."""

    def __init__(self, shell: Shell) -> None:
        self._word = f"EDGEBENCH_TEST_{uuid.uuid4().hex}"
        self.shell = Shell(shell.cwd, shell.env | {self._word: "1"}, shell.start_with)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Return those that live and have all these words in their command line."""
        found = []
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
                if self._word in process.environ() and all(word in line for word in words):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def await_process(self, *words: str) -> psutil.Process:
        """Wait for a process with these words that has come to rest, and return it."""

        def resting() -> psutil.Process | None:
            for process in self.processes(*words):
                try:
                    before = process.cpu_times()
                    time.sleep(0.15)
                    if process.cpu_times() == before and process.create_time() < time.time() - 0.3:
                        return process
                except psutil.Error:
                    continue
            return None

        return _await(resting, f"no process {words} came to rest")

    def await_processes(self, count: int, *words: str) -> None:
        """Wait until so many processes with these words are there."""
        end = time.monotonic() + PATIENCE_S
        while len(self.processes(*words)) < count and time.monotonic() < end:
            time.sleep(0.05)
        assert len(self.processes(*words)) >= count

    def kill(self) -> None:
        """Kill what a test that failed has left."""
        for process in self.processes():
            process.kill()

    def are_gone(self) -> bool:
        """Return whether none is left within the time that is promised."""
        end = time.monotonic() + GONE_S
        while self.processes() and time.monotonic() < end:
            time.sleep(0.05)
        return not self.processes()


def _await(look: Callable[[], psutil.Process | None], otherwise: str) -> psutil.Process:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if process := look():
            return process
        time.sleep(0.05)
    raise AssertionError(otherwise)


def ended(process: subprocess.Popen[str], *signals: signal.Signals) -> tuple[int, list[str]]:
    """Send signals and wait for the end; return the exit code and the lines on stderr."""
    for number in signals:
        process.send_signal(number)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in stderr
    return process.returncode, stderr.splitlines()

"""Run workers on this machine: a process each, its log in a file.

Knows pipes, signals and time-outs, and how to tell a kill for memory from another. The parent
blocks while it waits: nothing of it runs beside a measured phase.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from pathlib import Path
from typing import IO, BinaryIO

from edgebench import __version__
from edgebench.plan.devices import Device
from edgebench.processes import memory_kills, python_module
from edgebench.records.artifact import Artifact
from edgebench.records.base import safe_name
from edgebench.records.messages import (
    MAX_LINE_BYTES,
    AnyReply,
    AnyRequest,
    Close,
    Failed,
    Hello,
    Progress,
    ProtocolError,
    Result,
    read_reply,
    write,
)
from edgebench.records.run import RunError, Status
from edgebench.run.transports import Tell, WorkerError

CLOSE_S = 10.0
_CHUNK = 1 << 16


HELLO_S = 60.0  # to import what a hello needs, on a slow board with a cold disk


class LocalTransport:
    """Starts `python -m edgebench.worker` here."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs

    def start(self, device: Device, name: str) -> LocalWorker:
        """Start a worker and hear its hello; raise WorkerError where that fails."""
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
            path = self._logs / f"{safe_name(name)}.log"
            with path.open("wb") as log:
                return LocalWorker(_spawn(log, name), path)
        except OSError as error:
            raise WorkerError.of(
                "failed",
                "Start",
                f"can't start a worker, its log in {self._logs}: {error.strerror}",
            ) from None

    def deliver(self, artifact: Artifact) -> Artifact:
        """Return the artifact: its files are here."""
        return artifact


def _spawn(log: BinaryIO, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*python_module("edgebench.worker"), name],  # the name is for ps alone
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,  # Ctrl-C reaches the parent alone
    )


class LocalWorker:
    """A worker process on this machine."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._stdin, self._stdout = _pipes(process)
        self._log = log
        self._buffer = bytearray()
        self._kills_before = memory_kills()
        try:
            self.hello = self._hear_hello()
        except BaseException:
            self._kill()
            raise

    def _hear_hello(self) -> Hello:
        reply = self._read_reply(HELLO_S)
        if not isinstance(reply, Hello):
            raise WorkerError.of("failed", "ProtocolError", "the worker didn't say hello first")
        if reply.edgebench != __version__:
            raise WorkerError.of(
                "failed",
                "Version",
                f"the worker is edgebench {reply.edgebench}, this is {__version__}",
                "update the older of the two",
            )
        return reply

    def request(self, message: AnyRequest, timeout_s: float, tell: Tell) -> Result:
        """Send a request and block until its result."""
        try:
            self._stdin.write(write(message))
            self._stdin.flush()
        except OSError:  # it died while it was idle
            raise self._death() from None
        while True:
            reply = self._read_reply(timeout_s)
            if isinstance(reply, Progress):
                tell(reply.done, reply.total)
            elif isinstance(reply, Failed):
                raise WorkerError.told(reply)
            else:
                return reply

    def _read_reply(self, timeout_s: float) -> AnyReply:
        line = self._read_line(timeout_s)
        try:
            return read_reply(line)
        except ProtocolError as error:
            self._kill()
            raise WorkerError.of("failed", "ProtocolError", error.message) from None

    def close(self) -> None:
        """Ask the process to end, and end it where it does not."""
        if self._process.poll() is None:
            try:
                self._stdin.write(write(Close()))
                self._stdin.close()
                self._process.wait(CLOSE_S)
            except (OSError, subprocess.TimeoutExpired):
                self._kill()
        self._process.wait()
        self._stdout.close()

    def _read_line(self, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while (end := self._buffer.find(b"\n")) < 0:
                if len(self._buffer) > MAX_LINE_BYTES:
                    self._kill()
                    raise WorkerError.of("failed", "ProtocolError", "the worker's line never ends")
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self._kill()
                    raise WorkerError.of(
                        "timeout",
                        "Timeout",
                        f"no sign of life for {timeout_s:.0f} s",
                        self._log_hint,
                    )
                chunk = os.read(self._stdout.fileno(), _CHUNK)
                if not chunk:
                    raise self._death()
                self._buffer += chunk
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line

    @property
    def _log_hint(self) -> str:
        return f"see {self._log}"

    def _death(self) -> WorkerError:
        code = self._process.wait()
        if code >= 0:
            text = f"the worker ended with code {code}: {self._last_words()}"
            return WorkerError.of("crashed", "Exit", text, self._log_hint)
        name = _signal_name(-code)
        status: Status = "crashed"
        text = f"the worker was ended by {name}"
        if -code == signal.SIGKILL and memory_kills() > self._kills_before:
            status, text = "oom", "the kernel killed the worker for memory"
        error = RunError(type=name, message=text, hint=self._log_hint, signal=-code)
        return WorkerError(status, error)

    def _last_words(self) -> str:
        try:
            lines = self._log.read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1][:300] if lines else ""

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None:
        raise ValueError("a worker is spoken to through pipes")
    return process.stdin, process.stdout


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

"""Run workers on this machine: a process each, its log in a file.

Knows pipes, signals and time-outs, and how to tell a kill for memory from another. The parent
blocks while it waits: nothing of it runs beside a measured phase.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
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
HELLO_S = 60.0  # to import what a hello needs, on a slow board with a cold disk
MAX_PROGRESS = 1_000_000  # signs of life in one request; a worker that gives more is out of order
_CHUNK = 1 << 16


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
        bufsize=0,  # written to as far as the pipe takes it
        start_new_session=True,  # Ctrl-C reaches the parent alone
    )


class LocalWorker:
    """A worker process on this machine."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._stdin, self._stdout = _pipes(process)
        os.set_blocking(self._stdin.fileno(), False)
        self._log = log
        self._unsent = memoryview(b"")
        self._heard = bytearray()
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
        self._unsent = memoryview(write(message))
        try:
            for _ in range(MAX_PROGRESS):
                reply = self._read_reply(timeout_s)
                if isinstance(reply, Progress):
                    tell(reply.done, reply.total)
                elif self._unsent:
                    raise self._refused("the worker answered before it was asked")
                elif isinstance(reply, Failed):
                    raise WorkerError.told(reply)
                else:
                    return reply
            raise self._refused("the worker never comes to an end")
        except KeyboardInterrupt:
            self._kill()  # it is busy, and nobody waits for its answer
            raise

    def _read_reply(self, timeout_s: float) -> AnyReply:
        line = self._read_line(timeout_s)
        try:
            return read_reply(line)
        except ProtocolError as error:
            raise self._refused(error.message) from None

    def close(self) -> None:
        """Ask the process to end, and end it where it does not."""
        if isinstance(sys.exc_info()[1], KeyboardInterrupt):
            self._kill()  # a person waits
        if self._process.poll() is None:
            try:
                self._stdin.write(write(Close()))
                self._stdin.close()
                self._process.wait(CLOSE_S)
            except (OSError, subprocess.TimeoutExpired):
                self._kill()
            except BaseException:
                self._kill()
                raise
        self._stdin.close()
        self._stdout.close()

    def _read_line(self, timeout_s: float) -> bytes:
        """Send what is unsent and wait for a line; the time counts from the last sign of life."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            if self._unsent:
                selector.register(self._stdin, selectors.EVENT_WRITE)
            deadline = time.monotonic() + timeout_s
            seen = 0
            while (end := self._heard.find(b"\n", seen)) < 0:
                seen = len(self._heard)
                ready = {key.fileobj for key, _ in selector.select(deadline - time.monotonic())}
                if not ready:
                    raise self._silence(timeout_s)
                if self._stdout in ready:
                    self._hear()
                elif self._send():
                    deadline = time.monotonic() + timeout_s
                if not self._unsent and self._stdin in selector.get_map():
                    selector.unregister(self._stdin)
        line = bytes(self._heard[: end + 1])
        del self._heard[: end + 1]
        return line

    def _hear(self) -> None:
        chunk = os.read(self._stdout.fileno(), _CHUNK)
        if not chunk:
            raise self._death()
        self._heard += chunk
        if len(self._heard) > MAX_LINE_BYTES:
            raise self._refused("the worker's line never ends")

    def _send(self) -> int:
        """Write as much as the pipe takes; return how much that was."""
        try:
            sent = os.write(self._stdin.fileno(), self._unsent)
        except BlockingIOError:
            return 0
        except OSError:  # it died: its last words are still to be read
            sent = len(self._unsent)
        self._unsent = self._unsent[sent:]
        return sent

    def _silence(self, timeout_s: float) -> WorkerError:
        self._kill()
        return WorkerError.of(
            "timeout", "Timeout", f"no sign of life for {timeout_s:.0f} s", self._log_hint
        )

    def _refused(self, message: str) -> WorkerError:
        self._kill()
        return WorkerError.of("failed", "ProtocolError", message)

    @property
    def _log_hint(self) -> str:
        return f"see {self._log}"

    def _death(self) -> WorkerError:
        try:
            code = self._process.wait(CLOSE_S)  # a core file may take its time
        except subprocess.TimeoutExpired:
            return self._refused("the worker closed its output, and lived on")
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
        with contextlib.suppress(subprocess.TimeoutExpired):  # one that a driver holds goes later
            self._process.wait(CLOSE_S)


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None:
        raise ValueError("a worker is spoken to through pipes")
    return process.stdin, process.stdout


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

"""Workers inside this process, for tests: the worker's own server, without pipe and process.

What is said still goes through JSON, so that a message which could not cross a wire fails here too.
Knows no server: whoever makes the transport gives one. A worker that dies takes this process along.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edgebench.plan.devices import Device
from edgebench.records.artifact import Artifact
from edgebench.records.messages import (
    AnyReply,
    AnyRequest,
    Failed,
    Hello,
    Progress,
    Result,
    read_reply,
    read_request,
    write,
)
from edgebench.run.transports import Tell, WorkerError


class Server(Protocol):
    """What answers requests: `edgebench.worker.server.Server` is one."""

    def answer(self, request: AnyRequest) -> bool:
        """Answer a request; return False after the last one."""
        ...

    def close(self) -> None:
        """Let the session go."""
        ...


class MemoryTransport:
    """Starts servers in this process."""

    def __init__(self, serve: Callable[[Callable[[AnyReply], None]], Server]) -> None:
        self._serve = serve

    def start(self, device: Device, name: str) -> MemoryWorker:
        """Start a server."""
        return MemoryWorker(self._serve)

    def deliver(self, artifact: Artifact) -> Artifact:
        """Return the artifact: its files are here."""
        return artifact


class MemoryWorker:
    """A server in this process, and what it said."""

    def __init__(self, serve: Callable[[Callable[[AnyReply], None]], Server]) -> None:
        self._replies: list[AnyReply] = []
        self._tell: Tell = _nobody
        self._server = serve(self._hear)
        self.hello: Hello = self._replies.pop()  # type: ignore[assignment]

    def _hear(self, reply: AnyReply) -> None:
        heard = read_reply(write(reply))
        if isinstance(heard, Progress):
            self._tell(heard.done, heard.total)
        else:
            self._replies.append(heard)

    def request(self, message: AnyRequest, timeout_s: float, tell: Tell) -> Result:
        """Let the server answer."""
        self._tell = tell
        self._server.answer(read_request(write(message)))
        reply = self._replies.pop()
        if isinstance(reply, Failed):
            raise WorkerError.told(reply)
        assert not isinstance(reply, Progress)
        return reply

    def close(self) -> None:
        """Let the session go."""
        self._server.close()


def _nobody(done: int, total: int) -> None:
    """Hear of progress and do nothing."""

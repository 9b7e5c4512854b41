"""Workers that are no processes: one that is recorded, and one that says again what was recorded.

Knows lines and their order. What is said again may have been changed; it is read as a real
worker's line is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgebench.plan.devices import Device
from edgebench.records.artifact import Artifact
from edgebench.records.messages import (
    AnyRequest,
    Failed,
    Hello,
    Progress,
    ProtocolError,
    Result,
    read_reply,
    write,
)
from edgebench.run.transports import Tell, Transport, Worker, WorkerError

Conversation = Sequence[Sequence[str]]  # (request, reply) in turn; the hello answers to nothing


@dataclass
class Recorded:
    """A transport whose workers' words are kept."""

    transport: Transport
    workers: list[list[tuple[str, str]]] = field(default_factory=list)

    def start(self, device: Device, name: str) -> Worker:
        """Start a worker and keep its hello."""
        worker = self.transport.start(device, name)
        self.workers.append([("", write(worker.hello).decode())])
        return RecordedWorker(worker, self.workers[-1])

    def deliver(self, artifact: Artifact) -> Artifact:
        """Deliver as the transport does."""
        return self.transport.deliver(artifact)


@dataclass
class RecordedWorker:
    """A worker, and what is said."""

    worker: Worker
    said: list[tuple[str, str]]

    @property
    def hello(self) -> Hello:
        """What it said first."""
        return self.worker.hello

    def request(self, message: AnyRequest, timeout_s: float, tell: Tell) -> Result:
        """Ask, and keep what both said."""
        try:
            result = self.worker.request(message, timeout_s, tell)
        except WorkerError as error:
            told: Failed | Result = Failed(status=error.status, error=error.error)
            self.said.append((write(message).decode(), write(told).decode()))
            raise
        self.said.append((write(message).decode(), write(result).decode()))
        return result

    def close(self) -> None:
        """End the worker."""
        self.worker.close()


@dataclass
class Replay:
    """A transport whose workers say what they are given, one after the other."""

    workers: Iterator[Conversation]

    @classmethod
    def of_workers(cls, workers: Sequence[Any]) -> Replay:
        """Return the transport of these conversations."""
        return cls(iter(workers))

    def start(self, device: Device, name: str) -> Worker:
        """Start the next one; it has crashed where there is none."""
        return ReplayedWorker([told for _, told in next(self.workers, ())])

    def deliver(self, artifact: Artifact) -> Artifact:
        """Return the artifact: its files are here."""
        return artifact


class ReplayedWorker:
    """A worker that says what it was given, whatever it is asked."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        hello = self._next()
        if not isinstance(hello, Hello):
            raise WorkerError.of("failed", "ProtocolError", "the worker didn't say hello first")
        self.hello = hello

    def request(self, message: AnyRequest, timeout_s: float, tell: Tell) -> Result:
        """Return the next reply."""
        reply = self._next()
        while isinstance(reply, Progress):
            tell(reply.done, reply.total)
            reply = self._next()
        if isinstance(reply, Failed):
            raise WorkerError.told(reply)
        return reply

    def close(self) -> None:
        """End."""

    def _next(self) -> Result | Progress | Failed:
        if not self._lines:
            raise WorkerError.of("crashed", "Exit", "the worker ended")
        try:
            return read_reply(self._lines.pop(0).encode("utf-8", "surrogatepass"))
        except ProtocolError as error:
            raise WorkerError.of("failed", "ProtocolError", error.message) from None

"""Transports: where workers are started and artifacts delivered, and what a started one is.

A worker takes one request at a time. Knows nothing of how a process is started; each place has a
file of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edgebench.plan.devices import Device
from edgebench.records.artifact import Artifact
from edgebench.records.messages import AnyRequest, Failed, Hello, Result
from edgebench.records.run import RunError, Status


class WorkerError(Exception):
    """A request came to nothing: the status and error of its case."""

    def __init__(self, status: Status, error: RunError) -> None:
        super().__init__(error.message)
        self.status: Status = status
        self.error = error

    @classmethod
    def of(cls, status: Status, kind: str, message: str, hint: str = "") -> WorkerError:
        """Return the error of a status, its kind and its words, cut to what a record takes."""
        error = RunError(type=kind, message=message[:5000], hint=hint[:5000])
        return cls(status, error)

    @classmethod
    def told(cls, reply: Failed) -> WorkerError:
        """Return the error that a worker told of."""
        return cls(reply.status, reply.error)


Tell = Callable[[int, int], None]


class Worker(Protocol):
    """A process that serves one artifact."""

    @property
    def hello(self) -> Hello:
        """What it said first: the machine, its runtimes and conditions."""
        ...

    def request(self, message: AnyRequest, timeout_s: float, tell: Tell) -> Result:
        """Send a request and block until its result; raise WorkerError where there is none.

        `tell` hears of progress; `timeout_s` counts from the last sign of life.
        """
        ...

    def close(self) -> None:
        """End the process, kindly at first."""
        ...


class Transport(Protocol):
    """Starts workers in one place."""

    def start(self, device: Device, name: str) -> Worker:
        """Start a worker on a device and hear its hello; its log is named after `name`.

        Raises WorkerError, with the case's status, where it does not start or says something else.
        """
        ...

    def deliver(self, artifact: Artifact) -> Artifact:
        """Bring an artifact's files to the device, by content; return it as the device sees it."""
        ...

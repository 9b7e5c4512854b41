"""Transports: the protocol of a worker that was started somewhere.

A worker takes one request at a time. Knows nothing of how a process is started; each place has a
file of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edgebench.records.messages import AnyRequest, Result
from edgebench.records.run import RunError, Status


class WorkerError(Exception):
    """A request came to nothing: the status and error of its case."""

    def __init__(self, status: Status, error: RunError) -> None:
        super().__init__(error.message)
        self.status: Status = status
        self.error = error


Tell = Callable[[int, int], None]


class Worker(Protocol):
    """A process that serves one artifact."""

    pid: int

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

    def start(self, name: str) -> Worker:
        """Start a worker whose log is named after `name`."""
        ...

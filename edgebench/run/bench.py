"""What every case of a sweep is run with, and who hears of it. Runs nothing itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edgebench.plan.cases import Case, case_id
from edgebench.plan.devices import Device
from edgebench.records.device import DeviceInfo
from edgebench.records.formats import required_version
from edgebench.records.messages import Hello
from edgebench.records.run import Run
from edgebench.run.transports import Transport


class Observer(Protocol):
    """Hears of a sweep's progress."""

    def started(self, case: Case) -> None:
        """A case begins, or goes on after its turn."""
        ...

    def ticked(self, case: Case, done: int, total: int) -> None:
        """A part of a case is done."""
        ...

    def ended(self, case: Case, run: Run) -> None:
        """A case has ended and is stored."""
        ...


class Tolerant:
    """Tells an observer; where it fails, as one does whose terminal is gone, measuring goes on."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def started(self, case: Case) -> None:
        """Tell of a case's beginning."""
        with contextlib.suppress(Exception):
            self._observer.started(case)

    def ticked(self, case: Case, done: int, total: int) -> None:
        """Tell of a part that is done."""
        with contextlib.suppress(Exception):
            self._observer.ticked(case, done, total)

    def ended(self, case: Case, run: Run) -> None:
        """Tell of a case's end."""
        with contextlib.suppress(Exception):
            self._observer.ended(case, run)


@dataclass(frozen=True)
class Bench:
    """Where cases run, who stores them and who watches."""

    transport: Transport
    device: Device
    hello: Hello  # of the worker that answered for the device when the sweep was planned
    store: Callable[[Run], object]
    observer: Observer
    timeout_s: float
    stored: Mapping[str, Run] = field(default_factory=dict)  # good runs there already, by case id
    begun: Mapping[str, Run] = field(default_factory=dict)  # those of too few launches, to go on

    def case_id(self, case: Case) -> str:
        """Return a case's id with the runtime that the device has.

        Raises MissingExtraError where that runtime is not installed there.
        """
        return case_id(case, required_version(case.subject.runtime, self.hello.runtimes))

    @property
    def device_info(self) -> DeviceInfo:
        """Return what runs say of the device: what its worker told, under the registry's name."""
        told = self.hello.device.model_dump(exclude={"name"}, exclude_none=True)
        entry = self.device.entry
        stated = {"soc": entry.soc, "gpu": entry.gpu}
        return DeviceInfo.model_validate({**stated, **told, "name": self.device.name})

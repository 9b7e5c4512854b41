"""Where workers are started: this machine. Commands that need to know a device ask one here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgebench.plan.devices import Device
    from edgebench.records.messages import Check, Hello
    from edgebench.run.transports import Transport

CHECK_S = 120.0  # a slow meter may take its time


def local_transport() -> Transport:
    """Return what starts workers on this machine, with their logs in the user's cache."""
    from platformdirs import user_cache_path

    from edgebench.run.transports.local import LocalTransport

    return LocalTransport(user_cache_path("edgebench") / "logs")


def greet(transport: Transport) -> Hello:
    """Start a worker for its hello; raise DeviceError where none starts."""
    from edgebench.errors import DeviceError
    from edgebench.plan.devices import THIS_MACHINE
    from edgebench.run.transports import WorkerError

    try:
        worker = transport.start(THIS_MACHINE, "hello")
    except WorkerError as error:
        raise DeviceError(error.error.message, hint=error.error.hint) from None
    try:
        return worker.hello
    finally:
        worker.close()


def checks_of(transport: Transport, device: Device) -> tuple[Check, ...]:
    """Let a worker check its machine as the device; raise DeviceError where it can't."""
    from edgebench.errors import DeviceError
    from edgebench.records.messages import Checks, Preflight
    from edgebench.run.transports import WorkerError

    try:
        worker = transport.start(device, "check")
        try:
            reply = worker.request(Preflight(entry=device.entry), CHECK_S, lambda done, total: None)
        finally:
            worker.close()
    except WorkerError as error:
        raise DeviceError(error.error.message, hint=error.error.hint) from None
    return reply.checks if isinstance(reply, Checks) else ()

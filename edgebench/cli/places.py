"""Where workers are started: this machine. Commands that need to know a device ask one here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from edgebench.plan.devices import Device
    from edgebench.records.energy import Calibration
    from edgebench.records.messages import AnyRequest, Check, Hello
    from edgebench.run.transports import Transport

Answer = TypeVar("Answer")

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
    from edgebench.records.messages import Checks, Preflight

    return _asked(transport, device, Preflight(entry=device.entry), Checks).checks


def need_meters(transport: Transport, device: Device, meters: Sequence[str]) -> None:
    """Raise UsageError where a meter that a person named gives no readings on the device."""
    from edgebench.errors import UsageError
    from edgebench.records.messages import Checks, ProbeMeters

    named = tuple(meter for meter in meters if meter not in ("auto", "none"))
    if not named:
        return
    for check in _asked(transport, device, ProbeMeters(meters=named), Checks).checks:
        if check.status != "ok":
            raise UsageError(
                f"--meter {check.name} gives no readings: {check.message}",
                hint="--meter none measures without energy; edgebench devices check shows what "
                "answers",
            )


def calibrations_of(transport: Transport, device: Device, meter: str) -> dict[str, Calibration]:
    """Fit each of the device's sensors to a meter; return source -> fit.

    Raises DeviceError where they can't be read, UsageError where no line fits.
    """
    import datetime

    from edgebench.errors import UsageError
    from edgebench.figures.calibration import fit
    from edgebench.figures.totals import pairs_of
    from edgebench.records.messages import Calibrate, Calibrated
    from edgebench.records.meters import check_meters

    check_meters((meter,))
    reply = _asked(transport, device, Calibrate(reference=meter), Calibrated)
    reference, *sensors = reply.timelines
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    fits: dict[str, Calibration] = {}
    refused: list[str] = []
    for line in sensors:
        for total in line.totals:
            if total.kind != "measured" or not total.rails:
                continue
            try:
                fits[total.source] = fit(pairs_of(line, total, reference), today)
            except UsageError as error:
                refused.append(f"{total.source}: {error.message}")
    if not fits:
        raise UsageError(
            f"no sensor could be fitted: {'; '.join(refused) or 'none gives a total'}",
            hint="type what both show at three loads: --source ina --pair 5.1W=6.3W ...",
        )
    return fits


def _asked(
    transport: Transport, device: Device, request: AnyRequest, wanted: type[Answer]
) -> Answer:
    """Ask a worker of the device one thing; raise DeviceError where it can't answer."""
    from edgebench.errors import DeviceError
    from edgebench.run.transports import WorkerError

    try:
        worker = transport.start(device, request.request)
        try:
            reply = worker.request(request, CHECK_S, lambda done, total: None)
        finally:
            worker.close()
    except WorkerError as error:
        raise DeviceError(error.error.message, hint=error.error.hint) from None
    if not isinstance(reply, wanted):
        raise DeviceError(f"the worker answered {reply.reply!r} to {request.request!r}")
    return reply

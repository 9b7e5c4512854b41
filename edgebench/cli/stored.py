"""Read stored runs for the commands that judge them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgebench.analyze.rows import Row, summarize
from edgebench.errors import UsageError, nearest
from edgebench.run.store import read_runs


def stored_rows(paths: Sequence[Path], device: str | None) -> list[Row]:
    """Return the rows of all runs below `paths`, or below profiles.

    `device` may be a device's name or the family that its boards belong to. Raises UsageError
    where there are no runs of it.
    """
    from edgebench.plan.devices import load_registry

    rows = summarize(read_runs(paths or [Path("profiles")]))
    if device is None:
        if not rows:
            raise UsageError("no runs are stored there", hint="edgebench profile --device cpu")
        return rows
    known = load_registry().devices
    chosen = [
        row
        for row in rows
        if row.device.name == device
        or (row.device.name in known and known[row.device.name].family == device)
    ]
    if not chosen:
        measured = sorted({row.device.name for row in rows})
        raise UsageError(
            f"no runs of device {device!r}",
            hint=nearest(device, measured) if measured else f"edgebench profile --device {device}",
        )
    return chosen

"""Read stored runs for the commands that judge them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgebench.analyze.rows import Row, summarize
from edgebench.errors import UsageError, nearest
from edgebench.run.store import read_runs

if TYPE_CHECKING:
    from edgebench.records.run import Run


def stored_runs(paths: Sequence[Path]) -> list[Run]:
    """Return all runs below `paths`, or below profiles."""
    return list(read_runs(paths or [Path("profiles")]))


def stored_rows(paths: Sequence[Path], devices: Sequence[str]) -> list[Row]:
    """Return the rows of all runs below `paths`, or below profiles, of some devices or of all.

    Raises UsageError where there are no runs of one of them.
    """
    return chosen_rows(summarize(stored_runs(paths)), devices)


def chosen_rows(rows: Sequence[Row], devices: Sequence[str]) -> list[Row]:
    """Return the rows of devices, each named by its name or by the family of its boards.

    Raises UsageError where there are no rows at all, or none of one of the devices.
    """
    from edgebench.plan.devices import load_registry

    if not rows:
        hint = f"edgebench profile --device {devices[0] if devices else 'cpu'}"
        raise UsageError("no runs are stored there", hint=hint)
    if not devices:
        return list(rows)
    known = load_registry().devices
    measured = {row.device.name for row in rows}
    chosen: set[str] = set()
    for device in devices:
        names = {
            name
            for name in measured
            if name == device or (name in known and known[name].family == device)
        }
        if not names:
            raise UsageError(f"no runs of device {device!r}", hint=nearest(device, measured))
        chosen |= names
    return [row for row in rows if row.device.name in chosen]

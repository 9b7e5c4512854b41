"""Read stored runs for the commands that judge them, and name the lines that don't count."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.analyze.rows import Row, summarize
from edgebench.errors import BadFileError, UsageError, nearest
from edgebench.records.base import clean
from edgebench.records.limits import LINES_LISTED, LINES_NAMED
from edgebench.run.stored import PassedOver, read_runs

if TYPE_CHECKING:
    from edgebench.records.run import Run


@dataclass
class LeftOut:
    """The lines and files that don't count: how many, and the first of them."""

    count: int = 0
    first: list[PassedOver] = field(default_factory=list)

    def add(self, passed: PassedOver) -> None:
        """Count one."""
        self.count += 1
        if len(self.first) < LINES_LISTED:
            self.first.append(passed)

    def tell(self) -> None:
        """Name the first few on stderr, then say how many there are in all."""
        named = self.first[:LINES_NAMED]
        for passed in named:
            click.echo(f"passed over: {passed.words}", err=True)
        if self.count > len(named):
            more = self.count - len(named)
            which = "them" if self.count <= LINES_LISTED else f"the first {LINES_LISTED}"
            click.echo(f"passed over: {more} more; --json lists {which}", err=True)

    def as_json(self) -> dict[str, Any]:
        """Return the count and the first of them."""
        first = [
            {"file": str(passed.path), "line": passed.line, "fault": passed.fault}
            for passed in self.first
        ]
        return {"count": self.count, "first": first}


@dataclass(frozen=True)
class StoredRows:
    """The rows of stored runs, and what was passed over while they were read."""

    rows: list[Row]
    left_out: LeftOut


@dataclass(frozen=True)
class StoredRuns:
    """Stored runs, and what was passed over while they were read."""

    runs: list[Run]
    left_out: LeftOut


def stored_runs(paths: Sequence[Path], strict: bool = False) -> StoredRuns:
    """Return all runs below `paths`, or below profiles.

    Raises BadFileError where lines that are no runs are all there is, or where `strict` is true and
    there is one.
    """
    left_out = LeftOut()
    runs = list(read_runs(paths or [Path("profiles")], left_out.add))
    left_out.tell()
    if left_out.count and (strict or not runs):
        lines = "1 line or file" if left_out.count == 1 else f"{left_out.count} lines or files"
        hint = "move it out of there" if runs else "edgebench profile makes runs"
        raise BadFileError(f"{lines} can't be read: {left_out.first[0].words}", hint=hint)
    return StoredRuns(runs, left_out)


def stored_rows(
    paths: Sequence[Path], devices: Sequence[str] = (), strict: bool = False
) -> StoredRows:
    """Return the rows of all runs below `paths`, or below profiles, of some devices or of all.

    Raises UsageError where there are no runs of one of them, BadFileError as `stored_runs` does.
    """
    stored = stored_runs(paths, strict)
    return StoredRows(chosen_rows(summarize(stored.runs), devices), stored.left_out)


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


def as_json(document: object) -> str:
    """Return a document as JSON whose texts are clean: some come from files of strangers."""
    return json.dumps(_cleaned(document))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value, None)
    if isinstance(value, dict):
        return {clean(str(key), None): _cleaned(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(child) for child in value]
    return value

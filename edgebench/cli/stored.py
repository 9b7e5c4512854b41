"""Read stored runs for the commands that judge them, and name the lines that don't count."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgebench.analyze.rows import Row, summarize_seen
from edgebench.errors import BadFileError, UsageError, nearest
from edgebench.records.base import clean
from edgebench.records.limits import LINES_LISTED, LINES_NAMED
from edgebench.run.heads import Seen
from edgebench.run.indexed import ChangedError, not_collecting, read_seen
from edgebench.run.stored import PassedOver, read_runs

if TYPE_CHECKING:
    from edgebench.records.run import Run

T = TypeVar("T")


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


@dataclass(frozen=True)
class StoredHeads:
    """Stored runs by their heads, and what was passed over while they were read."""

    runs: list[Seen]
    left_out: LeftOut


SHIPPED = ("examples", "published")  # below profiles: what came with the project


def own_runs() -> list[Path]:
    """Return where profile stores runs in this folder, without those that came with the project."""
    folder = Path("profiles")
    if not any((folder / name).is_dir() for name in SHIPPED):
        return [folder]
    return sorted(path for path in folder.iterdir() if path.name not in SHIPPED) or [folder / "cpu"]


def stored_runs(paths: Sequence[Path], strict: bool = False) -> StoredRuns:
    """Return all runs below `paths`, or below profiles.

    Raises BadFileError where lines that are no runs are all there is, or where `strict` is true and
    there is one.
    """
    left_out = LeftOut()
    runs = list(read_runs(paths or own_runs(), left_out.add))
    _tell(left_out, bool(runs), strict)
    return StoredRuns(runs, left_out)


def stored_heads(
    paths: Sequence[Path], strict: bool = False, with_index: bool = True
) -> StoredHeads:
    """Return all runs as `stored_runs` does, by their heads: large files through their index."""
    from platformdirs import user_cache_path

    folder = user_cache_path("edgebench") / "index" if with_index else None
    left_out = LeftOut()
    runs = read_seen(paths or own_runs(), left_out.add, folder)
    _tell(left_out, bool(runs), strict)
    return StoredHeads(runs, left_out)


def _tell(left_out: LeftOut, has_runs: bool, strict: bool) -> None:
    """Name what was passed over; raise BadFileError where that is not to be borne."""
    if left_out.count and (strict or not has_runs):
        lines = "1 line or file" if left_out.count == 1 else f"{left_out.count} lines or files"
        hint = "move it out of there" if has_runs else "edgebench profile makes runs"
        left_out.tell()
        raise BadFileError(f"{lines} can't be read: {left_out.first[0].words}", hint=hint)
    left_out.tell()


def despite_changes(act: Callable[[bool], T]) -> T:
    """Do what reads runs; once more and without an index where a file isn't what one says of it."""
    try:
        return act(True)
    except ChangedError:
        return act(False)


def stored_rows(
    paths: Sequence[Path], devices: Sequence[str] = (), strict: bool = False
) -> StoredRows:
    """Return the rows of all runs below `paths`, or below profiles, of some devices or of all.

    Raises UsageError where there are no runs of one of them, BadFileError as `stored_runs` does.
    """

    def read(with_index: bool) -> StoredRows:
        with not_collecting():
            stored = stored_heads(paths, strict, with_index)
            return StoredRows(rows_of(stored.runs, devices), stored.left_out)

    return despite_changes(read)


def rows_of(runs: Sequence[Seen], devices: Sequence[str]) -> list[Row]:
    """Return the rows of runs, of some devices or of all; raise UsageError as `chosen_rows` does.

    Only the runs are read that these rows are made of.
    """
    with not_collecting():
        return summarize_seen(runs, lambda measured: _chosen(measured, devices))


def chosen_rows(rows: Sequence[Row], devices: Sequence[str]) -> list[Row]:
    """Return the rows of devices, each named by its name or by the family of its boards.

    Raises UsageError where there are no rows at all, or none of one of the devices.
    """
    chosen = _chosen({row.device.name for row in rows}, devices)
    return [row for row in rows if row.device.name in chosen]


def _chosen(measured: set[str], devices: Sequence[str]) -> set[str]:
    from edgebench.plan.devices import load_registry

    if not measured:
        hint = f"edgebench profile --device {devices[0] if devices else 'cpu'}"
        raise UsageError("no runs are stored there", hint=hint)
    if not devices:
        return measured
    known = load_registry().devices
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
    return chosen


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

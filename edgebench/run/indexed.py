"""Read stored runs by their heads: large files through their index, and a run's line when needed.

Knows when an index is worth its while, and that what it says of a line is checked when the line is
read. What counts and what is passed over is as in `run/stored.py`. Makes nothing of the runs.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgebench.errors import BadFileError, EdgebenchError
from edgebench.records.run import Run
from edgebench.run.heads import Head, Seen, Source, figures_of
from edgebench.run.index import (
    Growing,
    Index,
    drop_index,
    empty_index,
    load_index,
    save_index,
)
from edgebench.run.stored import Line, PassedOver, Tell, files_of, read_lines, run_of, run_or_told
from edgebench.sources.files import open_regular

WORTH_BYTES = 1 << 20  # of lines that no index holds: less is read each time, in 30 ms
HELD_BYTES = 16 << 20  # of lines whose runs are kept, at ten times as much; others are read again


class ChangedError(EdgebenchError):
    """A file isn't what it was when its lines were read, or what its index says of them."""


@dataclass
class Reading:
    """A reading of many files: where their indexes lie, and how much may still be held."""

    tell: Tell
    folder: Path | None
    left_bytes: int = HELD_BYTES

    def holds(self, size: int) -> bool:
        """Take room for a run's line; return whether there was any."""
        fits = self.left_bytes >= size
        self.left_bytes -= size if fits else 0
        return fits


@dataclass(frozen=True)
class _Held:
    """A run of a line that is kept, since there is room for it."""

    run: Run

    def load(self, seen: Seen) -> Run:
        """Return the run."""
        return self.run


@dataclass(frozen=True)
class _Source:
    """A file that runs are read from, line by line."""

    path: Path
    folder: Path | None

    def load(self, seen: Seen) -> Run:
        """Read one line again, without its timelines; see that it is what it was."""
        _, offset, size = seen.place
        try:
            with open_regular(self.path) as file:
                raw = os.pread(file.fileno(), size, offset)
            run = run_of(raw, without=["timelines"])
        except (BadFileError, OSError, ValueError):
            run = None
        told = (seen.run_id, seen.created, seen.head)
        if run is None or told != (run.run_id, run.created, Head.of(run)):
            if self.folder is not None:
                drop_index(self.folder, self.path.resolve())
            raise ChangedError(
                f"{self.path} changed while it was read", hint="type the same command again"
            )
        return run


def read_seen(paths: Iterable[Path], tell: Tell, folder: Path | None) -> list[Seen]:
    """Return all runs of files and folders as `read_stored` gives them, by their heads.

    `folder` is where indexes lie; None reads every line.
    """
    with not_collecting():
        return _read(paths, Reading(tell, folder))


@contextlib.contextmanager
def not_collecting() -> Iterator[None]:
    """Make many objects without the collector looking at all of them again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read(paths: Iterable[Path], reading: Reading) -> list[Seen]:
    known: dict[str, tuple[Path, Seen]] = {}
    chosen = []
    for path in files_of(paths, reading.tell):
        for seen in _seen_in(path, reading):
            if seen.run_id not in known:
                known[seen.run_id] = path, seen
                chosen.append(seen)
                continue
            first, other = known[seen.run_id]
            words = f"its run_id is that of {first}, line {other.place[0]}"
            reading.tell(PassedOver(path, seen.place[0], words))
    return chosen


def _seen_in(path: Path, reading: Reading) -> Iterator[Seen]:
    try:
        with open_regular(path) as file:
            yield from _File(path, file, reading).runs()
    except BadFileError as error:
        reading.tell(PassedOver(path, None, error.message))
    except OSError as error:
        reading.tell(PassedOver(path, None, f"can't read {path}: {error.strerror}"))


class _File:
    """One open file: what its index knows, and then the lines that come after."""

    def __init__(self, path: Path, file: BinaryIO, reading: Reading) -> None:
        self._path, self._file, self._reading = path, file, reading
        self._source = _Source(path, reading.folder)
        self._state = os.fstat(file.fileno())
        self._place = path.resolve()
        self._old = self._known()

    def _known(self) -> Index:
        folder, index = self._reading.folder, None
        if folder is not None and self._state.st_size >= WORTH_BYTES:
            index = load_index(folder, self._place, self._file.fileno())
        return index or empty_index(self._place, self._state)

    def runs(self) -> Iterator[Seen]:
        """Give each run; tell of the lines that don't count, in order."""
        yield from self._indexed()
        lines = read_lines(self._file, self._old.end, self._old.next_number)
        first = next(lines, None)
        if first is None:
            return
        new = Growing(end=self._old.end, next_number=self._old.next_number)
        for head in self._old.heads:
            new.shared(head)
        begun = self._old.end
        for line in itertools.chain([first], lines):
            faults: list[PassedOver] = []
            run = run_or_told(self._path, line, faults.append)
            for fault in faults:
                self._reading.tell(fault)
            if line.is_ended:
                new.end, new.next_number = line.offset + line.size, line.number + 1
                new.faults += [(line.number, fault.fault) for fault in faults]
            if run is not None:
                yield self._fresh(run, line, new)
        self._save(new, begun)

    def _fresh(self, run: Run, line: Line, new: Growing) -> Seen:
        """Add a run to the index, if its line will stay as it is, and return it."""
        number, head = new.shared(Head.of(run))
        place, told = (line.number, line.offset, line.size), (run.run_id, run.created)
        figures = figures_of(run)
        if line.is_ended:
            new.rows.append((number, place, told, figures))
        source: Source = _Held(run) if self._reading.holds(line.size) else self._source
        return Seen(head, told, source, place, figures)

    def _indexed(self) -> Iterator[Seen]:
        runs, heads, source = self._old.runs, self._old.heads, self._source
        faults = iter([*self._old.faults, (None, "")])
        at, words = next(faults)
        places = zip(runs.number, runs.offset, runs.size, strict=True)
        told = zip(runs.run_id, runs.created, strict=True)
        figures = zip(*runs.figures, strict=True)
        for head, place, names, values in zip(runs.head, places, told, figures, strict=True):
            while at is not None and at < place[0]:
                self._reading.tell(PassedOver(self._path, at, words))
                at, words = next(faults)
            yield Seen(heads[head], names, source, place, values)
        while at is not None:
            self._reading.tell(PassedOver(self._path, at, words))
            at, words = next(faults)

    def _save(self, new: Growing, begun: int) -> None:
        folder = self._reading.folder
        if folder is not None and new.end - begun >= WORTH_BYTES:
            index = new.as_index(self._place, self._state, self._file.fileno(), self._old)
            save_index(folder, self._place, index)

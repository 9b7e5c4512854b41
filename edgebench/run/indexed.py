"""Read stored runs by their heads: large files through their index, and a run's line when needed.

Knows when an index is worth its while, and that what it says of a line is checked when the line is
read. What counts and what is passed over is as in `run/stored.py`. Makes nothing of the runs.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgebench.errors import BadFileError, EdgebenchError
from edgebench.records.run import Run
from edgebench.run.heads import Head, Seen, figures_of
from edgebench.run.index import (
    Growing,
    Index,
    Place,
    drop_index,
    empty_index,
    load_index,
    save_index,
)
from edgebench.run.stored import PassedOver, Tell, files_of, read_lines, run_of, run_or_told
from edgebench.sources.files import open_regular

WORTH_BYTES = 1 << 20  # of lines that no index holds: less is read each time, in 30 ms
HELD_BYTES = 64 << 20  # of lines whose runs are kept; what is beyond is read again when needed


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
class _Source:
    """A file that runs are read from, line by line."""

    path: Path
    folder: Path | None

    def load(self, place: Place, seen: Seen) -> Run:
        """Read one line again, without its timelines; see that it is what it was."""
        try:
            with open_regular(self.path) as file:
                raw = os.pread(file.fileno(), place.size, place.offset)
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
    reading = Reading(tell, folder)
    known: dict[str, tuple[Path, int]] = {}
    chosen = []
    for path in files_of(paths, tell):
        for seen, number in _seen_in(path, reading):
            first, line = known.setdefault(seen.run_id, (path, number))
            if (first, line) == (path, number):
                chosen.append(seen)
                continue
            tell(PassedOver(path, number, f"its run_id is that of {first}, line {line}"))
    return chosen


def _seen_in(path: Path, reading: Reading) -> Iterator[tuple[Seen, int]]:
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

    def runs(self) -> Iterator[tuple[Seen, int]]:
        """Give each run with its line's number; tell of the lines that don't count, in order."""
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
            place = Place(line.number, line.offset, line.size)
            if line.is_ended:
                new.end, new.next_number = line.offset + line.size, line.number + 1
                new.faults += [(line.number, fault.fault) for fault in faults]
            if run is not None:
                number, head = new.shared(Head.of(run))
                figures = figures_of(run)
                if line.is_ended:
                    new.rows.append((number, place, run.created, run.run_id, figures))
                held = run if self._reading.holds(line.size) else None
                yield self._seen(head, place, run.run_id, run.created, figures, held), line.number
        self._save(new, begun)

    def _indexed(self) -> Iterator[tuple[Seen, int]]:
        old, runs = self._old, self._old.runs
        faults = iter([*old.faults, (None, "")])
        at, words = next(faults)
        columns = (runs.head, runs.number, runs.offset, runs.size, runs.created, runs.run_id)
        figures = zip(*runs.figures, strict=True)
        for row, told in zip(zip(*columns, strict=True), figures, strict=True):
            head, number, offset, size, created, run_id = row
            while at is not None and at < number:
                self._reading.tell(PassedOver(self._path, at, words))
                at, words = next(faults)
            place = Place(number, offset, size)
            yield self._seen(old.heads[head], place, run_id, created, told, None), number
        while at is not None:
            self._reading.tell(PassedOver(self._path, at, words))
            at, words = next(faults)

    def _seen(
        self,
        head: Head,
        place: Place,
        run_id: str,
        created: str,
        figures: tuple[float | None, ...],
        held: Run | None,
    ) -> Seen:
        source = self._source

        def load(seen: Seen) -> Run:
            return held if held is not None else source.load(place, seen)

        return Seen(head, run_id, created, load, figures)

    def _save(self, new: Growing, begun: int) -> None:
        folder = self._reading.folder
        if folder is not None and new.end - begun >= WORTH_BYTES:
            index = new.as_index(self._place, self._state, self._file.fileno(), self._old)
            save_index(folder, self._place, index)

"""Read stored lines one at a time: whole runs, and by name whatever is none.

Knows files, lines and what is wrong with one. A file of any size takes the memory of its longest
line, and no line more than its limit. Nothing that stands in a file stops the reading; what doesn't
count is told, with its file and line. Makes nothing of the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from edgebench.errors import BadFileError, UsageError
from edgebench.records.base import clean
from edgebench.records.faults import first_fault
from edgebench.records.json_text import read_values
from edgebench.records.limits import RUN_BYTES
from edgebench.records.run import Run
from edgebench.sources.files import open_regular

SCHEMA = "edgebench.run/"
VERSION = SCHEMA + "1"
PIECE_BYTES = 1 << 20
WORDS = 600  # characters of a place and its fault


@dataclass(frozen=True)
class Line:
    """A line of a file: its number from 1, where it begins, its bytes without the newline.

    `raw` is None where it has more bytes than a run may have. `is_ended` tells whether a newline
    follows, so that the line was surely written to its end.
    """

    number: int
    offset: int
    size: int
    raw: bytes | None
    is_ended: bool


@dataclass(frozen=True)
class Stored:
    """A run, and where it stands."""

    run: Run
    path: Path
    line: Line


@dataclass(frozen=True)
class PassedOver:
    """A line, or where `line` is None a file or its end, that doesn't count, and why."""

    path: Path
    line: int | None
    fault: str
    is_unfinished: bool = False

    @property
    def words(self) -> str:
        """Name the place and the fault."""
        where = "" if self.line is None else f"{self.path}, line {self.line}: "
        return clean(where + self.fault, WORDS)


Tell = Callable[[PassedOver], object]


def read_lines(file: BinaryIO, offset: int = 0, number: int = 1) -> Iterator[Line]:
    """Give each line from `offset` on, where line `number` begins; empty ones are left out."""
    file.seek(offset)
    while first := file.readline(RUN_BYTES + 1):
        size, last = len(first), first
        while not last.endswith(b"\n") and (more := file.readline(PIECE_BYTES)):
            size, last = size + len(more), more
        raw = first if size == len(first) else None
        if raw is None or raw.strip():
            yield Line(number, offset, size, raw, last.endswith(b"\n"))
        offset, number = offset + size, number + 1


def run_of(raw: bytes, without: Iterable[str] = ()) -> Run:
    """Return the run that a line holds, `without` some of its fields.

    Raises ValueError with what is wrong where it holds none.
    """
    fields = read_values(raw)
    if not isinstance(fields, dict):
        raise ValueError("the line isn't a run")
    for name in without:
        fields.pop(name, None)
    schema = fields.get("schema", VERSION)
    if isinstance(schema, str) and schema.startswith(SCHEMA) and schema != VERSION:
        other = clean(schema, 40)
        raise ValueError(f"schema {other!r} isn't {VERSION}; the edgebench that wrote it reads it")
    try:
        return Run.model_validate(fields)
    except ValidationError as error:
        raise ValueError(first_fault(error, "the line")) from None


def is_whole(raw: bytes) -> bool:
    """Return whether a line was written to its end: what is cut off anywhere isn't an object."""
    try:
        return isinstance(read_values(raw), dict)
    except ValueError:
        return False


def read_stored(paths: Iterable[Path], tell: Tell) -> Iterator[Stored]:
    """Read runs from files and folders, each file and each run once; tell what doesn't count.

    The order in which paths are given doesn't matter. Of runs with one id the first counts. Raises
    UsageError where a path is missing.
    """
    known: dict[str, Stored] = {}
    for path in files_of(paths, tell):
        for stored in read_file(path, tell):
            first = known.setdefault(stored.run.run_id, stored)
            if first is stored:
                yield stored
                continue
            fault = f"its run_id is that of {first.path}, line {first.line.number}"
            tell(PassedOver(path, stored.line.number, fault))


def files_of(paths: Iterable[Path], tell: Tell) -> list[Path]:
    """Return the files that paths name or hold, in an order of their own."""
    files: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"no runs at {path}", hint="edgebench profile --device cpu")
        for file in path.rglob("*.jsonl") if path.is_dir() else [path]:
            try:
                files.setdefault(file.resolve(), file)
            except (OSError, RuntimeError):  # links in a circle
                tell(PassedOver(file, None, f"{file} can't be reached"))
    return [files[place] for place in sorted(files)]


def read_file(path: Path, tell: Tell, offset: int = 0, number: int = 1) -> Iterator[Stored]:
    """Read the runs of one file from `offset` on, where line `number` begins."""
    try:
        with open_regular(path) as file:
            for line in read_lines(file, offset, number):
                run = run_or_told(path, line, tell)
                if run is not None:
                    yield Stored(run, path, line)
    except BadFileError as error:
        tell(PassedOver(path, None, error.message))
    except OSError as error:
        tell(PassedOver(path, None, f"can't read {path}: {error.strerror}"))


def run_or_told(path: Path, line: Line, tell: Tell) -> Run | None:
    """Return the run of a line; tell what is wrong where it holds none."""
    if line.raw is None:
        tell(PassedOver(path, line.number, f"it has {line.size >> 20} MiB, more than any run"))
        return None
    try:
        return run_of(line.raw)
    except ValueError as error:
        if line.is_ended or is_whole(line.raw):
            tell(PassedOver(path, line.number, str(error)))
        else:
            words = f"1 line at the end of {path} was not finished; passed over"
            tell(PassedOver(path, None, words, is_unfinished=True))
        return None


def read_runs(paths: Iterable[Path], tell: Tell = repr) -> Iterator[Run]:
    """Read runs as `read_stored` does, without their places."""
    for stored in read_stored(paths, tell):
        yield stored.run

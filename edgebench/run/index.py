"""What a file of runs holds, kept so that it isn't read again: a cache, which may go at any time.

Knows one file's index: the head of each run and where it stands, and the lines that don't count. It
is held against the file (identity, size, times, samples of its bytes) and against rules of reading;
what is wrong with it in any way is as if it weren't there. Makes nothing of the runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from edgebench import __version__
from edgebench.errors import BadFileError
from edgebench.records.base import Record, Text
from edgebench.records.formats import FAKE, is_runnable
from edgebench.run.heads import FIGURES_OF_RUN, Head
from edgebench.sources.files import read_regular

VERSION = 1
SAMPLES = 32  # of a file's bytes, spread over it; the first and the last are among them
SAMPLE_BYTES = 1024
INDEX_BYTES = 512 << 20  # of one file's; 100,000 runs of 600 cases have 25 MB
SUM_BYTES = 65  # a sum in hexadecimal and a newline

Natural = Annotated[int, Field(ge=0)]
# Of a run: its head's number, its place, its id and moment, its figures.
FreshRow = tuple[int, tuple[int, int, int], tuple[str, str], tuple[float | None, ...]]


class Identity(Record):
    """Which file it is, and in which state."""

    path: str
    device: int
    inode: int
    size: int
    changed_ns: int
    status_ns: int = Field(description="when its inode changed, which nobody can set")

    @classmethod
    def of(cls, path: Path, state: os.stat_result) -> Identity:
        """Return the identity of an open file."""
        return cls(
            path=os.fsencode(path).hex(),
            device=state.st_dev,
            inode=state.st_ino,
            size=state.st_size,
            changed_ns=state.st_mtime_ns,
            status_ns=state.st_ctime_ns,
        )

    def has_grown(self, before: Identity, end: int) -> bool:
        """Return whether this may be the same file with more lines at its end, or a new last one.

        One whose size is the same and whose times aren't was written to in its middle.
        """
        same = (self.path, self.device, self.inode) == (before.path, before.device, before.inode)
        return same and self.size != before.size and self.size >= end


class Columns(Record):
    """The runs of a file in its order, a list a field."""

    head: tuple[Natural, ...]
    number: tuple[Natural, ...]
    offset: tuple[Natural, ...]
    size: tuple[Natural, ...]
    created: tuple[Text, ...]
    run_id: tuple[Text, ...]
    figures: tuple[tuple[float | None, ...], ...] = Field(description="a list a figure")


class Index(Record):
    """What the finished lines of a file are, up to `end`."""

    rules: str
    file: Identity
    end: Natural
    next_number: Natural
    sample: str
    heads: tuple[Head, ...]
    runs: Columns
    faults: tuple[tuple[Natural, str], ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Index:
        runs, count = self.runs, len(self.runs.head)
        columns = (runs.number, runs.offset, runs.size, runs.created, runs.run_id, *runs.figures)
        if any(len(column) != count for column in columns):
            raise ValueError("columns are not as many")
        if len(runs.figures) != len(FIGURES_OF_RUN):
            raise ValueError("figures are not as many")
        if count and max(runs.head) >= len(self.heads):
            raise ValueError("a head is missing")
        return self


def rules() -> str:
    """Return what decides how a line is read: with other rules, an index says nothing."""
    figures = ",".join(figure.name for figure in FIGURES_OF_RUN)
    return f"{VERSION} {__version__} {is_runnable(FAKE)} {figures}"


def sample_of(descriptor: int, end: int) -> str:
    """Return a sum of bytes spread over a file up to `end`, its first and last among them."""
    digest = hashlib.blake2b(digest_size=32)
    last = max(0, end - SAMPLE_BYTES)
    for step in range(SAMPLES):
        place = last * step // (SAMPLES - 1)
        digest.update(os.pread(descriptor, min(SAMPLE_BYTES, end - place), place))
    return digest.hexdigest()


def load_index(folder: Path, path: Path, descriptor: int) -> Index | None:
    """Return an open file's index; None where there is none that holds for it."""
    identity = Identity.of(path, os.fstat(descriptor))
    try:
        raw = read_regular(_place_of(folder, path), INDEX_BYTES)
    except BadFileError:
        return None
    body = memoryview(raw)[SUM_BYTES:]
    if raw[:SUM_BYTES] != _sum(body):
        return None
    try:
        index = Index.model_validate_json(raw[SUM_BYTES:])
    except (ValidationError, ValueError):
        return None
    if index.rules != rules() or index.end > identity.size:
        return None
    if index.file != identity and not identity.has_grown(index.file, index.end):
        return None
    return index if index.sample == sample_of(descriptor, index.end) else None


def _sum(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=32).hexdigest().encode() + b"\n"


def _place_of(folder: Path, path: Path) -> Path:
    return folder / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"


def save_index(folder: Path, path: Path, index: Index) -> None:
    """Write an index for its owner alone, whole or not at all; a full disk is no fault."""
    with contextlib.suppress(OSError, ValueError):
        body = index.model_dump_json().encode()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(dir=folder, suffix=".new")  # for its owner alone
        try:
            with open(descriptor, "wb") as file:
                file.write(_sum(body))
                file.write(body)
            os.replace(name, _place_of(folder, path))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def drop_index(folder: Path, path: Path) -> None:
    """Remove a file's index, where there is one."""
    with contextlib.suppress(OSError):
        _place_of(folder, path).unlink()


@dataclass
class Growing:
    """An index that is made of lines as they are read, on top of what was known."""

    heads: list[Head] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)
    rows: list[FreshRow] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)
    end: int = 0
    next_number: int = 1

    def shared(self, head: Head) -> tuple[int, Head]:
        """Return the place and the record of a head, the same for all runs that share it."""
        told = head.model_dump_json()
        number = self.known.setdefault(told, len(self.heads))
        if number == len(self.heads):
            self.heads.append(head)
        return number, self.heads[number]

    def as_index(self, path: Path, state: os.stat_result, descriptor: int, old: Index) -> Index:
        """Return the index of all that is known by now."""
        before = old.runs
        places = [place for _, place, _, _ in self.rows]
        told = [told for _, _, told, _ in self.rows]
        figures = [figures for _, _, _, figures in self.rows]
        runs = Columns.model_construct(
            head=(*before.head, *(head for head, _, _, _ in self.rows)),
            number=(*before.number, *(number for number, _, _ in places)),
            offset=(*before.offset, *(offset for _, offset, _ in places)),
            size=(*before.size, *(size for _, _, size in places)),
            run_id=(*before.run_id, *(run_id for run_id, _ in told)),
            created=(*before.created, *(created for _, created in told)),
            figures=tuple(
                (*known, *(values[which] for values in figures))
                for which, known in enumerate(before.figures)
            ),
        )
        return Index.model_construct(
            rules=rules(),
            file=Identity.of(path, state),
            end=self.end,
            next_number=self.next_number,
            sample=sample_of(descriptor, self.end),
            heads=tuple(self.heads),
            runs=runs,
            faults=(*old.faults, *self.faults),
        )


def empty_index(path: Path, state: os.stat_result) -> Index:
    """Return the index of a file of which nothing was read."""
    none = tuple(() for _ in FIGURES_OF_RUN)
    columns = Columns.model_construct(
        head=(), number=(), offset=(), size=(), created=(), run_id=(), figures=none
    )
    return Index.model_construct(
        rules=rules(),
        file=Identity.of(path, state),
        end=0,
        next_number=1,
        sample="",
        heads=(),
        runs=columns,
        faults=(),
    )

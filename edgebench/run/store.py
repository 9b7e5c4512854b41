"""Append runs to JSONL files and read them back. A line that was written is never lost.

Knows files, locks and torn lines. Makes nothing of the runs.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from edgebench.errors import BadFileError, EdgebenchError, UsageError
from edgebench.records.base import safe_name
from edgebench.records.faults import first_fault
from edgebench.records.run import Run


class Store:
    """Runs of one device, a file a model: `<folder>/<device>/<model>.jsonl`."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder = folder / safe_name(device)

    def prepare(self) -> None:
        """Make the folder and check that it can be written; raise UsageError where not."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".probe-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise UsageError(
                f"can't write to {self.folder}: {error.strerror}",
                hint="give another --output, or change the folder's rights",
            ) from None

    def append(self, run: Run) -> Path:
        """Add one line and wait until the disk has it.

        Raises EdgebenchError where it can't be written; the file is then as it was before.
        """
        path = self.folder / f"{safe_name(run.artifact.model)}.jsonl"
        line = run.to_line().encode() + b"\n"
        try:
            with path.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                _set_torn_line_aside(path, file.fileno())
                _append_whole(file.fileno(), line)
        except OSError as error:
            raise EdgebenchError(
                f"can't store a run in {path}: {error.strerror}",
                hint="free some space, or give another --output; what was stored before is kept",
            ) from None
        return path


def read_runs(paths: Iterable[Path]) -> Iterator[Run]:
    """Read runs from files and folders, each file once; a torn last line is passed over.

    The order in which paths are given doesn't matter. Raises UsageError where a path is missing,
    BadFileError on any other line that isn't a run.
    """
    files: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"no runs at {path}", hint="edgebench profile --device cpu")
        for file in path.rglob("*.jsonl") if path.is_dir() else [path]:
            files.setdefault(file.resolve(), file)
    for place in sorted(files):
        yield from _read_file(files[place])


def _read_file(path: Path) -> Iterator[Run]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadFileError(f"can't read {path}: {error.strerror}") from None
    lines = raw.split(b"\n")
    # What stands after the last newline was not written to its end: there is no run in it.
    for number, line in enumerate(lines[:-1], 1):
        if line.strip():
            yield _read_line(path, number, line)


def _read_line(path: Path, number: int, line: bytes) -> Run:
    hint = "move the line out of the file; the other lines are not touched"
    try:
        return Run.model_validate_json(line)
    except ValidationError as error:
        _refuse_other_major(path, number, line)
        fault = first_fault(error, "the line")
        raise BadFileError(f"{path}, line {number}, {fault}", hint=hint) from None


def _refuse_other_major(path: Path, number: int, line: bytes) -> None:
    try:
        schema = json.loads(line).get("schema")
    except (ValueError, AttributeError):
        return
    if isinstance(schema, str) and schema.startswith("edgebench.run/") and schema[14:] != "1":
        raise BadFileError(
            f"{path}, line {number}: schema {schema[:40]!r} is not edgebench.run/1",
            hint="read it with the version of edgebench that wrote it",
        )


def _set_torn_line_aside(path: Path, descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return
    whole, step = 0, 1 << 16
    position = size
    while position > 0:
        start = max(0, position - step)
        newline = os.pread(descriptor, position - start, start).rfind(b"\n")
        if newline >= 0:
            whole = start + newline + 1
            break
        position = start
    torn = os.pread(descriptor, size - whole, whole)
    with path.with_suffix(".torn").open("ab") as aside:
        aside.write(torn + b"\n")
        aside.flush()
        os.fsync(aside.fileno())
    os.ftruncate(descriptor, whole)


def _append_whole(descriptor: int, line: bytes) -> None:
    before = os.fstat(descriptor).st_size
    try:
        written = 0
        while written < len(line):
            written += os.write(descriptor, line[written:])
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, before)
        raise

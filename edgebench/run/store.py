"""Append runs to JSONL files. A line that was written is never lost.

Knows files, locks and torn lines. Reads nothing back; `run/stored.py` does.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from edgebench.errors import EdgebenchError, UsageError
from edgebench.records.base import clean, safe_name
from edgebench.records.limits import RUN_BYTES
from edgebench.records.run import Run
from edgebench.run.stored import PIECE_BYTES, WORDS, is_whole


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

    def append(self, run: Run, tell: Callable[[str], object] = str) -> Path:
        """Add one line and wait until the disk has it; tell of a torn line that was set aside.

        Raises EdgebenchError where it can't be written; the file is then as it was before.
        """
        path = self.folder / f"{safe_name(run.artifact.model)}.jsonl"
        line = run.to_line().encode() + b"\n"
        try:
            with path.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                aside = end_last_line(path, file.fileno())
                _append_whole(file.fileno(), line)
        except OSError as error:
            raise EdgebenchError(
                f"can't store a run in {path}: {error.strerror}",
                hint="free some space, or give another --output; what was stored before is kept",
            ) from None
        if aside:
            tell(aside)
        return path


def end_last_line(path: Path, descriptor: int) -> str | None:
    """See to it that the file ends in a newline; return what was set aside for it, in words.

    A last line that is whole but for its newline gets it. One that was cut off is no run, and is
    moved to a file beside this one.
    """
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return None
    begin = _last_line_at(descriptor, size)
    if size - begin <= RUN_BYTES and is_whole(os.pread(descriptor, size - begin, begin)):
        _append_whole(descriptor, b"\n")
        return None
    aside = path.with_suffix(".torn")
    with aside.open("ab") as torn:
        for place in range(begin, size, PIECE_BYTES):
            torn.write(os.pread(descriptor, min(PIECE_BYTES, size - place), place))
        torn.write(b"\n")
        torn.flush()
        os.fsync(torn.fileno())
    os.ftruncate(descriptor, begin)
    return clean(f"1 line at the end of {path} was not finished; set aside in {aside}", WORDS)


def _last_line_at(descriptor: int, size: int) -> int:
    """Return where the last line begins."""
    position = size
    while position > 0:
        start = max(0, position - PIECE_BYTES)
        newline = os.pread(descriptor, position - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        position = start
    return 0


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

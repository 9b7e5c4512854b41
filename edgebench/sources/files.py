"""Files from elsewhere, opened so that nothing hangs and nothing floods.

Knows regular files from devices, FIFOs and folders, sizes before they are read, and whether a name
leaves its folder. Knows no format but that of JSON.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from edgebench.errors import BadFileError
from edgebench.records.json_text import parse_json, shortened
from edgebench.records.limits import JSON_BYTES

NAME_LENGTH = 255  # of a file, in every file system
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read; raise BadFileError where it is anything else or isn't there.

    A FIFO isn't waited for and a device isn't opened.
    """
    try:
        _check_kind(path, os.stat(path))  # before opening: to open some devices changes them
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    try:
        _check_kind(path, os.fstat(descriptor))  # and again: another may stand there by now
    except BadFileError:
        os.close(descriptor)
        raise
    return open(descriptor, "rb")


def _check_kind(path: Path, state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        kind = _KINDS.get(stat.S_IFMT(state.st_mode), "something else")
        raise BadFileError(f"{path} is {kind}, not a file")


def _unreadable(path: Path, error: OSError | ValueError) -> BadFileError:
    if isinstance(error, OSError):
        return BadFileError(f"can't read {path}: {error.strerror}")
    # A NUL, or a character that this system's names can't have.
    return BadFileError(f"can't read {str(path)[:200]!r}: no file can have that name")


def check_regular(path: Path) -> int:
    """Return a regular file's size in bytes; raise BadFileError as `open_regular` does."""
    with open_regular(path) as file:
        return os.fstat(file.fileno()).st_size


def read_regular(path: Path, largest_bytes: int, hint: str = "") -> bytes:
    """Read a regular file of limited size; raise BadFileError as `open_regular` does."""
    with open_regular(path) as file:
        try:
            too_large = os.fstat(file.fileno()).st_size > largest_bytes
            raw = b"" if too_large else file.read(largest_bytes + 1)
        except OSError as error:
            raise _unreadable(path, error) from None
    if too_large or len(raw) > largest_bytes:
        raise BadFileError(f"{path} has more than {_size(largest_bytes)}", hint=hint)
    return raw


def _size(count_bytes: int) -> str:
    if count_bytes % (1 << 20) == 0:
        return f"{count_bytes >> 20} MiB"
    return f"{count_bytes} bytes"


def read_json(path: Path, largest_bytes: int = JSON_BYTES) -> Any:
    """Read JSON of limited size, depth and digits; raise BadFileError where it isn't any."""
    try:
        return parse_json(read_regular(path, largest_bytes))
    except ValueError as error:
        raise BadFileError(f"{path} isn't JSON that can be read: {shortened(error)}") from None


def within(folder: Path, name: str) -> Path:
    """Return the path of a name that a file in `folder` gave; raise BadFileError where it leaves.

    It may lie in a folder below; neither it nor a link may lead out.
    """
    path = folder / name
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # a NUL, or links in a circle
        raise BadFileError(f"{name[:200]!r} can't be the name of a file") from None
    if not inside:
        raise BadFileError(f"{name[:200]!r} is outside its folder, {folder}")
    return path

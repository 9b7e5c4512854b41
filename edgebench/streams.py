"""The standard streams, made such that writing to them costs no measurement.

A closed one is opened to nothing, or the next file would take its number. What can't be written to
stderr is lost; what stdout's encoding lacks is escaped. Knows no command.
"""

from __future__ import annotations

import codecs
import io
import os
import sys

_ESCAPED = "edgebench-escaped"


class _Forgiving(io.FileIO):
    """A file whose writing never fails: progress and warnings must not end a sweep."""

    def write(self, data: object) -> int:
        """Write what can be written."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return len(memoryview(data))  # type: ignore[arg-type]


def mend_streams() -> None:
    """Put stdin, stdout and stderr in order."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it takes the lowest number that is free
    codecs.register_error(_ESCAPED, _escape)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_ESCAPED)
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Forgiving(2, "w", closefd=False)),
        encoding=sys.stderr.encoding if sys.stderr else "utf-8",
        errors=_ESCAPED,
        line_buffering=True,
    )


def drop_stdout() -> None:
    """Let what is still to be written to stdout go, so that the end of the process is quiet."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)


def _escape(error: UnicodeError) -> tuple[str, int]:
    r"""Write characters as JSON does, such as \u00b1: then JSON stays JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    raw = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    units = (raw[place : place + 2] for place in range(0, len(raw), 2))
    return "".join(f"\\u{unit.hex()}" for unit in units), error.end

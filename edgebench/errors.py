"""The errors a person sees: one line that says what is wrong, one hint that says what to type.

Knows the exit codes of the command line. Does not print; only `cli/` catches these.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EdgebenchError(Exception):
    """Stop with a message, a hint and an exit code.

    `exit_code`: 1 some cases failed, 2 wrong usage, 3 the device is not here, 4 a bad file,
    5 nothing satisfies the constraints, 6 the evidence does not decide, 7 an extra is missing.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(EdgebenchError):
    """A wrong name, option or folder was typed."""

    exit_code = 2


class DeviceError(EdgebenchError):
    """The device asked for is not this machine, or can't be reached."""

    exit_code = 3


class BadFileError(EdgebenchError):
    """A model, artifact, task, registry or record file can't be used."""

    exit_code = 4


class MissingExtraError(EdgebenchError):
    """An optional part of edgebench is not installed."""

    exit_code = 7

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed",
            hint=f'pip install "edgebench[{extra}]"',
        )


class UnsupportedError(EdgebenchError):
    """This build of the runtime can't do what the case asks."""


class OutOfMemoryError(EdgebenchError):
    """The model, its cache or its buffers did not fit in memory."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean X?" for the known name closest to `name`, or the list of all."""
    choices = sorted(known)
    close = difflib.get_close_matches(name.lower(), choices, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(choices)}"

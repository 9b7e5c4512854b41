"""Run one step of a conversion in a process of its own, its words in a log.

Libraries that convert print, crash and keep memory; a step apart costs none of that to the
command. Knows processes; knows no format.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from edgebench.convert.step import MESSAGES, Fault, Progress, Quantized
from edgebench.processes import end, guarded, python_module, safe_environment
from edgebench.records.base import Record

MAX_SAID_BYTES = 1 << 20  # of a step's log, whose last words are told, and of one message


@dataclass(frozen=True)
class Done:
    """How a step ended: 0 or a signal's negative number, its peak memory, what it said."""

    code: int
    peak_bytes: int
    said: str
    fault: Fault | None = None
    quantized: Quantized | None = None

    @property
    def reason(self) -> str:
        """Return why it failed: the fault it named, else the last line of its log."""
        if self.fault and self.fault.detail:
            return self.fault.detail[-2000:]
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        return (lines or ["it gave no reason"])[-1][:300]

    @property
    def how(self) -> str:
        """Say how it failed."""
        return f"was ended by signal {-self.code}" if self.code < 0 else "failed"

    def failed_with(self, fault: str) -> bool:
        """Return whether the step failed and named this kind of fault."""
        return bool(self.code and self.fault and self.fault.fault == fault)


@dataclass
class _Heard:
    fault: Fault | None = None
    quantized: Quantized | None = None


def run_step(
    module: str, job: Record, log: Path, progress: Callable[[int, int], None] | None = None
) -> Done:
    """Run `python -m module` with a job on stdin; append what it prints to `log`.

    `progress` hears of parts done and parts in all. Ctrl-C ends the step with the command.
    """
    begin = log.stat().st_size if log.exists() else 0
    with log.open("ab") as file, tempfile.TemporaryFile() as stdin:
        stdin.write(job.model_dump_json().encode() + b"\n")
        stdin.seek(0)
        process = subprocess.Popen(
            guarded(python_module(module)),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=file,
            env=safe_environment(),
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the child
        )
        try:
            heard = _listen(process.stdout, progress)
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            end(process)
            raise
        finally:
            if process.stdout:
                process.stdout.close()
        process.returncode = os.waitstatus_to_exitcode(status)
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - MAX_SAID_BYTES))
        said = file.read().decode("utf-8", "replace")
    return Done(process.returncode, usage.ru_maxrss * 1024, said, heard.fault, heard.quantized)


def _listen(said: IO[bytes] | None, progress: Callable[[int, int], None] | None) -> _Heard:
    heard = _Heard()
    while line := said.readline(MAX_SAID_BYTES) if said else b"":
        try:
            message = MESSAGES.validate_json(line)
        except ValidationError:
            continue  # a library wrote past Python's stdout
        if isinstance(message, Fault):
            heard.fault = message
        elif isinstance(message, Quantized):
            heard.quantized = message
        elif isinstance(message, Progress) and progress:
            progress(message.done, message.total)
    return heard

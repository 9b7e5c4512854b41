"""Run one step of a conversion in a process of its own, its words in a log.

Libraries that convert print, crash and keep memory; a step apart costs none of that to the
command. Knows processes; knows no format.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebench.processes import python_module


@dataclass(frozen=True)
class Done:
    """How a step ended: 0 or a signal's negative number, its peak memory, what it said."""

    code: int
    peak_bytes: int
    said: str

    @property
    def last_line(self) -> str:
        """Return the last line that it said."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        return (lines or ["it gave no reason"])[-1][:300]

    @property
    def how(self) -> str:
        """Say how it failed."""
        return f"was ended by signal {-self.code}" if self.code < 0 else "failed"


def run_step(module: str, job: dict[str, Any], log: Path) -> Done:
    """Run `python -m module` with a job as JSON on stdin; append its output to `log`."""
    begin = log.stat().st_size if log.exists() else 0
    with log.open("ab") as file:
        process = subprocess.Popen(
            python_module(module),
            stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.close()
            _, status, usage = os.wait4(process.pid, 0)
        except BrokenPipeError:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
    with log.open("rb") as file:
        file.seek(begin)
        said = file.read().decode("utf-8", "replace")
    return Done(process.returncode, usage.ru_maxrss * 1024, said)

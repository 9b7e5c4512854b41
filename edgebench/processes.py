"""How edgebench starts programs and its own modules, ends them, and how the kernel may end them.

Nothing that lies in the working folder is run, and nothing that was started is left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgebench import guardian

# `python -c` and `python -m` put the working folder first on the search path: a runpy.py or a
# numpy.py lying there would be run. -P does not exist before Python 3.11. Where this package lies
# comes last, for a checkout that isn't installed.
_RUN = (
    "import sys; sys.path[:1] == [''] and sys.path.pop(0); sys.path.append(sys.argv.pop(1)); "
    "import runpy; runpy.run_module(sys.argv.pop(1), run_name='__main__')"
)
_PACKAGE_LIES_IN = str(Path(__file__).resolve().parents[1])


def python_module(module: str) -> list[str]:
    """Return the command that runs a module without the working folder on the search path."""
    return [sys.executable, "-c", _RUN, _PACKAGE_LIES_IN, module]


def safe_environment() -> dict[str, str]:
    """Return this environment, in which Pythons that a library starts run nothing from here."""
    return os.environ | {"PYTHONSAFEPATH": "1"}  # heard from Python 3.11 on


def guarded(command: Sequence[str]) -> list[str]:
    """Return the command that runs another one which leaves nothing, however we or it end.

    It ends with the other one's code or signal. To be started by this process, in a session of its
    own, and ended with `end`.
    """
    return [sys.executable, "-I", "-S", guardian.__file__, str(os.getpid()), *command]


def run_guarded(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a program to its end; return its code and what it wrote to stderr."""
    process = subprocess.Popen(
        guarded(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    try:
        said = process.communicate()[1]
    except BaseException:
        end(process)
        raise
    return process.returncode, said


def end(process: subprocess.Popen[Any]) -> None:
    """End a guarded process and all that it started."""
    process.terminate()
    process.send_signal(signal.SIGCONT)  # a stopped one hears nothing else
    try:
        process.wait(2 * guardian.PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def memory_kills() -> int:
    """Return how many processes the kernel has killed for memory since it started."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    counts = dict(line.split(" ", 1) for line in lines if " " in line)
    value = counts.get("oom_kill", "0")
    return int(value) if value.isdigit() else 0

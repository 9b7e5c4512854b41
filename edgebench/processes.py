"""How edgebench starts its own modules in other processes, and how the kernel may end them."""

from __future__ import annotations

import sys
from pathlib import Path

# `python -m` puts the working folder first on the search path, so that a numpy.py lying there
# would be imported. -P does not exist before Python 3.11.
_RUN = "import runpy, sys; sys.path.pop(0); runpy.run_module(sys.argv.pop(1), run_name='__main__')"


def python_module(module: str) -> list[str]:
    """Return the command that runs a module without the working folder on the search path."""
    return [sys.executable, "-c", _RUN, module]


def memory_kills() -> int:
    """Return how many processes the kernel has killed for memory since it started."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    counts = dict(line.split(" ", 1) for line in lines if " " in line)
    value = counts.get("oom_kill", "0")
    return int(value) if value.isdigit() else 0

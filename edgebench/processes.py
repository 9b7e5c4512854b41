"""How edgebench starts its own modules in other processes. Knows Python's search path, no more."""

from __future__ import annotations

import sys

# `python -m` puts the working folder first on the search path, so that a numpy.py lying there
# would be imported. -P does not exist before Python 3.11.
_RUN = "import runpy, sys; sys.path.pop(0); runpy.run_module(sys.argv.pop(1), run_name='__main__')"


def python_module(module: str) -> list[str]:
    """Return the command that runs a module without the working folder on the search path."""
    return [sys.executable, "-c", _RUN, module]

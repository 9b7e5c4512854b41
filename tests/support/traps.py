"""A working folder full of modules that must never be run, named as what Python programs import."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

_TRAP = """import os
with open({sprung!r}, "a") as file:
    file.write({name!r} + f" in {{os.getpid()}}\\n")
raise SystemExit({name!r} + " was run from the working folder")
"""
_ASKED_FOR = {"sitecustomize", "usercustomize", "conversion", "edgebench"}  # if at hand


def lay_traps(folder: Path, sprung: Path) -> int:
    """Write a module for each of the standard library's names and those of installed packages.

    One that is run writes its name to the file `sprung`. Returns how many there are.
    """
    names = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
    names = {name for name in names | _ASKED_FOR if name.isidentifier()}
    for name in names:
        (folder / f"{name}.py").write_text(_TRAP.format(sprung=str(sprung), name=name))
    return len(names)


def write_script(path: Path) -> Path:
    """Write the command as pip installs it: Python puts the script's folder on the path."""
    path.parent.mkdir(parents=True)
    path.write_text("import sys\nfrom edgebench.__main__ import main\nsys.exit(main())\n")
    return path

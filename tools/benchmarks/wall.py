"""A case's wall time over llama-bench's for the same work, as whole commands.

From typing to prompt: ours starts Python, plans, measures, stores and prints. One launch of five
repetitions is held against one llama-bench of five; the five launches that a case has by default
are held against five llama-bench of one. `-pg` reads the prompt and generates after it, as we do.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from lib.llama_cpp_tools import tool
from lib.side_by_side import bundled_artifacts, edgebench, interleave, seconds_of

from benchmarks import Figure, Range, ratio

COUNT = 5


def measure(pairs: int = 7, level: str = "q8_0") -> list[Figure]:
    """Compare both ways of repeating."""
    tool("llama-bench")
    path = bundled_artifacts(level)[level]
    figures = []
    for name, launches, repetitions, wanted in (
        (f"a {level} launch's wall time over llama-bench's", 1, COUNT, Range(None, 1.15)),
        (f"{COUNT} {level} launches' wall time over as many llama-bench's", COUNT, 1, None),
    ):
        results = interleave(
            partial(_ours, path, launches, repetitions),
            partial(_theirs, path, launches, repetitions),
            pairs,
        )
        figures.append(ratio(name, results, wanted))
    return figures


def _ours(path: Path, launches: int, repetitions: int) -> float:
    with tempfile.TemporaryDirectory() as output:
        return seconds_of(
            edgebench(
                "profile", str(path), "--device", "cpu", "--tasks", "none",
                "--launches", str(launches), "--repetitions", str(repetitions), "--retries", "0",
                "--output", output,
            )
        )  # fmt: skip


def _theirs(path: Path, launches: int, repetitions: int) -> float:
    from edgebench.device.system import compute_cores

    command = [
        str(tool("llama-bench")), "-m", str(path), "-p", "0", "-n", "0", "-pg", "512,128",
        "-r", str(repetitions), "-t", str(compute_cores()), "-ngl", "0",
    ]  # fmt: skip
    return sum(seconds_of(command) for _ in range(launches))

"""Prefill and decode tokens per second over llama-bench's: same build, flags and threads.

Both measure one process of five repetitions. edgebench decodes from where the prompt ends, so
llama-bench is told that depth (`-n N -d PROMPT`); prefill starts at depth 0 on both sides.
"""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from lib.llama_cpp_tools import tool
from lib.side_by_side import bundled_artifacts, edgebench, interleave, json_of

from benchmarks import Figure, Range, ratio

PROMPT, GENERATE, REPETITIONS = 512, 128, 5
WANTED = Range(0.98, 1.02)
Speeds = dict[str, float]


def measure(pairs: int = 9, levels: str = "q8_0,q4_0", depth: int = 0) -> list[Figure]:
    """Compare each level, the prompt read after `depth` tokens."""
    tool("llama-bench")  # built before anything is timed
    figures = []
    for level, path in bundled_artifacts(levels).items():
        results = interleave(partial(_ours, path, depth), partial(_theirs, path, depth), pairs)
        for phase in ("prefill", "decode"):
            speeds = [(ours[phase], theirs[phase]) for ours, theirs in results]
            figures.append(ratio(f"{level} {phase} tok/s over llama-bench", speeds, WANTED))
    return figures


def _ours(path: Path, depth: int) -> Speeds:
    with tempfile.TemporaryDirectory() as output:
        runs = json_of(
            edgebench(
                "profile", str(path), "--device", "cpu",
                "--workload", f"{PROMPT}+{GENERATE}@{depth}", "--tasks", "none",
                "--launches", "1", "--repetitions", str(REPETITIONS), "--retries", "0",
                "--meter", "none", "--output", output, "--json",
            )
        )  # fmt: skip
    speed = runs["runs"][0]["speed"]
    return {phase: speed[phase]["tokens_per_s"]["value"] for phase in ("prefill", "decode")}


def _theirs(path: Path, depth: int) -> Speeds:
    return {
        "prefill": _llama_bench(path, "-p", PROMPT, "-n", 0, "-d", depth),
        "decode": _llama_bench(path, "-p", 0, "-n", GENERATE, "-d", depth + PROMPT),
    }


def _llama_bench(path: Path, *sizes: object) -> float:
    threads = _threads()
    rows: list[dict[str, Any]] = json_of(
        [
            str(tool("llama-bench")), "-m", str(path), *map(str, sizes), "-r", str(REPETITIONS),
            "-t", threads, "-ngl", "0", "-o", "json",
        ]
    )  # fmt: skip
    rates: list[float] = rows[0]["samples_ts"]
    return statistics.median(rates)


def _threads() -> str:
    from edgebench.device.system import compute_cores

    return str(compute_cores())

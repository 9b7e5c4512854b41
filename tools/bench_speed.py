"""Prefill and decode tokens per second over llama-bench's: same build, flags and threads.

Wanted: a median ratio of 0.98 to 1.02 for q8_0 and q4_0. Run on an otherwise idle machine:
    python tools/bench_speed.py [--pairs 9] [--levels q8_0,q4_0]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from llama_cpp_tools import tool
from side_by_side import bundled_artifacts, edgebench, interleave, json_of, report

from edgebench.device.system import compute_cores

PROMPT, GENERATE, REPETITIONS = 512, 128, 5


def main() -> int:
    """Compare both levels; return 1 where a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--levels", default="q8_0,q4_0")
    typed = parser.parse_args()
    levels = bundled_artifacts(typed.levels)
    good = [_compare(level, path, typed.pairs) for level, path in levels.items()]
    return 0 if all(good) else 1


def _compare(level: str, path: Path, pairs: int) -> bool:
    results = interleave(lambda: _ours(path), lambda: _theirs(path), pairs)
    within = [
        report(
            f"{level} {phase} tok/s over llama-bench",
            [(ours[phase], theirs[phase]) for ours, theirs in results],
            0.98,
            1.02,
        )
        for phase in ("prefill", "decode")
    ]
    return all(within)


def _ours(path: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as output:
        runs = json_of(
            edgebench(
                "profile", str(path), "--device", "cpu", "--workload", f"{PROMPT}+{GENERATE}",
                "--tasks", "none", "--repetitions", str(REPETITIONS), "--output", output, "--json",
            )
        )  # fmt: skip
    speed = runs["runs"][0]["speed"]
    return {phase: speed[phase]["tokens_per_s"]["value"] for phase in ("prefill", "decode")}


def _theirs(path: Path) -> dict[str, float]:
    rows: list[dict[str, Any]] = json_of(
        [
            str(tool("llama-bench")), "-m", str(path), "-p", str(PROMPT), "-n", str(GENERATE),
            "-r", str(REPETITIONS), "-t", str(compute_cores()), "-ngl", "0", "-o", "json",
        ]
    )  # fmt: skip
    return {
        "prefill" if row["n_prompt"] else "decode": statistics.median(row["samples_ts"])
        for row in rows
    }


if __name__ == "__main__":
    sys.exit(main())

"""The conversion itself over `llama-quantize`, same build, threads and levels.

Both sides time the conversion in their own process, from opening the source to the last byte
written: ours is the child process that `edgebench quantize` starts. Wanted: at most 1.05. The whole
command does more (it checks, sums and syncs what was written) and is printed beside it.
    python tools/bench_quantize.py [--pairs 9]
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from llama_cpp_tools import tool
from side_by_side import bundled_artifacts, edgebench, interleave, report, seconds_of

from edgebench.convert.jobs import QuantizeJob
from edgebench.convert.levels import known_levels

_OWN_TIME = re.compile(r"quantize time\s*=\s*([\d.]+) ms")


def main() -> int:
    """Compare q4_k_m and q8_0 from f16; return 1 where a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    pairs = parser.parse_args().pairs
    source = bundled_artifacts("f16")["f16"]
    within = [_compare(source, level, pairs) for level in ("q8_0", "q4_k_m")]
    return 0 if all(within) else 1


def _compare(source: Path, level: str, pairs: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.gguf", Path(folder) / "theirs.gguf"
        results = interleave(
            lambda: _ours(source, ours, level), lambda: _theirs(source, theirs, level), pairs
        )
        same = ours.read_bytes() == theirs.read_bytes()
        whole = interleave(
            lambda: _command(source, level),
            lambda: seconds_of([str(tool("llama-quantize")), str(source), str(theirs), level]),
            3,
        )
    good = report(f"converting to {level} over llama-quantize", results, 0, 1.05)
    report(f"the whole command to {level} over llama-quantize", whole, 0, float("inf"))
    print(f"both wrote the same bytes: {same}")
    return good and same


def _ours(source: Path, target: Path, level: str) -> float:
    job = QuantizeJob(source=str(source), target=str(target), ftype=known_levels()[level])
    done = subprocess.run(
        [sys.executable, "-m", "edgebench.convert.gguf.quantize_process"],
        input=job.model_dump_json(),
        text=True,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return float(json.loads(done.stdout.splitlines()[-1])["elapsed_s"])


def _theirs(source: Path, target: Path, level: str) -> float:
    done = subprocess.run(
        [str(tool("llama-quantize")), str(source), str(target), level],
        text=True, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    found = _OWN_TIME.search(done.stdout)
    if not found:
        raise RuntimeError("llama-quantize did not print its quantize time")
    return float(found[1]) / 1000


def _command(source: Path, level: str) -> float:
    with tempfile.TemporaryDirectory() as output:
        return seconds_of(edgebench("quantize", str(source), "--levels", level, "--output", output))


if __name__ == "__main__":
    sys.exit(main())

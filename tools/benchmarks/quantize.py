"""The conversion itself over `llama-quantize`: same build, threads and levels, same bytes.

Both sides time the conversion in their own process, from opening the source to the last byte
written: ours is the child process that `edgebench quantize` starts. The whole command does more (it
checks, sums and syncs what was written) and stands beside it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from lib.llama_cpp_tools import tool
from lib.side_by_side import bundled_artifacts, edgebench, interleave, seconds_of

from benchmarks import Figure, Range, ratio

WHOLE_PAIRS = 3
_OWN_TIME = re.compile(r"quantize time\s*=\s*([\d.]+) ms")


def measure(pairs: int = 9, levels: str = "q8_0,q4_k_m") -> list[Figure]:
    """Compare the levels, made of f16."""
    tool("llama-quantize")
    source = bundled_artifacts("f16")["f16"]
    return [figure for level in levels.split(",") for figure in _compare(source, level, pairs)]


def _compare(source: Path, level: str, pairs: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.gguf", Path(folder) / "theirs.gguf"
        results = interleave(
            lambda: _ours(source, ours, level), lambda: _theirs(source, theirs, level), pairs
        )
        same = ours.read_bytes() == theirs.read_bytes()
        whole = interleave(
            lambda: _command(source, level),
            lambda: seconds_of([str(tool("llama-quantize")), str(source), str(theirs), level]),
            WHOLE_PAIRS,
        )
    return [
        ratio(f"converting to {level} over llama-quantize", results, Range(None, 1.05)),
        ratio(f"the whole command to {level} over llama-quantize", whole, None),
        Figure(f"{level}: both wrote the same bytes", Range(1, None), float(same)),
    ]


def _ours(source: Path, target: Path, level: str) -> float:
    from edgebench.convert.jobs import QuantizeJob
    from edgebench.convert.levels import known_levels

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
    own_time = _OWN_TIME.search(done.stdout)
    if not own_time:
        raise RuntimeError("llama-quantize did not print its quantize time")
    return float(own_time[1]) / 1000


def _command(source: Path, level: str) -> float:
    with tempfile.TemporaryDirectory() as output:
        return seconds_of(edgebench("quantize", str(source), "--levels", level, "--output", output))

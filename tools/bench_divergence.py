"""Our divergence over `llama-perplexity --kl-divergence`: figure, wall time, disk; two threads.

SmolLM2-135M on the head of WikiText-2's test text, f16 being the reference. Each side runs two
whole processes, one that makes the reference and one that compares a level with it. Wanted: a
mean KL divergence within 2 %, at most its wall time, at most 3 % of its file. The text is
FOLDER/wikitext2_raw/test.jsonl, a JSON object with the key `text` a line:
    python tools/bench_divergence.py --data FOLDER [--chunks 16] [--pairs 5]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from llama_cpp_tools import tool
from side_by_side import bundled_artifacts, interleave, json_of, report

LEVELS, THREADS = ("q8_0", "q4_0"), 2
CHARACTERS = 8  # to a token, which is more than English takes

OURS = """
import json, sys
from pathlib import Path
from edgebench.records import Artifact, Settings
from edgebench.runtimes import Room, get_runtime
from edgebench.tasks.divergence import (
    CHUNK, chunks_of, load, measure_divergence, measure_reference, save,
)

step, model, text, file, chunks, threads = sys.argv[1:]
model, file = Path(model), Path(file)
artifact = Artifact.model_validate_json(model.with_name("artifact.json").read_bytes())
artifact = artifact.model_copy(update={"path": str(model)})
session = get_runtime("llama.cpp").open(artifact, Settings(threads=int(threads)), Room(CHUNK))
if step == "reference":
    tokens = session.encode(Path(text).read_text("utf-8"))
    made = measure_reference(session, chunks_of(tokens, session.start_token(), int(chunks)))
    save(file, made)
    found = {"truncated": made.truncated_mass, "most": made.most_truncated_mass}
else:
    rows = measure_divergence(session, load(file))
    found = {"kld": rows.mean_kld().value, "least": rows.least_kld, "p99": rows.p99_kld,
             "top": rows.share_same_top().value, "ppl": rows.perplexity}
session.close()
print(json.dumps(found))
"""

THEIRS = {
    "kld": r"Mean +KLD: +(\S+)",
    "p99": r"99\.0% +KLD: +(\S+)",
    "top": r"Same top p: +(\S+)",
    "ppl": r"Mean PPL\(Q\) +: +(\S+)",
}


def main() -> int:
    """Make the levels, run both sides, return 1 where a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("EDGEBENCH_DATA"))
    parser.add_argument("--chunks", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=5)
    typed = parser.parse_args()
    if typed.data is None:
        parser.error("--data FOLDER or EDGEBENCH_DATA must say where wikitext2_raw/test.jsonl is")
    models = bundled_artifacts(",".join(("f16", *LEVELS)))
    tool("llama-perplexity")  # built before anything is timed
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "text.txt"
        text.write_text(_text(typed.data, typed.chunks), "utf-8")
        good = []
        for level in LEVELS:
            ours, theirs = (
                partial(side, models["f16"], models[level], text, typed.chunks)
                for side in (_ours, _theirs)
            )
            good += _judge(level, interleave(ours, theirs, typed.pairs))
    return 0 if all(good) else 1


def _text(data: Path, chunks: int) -> str:
    """Return the head of the text, long enough for so many chunks."""
    lines = (data / "wikitext2_raw" / "test.jsonl").read_text("utf-8").splitlines()
    return "".join(json.loads(line)["text"] for line in lines)[: chunks * 512 * CHARACTERS]


def _judge(level: str, pairs: list[tuple[dict[str, float], dict[str, float]]]) -> list[bool]:
    ours, theirs = pairs[-1]
    print(
        f"{level}: p99 {ours['p99']:.4g} and {theirs['p99']:.4g}, same top {100 * ours['top']:.2f} "
        f"and {theirs['top']:.2f} %, perplexity {ours['ppl']:.4f} and {theirs['ppl']:.4f}; lower "
        f"bound {ours['least'] / theirs['kld']:.3f} of their KLD; kept as a sample: "
        f"{100 * ours['truncated']:.2f} % of the mass, at most {100 * ours['most']:.1f} %"
    )
    wanted = (("kld", "mean KLD", 0.98, 1.02), ("wall", "wall s", 0, 1), ("disk", "bytes", 0, 0.03))
    return [
        report(f"{level} {what}", [(a[key], b[key]) for a, b in pairs], low, high)
        for key, what, low, high in wanted
    ]


def _ours(base: Path, level: Path, text: Path, chunks: int) -> dict[str, float]:
    file = text.with_name("ours.reference")
    found: dict[str, Any] = {}
    start = time.perf_counter()
    for step, model in (("reference", base), ("compare", level)):
        sizes = [str(chunks), str(THREADS)]
        found |= json_of(
            [sys.executable, "-c", OURS, step, str(model), str(text), str(file), *sizes]
        )
    return found | {"wall": time.perf_counter() - start, "disk": float(file.stat().st_size)}


def _theirs(base: Path, level: Path, text: Path, chunks: int) -> dict[str, float]:
    file = text.with_name("theirs.base")
    common = [str(tool("llama-perplexity")), "-t", str(THREADS), "--kl-divergence-base", str(file)]
    start = time.perf_counter()
    _said([*common, "-m", str(base), "-f", str(text), "--chunks", str(chunks)])
    said = _said([*common, "-m", str(level), "--kl-divergence"])
    wall = time.perf_counter() - start
    found: dict[str, float] = {"wall": wall, "disk": float(file.stat().st_size)}
    for name, pattern in THEIRS.items():
        match = re.search(pattern, said)
        if match is None:
            raise RuntimeError(f"llama-perplexity did not say {name}: {said[-500:]}")
        found[name] = float(match[1])
    file.unlink()
    return found


def _said(command: list[str]) -> str:
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode("utf-8", "replace")


if __name__ == "__main__":
    sys.exit(main())

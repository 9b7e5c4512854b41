"""Our divergence over `llama-perplexity --kl-divergence`: figure, wall time, disk; two threads.

SmolLM2-135M on the head of WikiText-2's test text, f16 being the reference. Each side runs two
whole processes, one that makes the reference and one that compares a level with it. Needs
wikitext2_raw/test.jsonl in the data folder: a JSON object with the key `text` a line.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

from lib.llama_cpp_tools import tool
from lib.side_by_side import bundled_artifacts, child, data_file, interleave, json_of

from benchmarks import Figure, Range, ratio

THREADS = 2
CHARACTERS = 8  # to a token, which is more than English takes
Said = dict[str, float]

WANTED = {
    "kld": ("mean KLD", Range(0.98, 1.02)),
    "wall": ("wall s", Range(None, 1)),
    "disk": ("bytes", Range(None, 0.03)),
}
THEIRS = {
    "kld": r"Mean +KLD: +(\S+)",
    "p99": r"99\.0% +KLD: +(\S+)",
    "top": r"Same top p: +(\S+)",
    "ppl": r"Mean PPL\(Q\) +: +(\S+)",
}


def measure(
    data: str = "", chunks: int = 16, pairs: int = 5, levels: str = "q8_0,q4_0"
) -> list[Figure]:
    """Compare each level with f16 on both sides."""
    source = data_file(data, "wikitext2_raw/test.jsonl")
    tool("llama-perplexity")  # built before anything is timed
    models = bundled_artifacts(f"f16,{levels}")
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_text(_text(source, chunks), "utf-8")
        for level in levels.split(","):
            ours, theirs = (
                partial(side, models["f16"], models[level], text, chunks)
                for side in (_ours, _theirs)
            )
            figures += _figures(level, interleave(ours, theirs, pairs))
    return figures


def _text(source: Path, chunks: int) -> str:
    """Return the head of the text, long enough for so many chunks."""
    lines = source.read_text("utf-8").splitlines()
    return "".join(json.loads(line)["text"] for line in lines)[: chunks * 512 * CHARACTERS]


def _figures(level: str, pairs: list[tuple[Said, Said]]) -> list[Figure]:
    ours, theirs = pairs[-1]
    figures = [
        ratio(f"{level} {name} over llama-perplexity", [(a[key], b[key]) for a, b in pairs], wanted)
        for key, (name, wanted) in WANTED.items()
    ]
    kept = f"{100 * ours['truncated']:.2f} % of the mass is a sample, at most {ours['most']:.1%}"
    return [
        *figures,
        Figure(
            f"{level} lower bound over their KLD", None, ours["least"] / theirs["kld"], note=kept
        ),
        ratio(f"{level} p99 of KLD", [(ours["p99"], theirs["p99"])], None),
        ratio(f"{level} same top, %", [(100 * ours["top"], theirs["top"])], None),
        ratio(f"{level} perplexity", [(ours["ppl"], theirs["ppl"])], None),
    ]


def _ours(base: Path, level: Path, text: Path, chunks: int) -> Said:
    file = text.with_name("ours.reference")
    start = time.perf_counter()
    said: Said = json_of(child("divergence", "reference", base, text, file, chunks, THREADS))
    said |= json_of(child("divergence", "compare", level, text, file, chunks, THREADS))
    return said | {"wall": time.perf_counter() - start, "disk": float(file.stat().st_size)}


def _theirs(base: Path, level: Path, text: Path, chunks: int) -> Said:
    file = text.with_name("theirs.base")
    common = [str(tool("llama-perplexity")), "-t", str(THREADS), "--kl-divergence-base", str(file)]
    start = time.perf_counter()
    _output([*common, "-m", str(base), "-f", str(text), "--chunks", str(chunks)])
    output = _output([*common, "-m", str(level), "--kl-divergence"])
    said: Said = {"wall": time.perf_counter() - start, "disk": float(file.stat().st_size)}
    for name, pattern in THEIRS.items():
        match = re.search(pattern, output)
        if match is None:
            raise RuntimeError(f"llama-perplexity did not say {name}: {output[-500:]}")
        said[name] = float(match[1])
    file.unlink()
    return said


def _output(command: list[str]) -> str:
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode("utf-8", "replace")

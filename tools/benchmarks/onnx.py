"""Our ONNX session over onnxruntime-genai's loop, llama.cpp and optimum's graph; two threads.

On SmolLM2-135M: int4 decode and prefill over genai's own generation loop on the same artifact, over
llama.cpp q4_0's decode, over optimum's standard int4 graph; int8 is reported. All decode from where
the prompt ends. Needs the extras export and onnx; artifacts are made once, in `folder`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from lib.demo_checkpoint import write_checkpoint
from lib.side_by_side import child, edgebench, interleave, json_of

from benchmarks import Figure, Range, ratio

PROMPT, GENERATE, REPETITIONS, THREADS = 512, 128, 3, 2
FOLDER = str(Path(tempfile.gettempdir()) / "bench-onnx")
OVER_GENAI, OVER_LLAMA, OVER_OPTIMUM = Range(1.3, None), Range(0.95, None), Range(2.2, None)
Speeds = dict[str, float]


def measure(pairs: int = 5, folder: str = FOLDER) -> list[Figure]:
    """Make the artifacts and compare."""
    made = _artifacts(Path(folder))
    figures = []
    for level, wanted in (("int4", OVER_GENAI), ("int8_block", None), ("int8", None)):
        results = interleave(partial(_ours, made[level]), partial(_genai, made[level]), pairs)
        for phase in ("decode", "prefill"):
            figures.append(_figure(f"{level} over genai's loop", results, phase, wanted))
    for level, other, wanted in (
        ("int4", "q4_0", OVER_LLAMA),
        ("int4", "int4-standard", OVER_OPTIMUM),
        ("int8_block", "q8_0", None),
    ):
        results = interleave(partial(_ours, made[level]), partial(_ours, made[other]), pairs)
        figures.append(_figure(f"{level} over {other}", results, "decode", wanted))
    results = interleave(
        partial(_ours, made["int4"]), partial(_optimum, made["int4-standard"]), pairs
    )
    name = "int4 over optimum's own loop on its graph"
    return [*figures, _figure(name, results, "decode", OVER_OPTIMUM)]


def _figure(
    name: str, results: list[tuple[Speeds, Speeds]], phase: str, wanted: Range | None
) -> Figure:
    speeds = [(ours[phase], theirs[phase]) for ours, theirs in results]
    return ratio(f"{name}, {phase} tok/s", speeds, wanted)


def _artifacts(folder: Path) -> dict[str, Path]:
    """Make the checkpoint and its artifacts once; return level -> artifact folder."""
    checkpoint, output = folder / "smollm2", folder / "artifacts"
    if not (checkpoint / "model.safetensors").is_file():
        write_checkpoint(checkpoint)
    levels = "q4_0,q8_0,fp32,int8_block,int8,int4"
    standard = output / "smollm2-fp32-standard"
    for command in (
        ("quantize", checkpoint, "--levels", levels, "--format", "gguf,onnx"),
        ("export", checkpoint, "--format", "onnx", "--graph", "standard"),
        ("quantize", standard, "--levels", "int4"),
    ):
        subprocess.run(
            edgebench(*map(str, command), "--output", str(output)), check=True, stdout=sys.stderr
        )
    for manifest in sorted(output.glob("*/artifact.json")):
        notes = json.loads(manifest.read_text())["notes"]
        peaks = [note for note in notes if "peak memory" in note]
        print(" ", manifest.parent.name, *peaks, file=sys.stderr)
    return {path.name.removeprefix("smollm2-"): path for path in output.iterdir()}


def _ours(artifact: Path) -> Speeds:
    with tempfile.TemporaryDirectory() as output:
        runs = json_of(
            edgebench(
                "profile", str(artifact), "--device", "cpu", "--workload", f"{PROMPT}+{GENERATE}",
                "--tasks", "none", "--launches", "1", "--repetitions", str(REPETITIONS),
                "--retries", "0", "--meter", "none", "--output", output,
                "--set", f"threads={THREADS}", "--json",
            )
        )  # fmt: skip
    speed = runs["runs"][0]["speed"]
    return {phase: speed[phase]["tokens_per_s"]["value"] for phase in ("prefill", "decode")}


def _optimum(artifact: Path) -> Speeds:
    sizes = (PROMPT, GENERATE, REPETITIONS, THREADS)
    speeds: Speeds = json_of(child("optimum_loop", artifact, *sizes))
    return speeds


def _genai(artifact: Path) -> Speeds:
    speeds: Speeds = json_of(child("genai_loop", artifact, PROMPT, GENERATE, REPETITIONS))
    return speeds

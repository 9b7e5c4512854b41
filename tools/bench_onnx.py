"""Our ONNX session over onnxruntime-genai's loop, llama.cpp and optimum's graph; two threads.

On SmolLM2-135M: int4 decode and prefill over genai's own generation loop on the same artifact
(wanted: at least 1.3), over llama.cpp q4_0's decode (0.95), over optimum's standard int4 graph
(2.2); int8 is reported. Run on an otherwise idle machine, with the extras export and onnx:
    python tools/bench_onnx.py [--pairs 5] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from side_by_side import edgebench, interleave, json_of, report

PROMPT, GENERATE, REPETITIONS, THREADS = 512, 128, 3, 2

GENAI = """
import json, statistics, sys, time
import numpy as np
import onnxruntime_genai as og

folder, prompt, generate, repetitions = sys.argv[1], *map(int, sys.argv[2:])
model = og.Model(folder)
tokens = np.random.default_rng(1).integers(0, 49000, prompt).astype(np.int32)
found = {"prefill": [], "decode": []}
for turn in range(repetitions + 1):
    for what in found:
        params = og.GeneratorParams(model)
        room = prompt + generate + 8
        params.set_search_options(max_length=room, min_length=room, do_sample=False)
        generator = og.Generator(model, params)
        if what == "prefill":
            start = time.perf_counter()
            generator.append_tokens(tokens[None])
            generator.get_logits()
            count = prompt
        else:
            generator.append_tokens(tokens[None, :1])
            generator.generate_next_token()
            start = time.perf_counter()
            for _ in range(generate):
                generator.generate_next_token()
            count = generate
        if turn:
            found[what].append(count / (time.perf_counter() - start))
        del generator
print(json.dumps({what: statistics.median(values) for what, values in found.items()}))
"""

OPTIMUM = """
import json, statistics, sys, time
import onnxruntime as ort
import torch
from optimum.onnxruntime import ORTModelForCausalLM

options = ort.SessionOptions()
options.intra_op_num_threads = int(sys.argv[4])
model = ORTModelForCausalLM.from_pretrained(
    sys.argv[1], file_name="model.onnx", session_options=options
)
count, found = int(sys.argv[2]), []
one = torch.ones((1, 1), dtype=torch.long)
for turn in range(int(sys.argv[3]) + 1):
    start = time.perf_counter()
    model.generate(
        one, attention_mask=one, max_new_tokens=count, min_new_tokens=count, do_sample=False
    )
    if turn:
        found.append(count / (time.perf_counter() - start))
print(json.dumps({"decode": statistics.median(found)}))
"""


def main() -> int:
    """Make the artifacts, compare, return 1 where a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "bench-onnx")
    typed = parser.parse_args()
    made = _artifacts(typed.folder)
    good = []
    for level, wanted in (("int4", 1.3), ("int8_block", None), ("int8", None)):
        name = f"{level} over genai's loop"
        pairs = interleave(partial(_ours, made[level]), partial(_genai, made[level]), typed.pairs)
        good += [_judge(pairs, phase, name, wanted) for phase in ("decode", "prefill")]
    for other, wanted in (("q4_0", 0.95), ("int4-standard", 2.2)):
        pairs = interleave(partial(_ours, made["int4"]), partial(_ours, made[other]), typed.pairs)
        good.append(_judge(pairs, "decode", f"int4 over {other}", wanted))
    pairs = interleave(
        partial(_ours, made["int4"]), partial(_optimum, made["int4-standard"]), typed.pairs
    )
    good.append(_judge(pairs, "decode", "int4 over optimum's own loop on its graph", 2.2))
    pairs = interleave(
        partial(_ours, made["int8_block"]), partial(_ours, made["q8_0"]), typed.pairs
    )
    good.append(_judge(pairs, "decode", "int8_block over q8_0", None))
    return 0 if all(good) else 1


def _judge(
    pairs: list[tuple[dict[str, float], dict[str, float]]],
    phase: str,
    name: str,
    wanted: float | None,
) -> bool:
    values = [(ours[phase], theirs[phase]) for ours, theirs in pairs]
    return report(f"{name}, {phase} tok/s", values, wanted or 0.0, float("inf")) or wanted is None


def _artifacts(folder: Path) -> dict[str, Path]:
    """Make the checkpoint and its artifacts once; return level -> artifact folder."""
    checkpoint, output = folder / "smollm2", folder / "artifacts"
    if not (checkpoint / "model.safetensors").is_file():
        tool = Path(__file__).with_name("demo_checkpoint.py")
        subprocess.run([sys.executable, str(tool), str(checkpoint)], check=True)
    levels = "q4_0,q8_0,fp32,int8_block,int8,int4"
    quantize = ["quantize", str(checkpoint), "--levels", levels, "--format", "gguf,onnx"]
    subprocess.run(edgebench(*quantize, "--output", str(output)), check=True)
    export = ["export", str(checkpoint), "--format", "onnx", "--graph", "standard"]
    subprocess.run(edgebench(*export, "--output", str(output)), check=True)
    standard = str(output / "smollm2-fp32-standard")
    subprocess.run(
        edgebench("quantize", standard, "--levels", "int4", "--output", str(output)), check=True
    )
    for manifest in sorted(output.glob("*/artifact.json")):
        notes = json.loads(manifest.read_text())["notes"]
        print(manifest.parent.name, *(note for note in notes if "peak memory" in note))
    return {one.name.removeprefix("smollm2-"): one for one in output.iterdir()}


def _ours(artifact: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as output:
        runs = json_of(
            edgebench(
                "profile", str(artifact), "--device", "cpu", "--workload", f"{PROMPT}+{GENERATE}",
                "--tasks", "none", "--repetitions", str(REPETITIONS), "--output", output,
                "--set", f"threads={THREADS}", "--json",
            )
        )  # fmt: skip
    speed = runs["runs"][0]["speed"]
    return {phase: speed[phase]["tokens_per_s"]["value"] for phase in ("prefill", "decode")}


def _optimum(artifact: Path) -> dict[str, float]:
    sizes = [str(one) for one in (GENERATE, REPETITIONS, THREADS)]
    found: dict[str, float] = json_of([sys.executable, "-c", OPTIMUM, str(artifact), *sizes])
    return found


def _genai(artifact: Path) -> dict[str, float]:
    sizes = [str(one) for one in (PROMPT, GENERATE, REPETITIONS)]
    found = json_of([sys.executable, "-c", GENAI, str(artifact), *sizes])
    return {phase: float(found[phase]) for phase in ("prefill", "decode")}


if __name__ == "__main__":
    sys.exit(main())

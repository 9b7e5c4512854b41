"""Items scored a second over lm-evaluation-harness's own Hugging Face backend on the CPU.

Both answer the same items of the bundled SmolLM2-135M with two threads, in processes of their own:
theirs with the fp32 checkpoint (batch size 1 and 8, the faster counts), ours with the file that
`edgebench tasks build` makes of the same task. Loading is left out on both sides: theirs runs from
lm-eval's first word of the requests to its last. With `fewshot=5` the first items stand before
each, as in MMLU's own task; without examples the choices share less. Needs
hellaswag/validation.jsonl in the data folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.demo_checkpoint import write_checkpoint
from lib.side_by_side import bundled_artifacts, child, data_file, edgebench, interleave, json_of

from benchmarks import Figure, Range, ratio

WANTED = Range(4.0, None)
THREADS = 2
TASK = """task: bench
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: multiple_choice
doc_to_text: context
doc_to_choice: choices
doc_to_target: gold
num_fewshot: {fewshot}
fewshot_split: test
fewshot_config: {{sampler: first_n}}
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
"""
BAR = "Running loglikelihood requests"  # lm-eval says so before the first request, and counts


@dataclass(frozen=True)
class Outcome:
    """Items a second, and the choice taken for each item."""

    rate: float
    chosen: dict[str, int]


def measure(
    data: str = "", items: int = 60, pairs: int = 3, fewshot: int = 0, levels: str = "f16,q8_0"
) -> list[Figure]:
    """Compare the rates, and count the same answers."""
    source = data_file(data, "hellaswag/validation.jsonl")
    with tempfile.TemporaryDirectory(prefix="edgebench-tasks-") as name:
        folder = Path(name)
        header = _prepare(folder, source.read_text().splitlines(keepends=True)[:items], fewshot)
        sizes = {size: _theirs(folder, size).rate for size in (1, 8)}
        size = max(sizes, key=sizes.__getitem__)
        print(f"  theirs, items/s by batch size: {sizes}; {size} is compared", file=sys.stderr)
        return [
            figure
            for level, path in bundled_artifacts(levels).items()
            for figure in _compare(level, lambda: _theirs(folder, size), _ours(path, header), pairs)
        ]


def _compare(
    level: str, theirs: Callable[[], Outcome], ours: Callable[[], Outcome], pairs: int
) -> list[Figure]:
    results = interleave(ours, theirs, pairs)
    a, b = results[0]
    same = sum(a.chosen[name] == choice for name, choice in b.chosen.items())
    return [
        ratio(
            f"{level} items/s over lm-eval's hf fp32",
            [(ours.rate, theirs.rate) for ours, theirs in results],
            WANTED,
        ),
        Figure(f"{level} same answers, %", None, 100 * same / len(b.chosen), n=len(b.chosen)),
    ]


def _prepare(folder: Path, lines: list[str], fewshot: int) -> Path:
    """Write the task as lm-eval reads it, the checkpoint, and the task file built of it."""
    data = folder / "bench.jsonl"
    data.write_text("".join(lines))
    (folder / "include").mkdir()
    (folder / "include" / "bench.yaml").write_text(TASK.format(data=data, fewshot=fewshot))
    write_checkpoint(folder / "checkpoint")
    built = edgebench(
        "tasks", "build", "lm_eval:bench", "--include", str(folder / "include"),
        "--output", str(folder / "built"),
    )  # fmt: skip
    subprocess.run(built, check=True, stdout=subprocess.DEVNULL)
    return folder / "built" / "bench.yaml"


def _theirs(folder: Path, batch: int) -> Outcome:
    """Let lm-eval answer; its time runs from the first request to its last."""
    output = Path(tempfile.mkdtemp(dir=folder))
    command = [
        sys.executable, "-m", "lm_eval", "--model", "hf", "--device", "cpu",
        "--model_args", f"pretrained={folder / 'checkpoint'},dtype=float32",
        "--batch_size", str(batch), "--include_path", str(folder / "include"),
        "--tasks", "bench", "--output_path", str(output), "--log_samples",
    ]  # fmt: skip
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": str(THREADS)}
    process = subprocess.Popen(
        command,
        env={**os.environ, **offline},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    times = [
        time.perf_counter()
        for line in process.stderr or ()  # a bar's steps come as lines, too
        if line.startswith(BAR) or line.rstrip().endswith(BAR)
    ]
    if process.wait() or not times:
        raise RuntimeError("lm_eval failed; run it by hand to see why")
    return Outcome(*_read_samples(output, times[-1] - times[0]))


def _read_samples(output: Path, seconds: float) -> tuple[float, dict[str, int]]:
    file = next(output.rglob("samples_bench_*.jsonl"))
    chosen = {}
    for line in file.read_text().splitlines():
        sample: dict[str, Any] = json.loads(line)
        sums = [float(response[0]) for response in sample["filtered_resps"]]
        lengths = [len(choice) for choice in sample["doc"]["choices"]]
        values = [value / length for value, length in zip(sums, lengths, strict=True)]
        chosen[str(sample["doc_id"])] = values.index(max(values))
    return len(chosen) / seconds, chosen


def _ours(artifact: Path, header: Path) -> Callable[[], Outcome]:
    def run() -> Outcome:
        told = json_of(child("answer_items", artifact.parent, header, THREADS))
        return Outcome(len(told["chosen"]) / told["seconds"], told["chosen"])

    return run

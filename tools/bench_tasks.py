"""Compare items scored a second with lm-evaluation-harness's own Hugging Face backend on the CPU.

Both answer the same items of the bundled SmolLM2-135M with two threads, in processes of their own:
theirs with the fp32 checkpoint (batch size 1 and 8, the faster counts), ours with the file that
`edgebench tasks build` makes of the same task, at f16 and q8_0. Loading is left out on both sides:
theirs runs from lm-eval's first word of the requests to its last. With --fewshot the first items
stand before each, as in MMLU's own task; without examples the choices share less. Run:
    python tools/bench_tasks.py --data FOLDER_WITH_hellaswag [--fewshot 5] [--levels f16,q8_0]
"""

from __future__ import annotations

import argparse
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

from side_by_side import bundled_artifacts, edgebench, interleave, report

from edgebench.records.settings import Settings
from edgebench.records.task import Task
from edgebench.sources.artifacts import load_artifact
from edgebench.tasks.load import read_task
from edgebench.worker.runtimes import Room, get_runtime
from edgebench.worker.score.chat import Prompts
from edgebench.worker.score.likelihood import answer

WANTED = 4.0
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


def main() -> int:
    """Print each level's ratio and the share of same answers; return 1 where one is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("EDGEBENCH_DATA"))
    parser.add_argument("--items", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--fewshot", type=int, default=0)
    parser.add_argument("--levels", default="f16,q8_0")
    parser.add_argument("--ours", nargs=2, metavar=("ARTIFACT", "TASK"), help=argparse.SUPPRESS)
    typed = parser.parse_args()
    if typed.ours:
        return _answer(Path(typed.ours[0]), Path(typed.ours[1]))
    if typed.data is None:
        parser.error("give --data FOLDER, or set EDGEBENCH_DATA")
    source = Path(typed.data) / "hellaswag" / "validation.jsonl"
    with tempfile.TemporaryDirectory(prefix="edgebench-tasks-") as folder:
        lines = source.read_text().splitlines(keepends=True)[: typed.items]
        header = _prepare(Path(folder), lines, typed.fewshot)
        return _bench(Path(folder), header, typed.levels, typed.pairs)


def _bench(folder: Path, header: Path, levels: str, pairs: int) -> int:
    sizes = {size: _theirs(folder, size).rate for size in (1, 8)}
    size = max(sizes, key=sizes.__getitem__)
    print(f"theirs, items a second by batch size: {sizes}; {size} is compared", file=sys.stderr)
    good = True
    for level, path in bundled_artifacts(levels).items():
        good &= _compare(level, lambda: _theirs(folder, size), _ours(path, header), pairs)
    return 0 if good else 1


def _compare(
    level: str, theirs: Callable[[], Outcome], ours: Callable[[], Outcome], pairs: int
) -> bool:
    found: list[tuple[Outcome, Outcome]] = interleave(ours, theirs, pairs)
    good = report(
        f"items a second, {level} over lm-eval's hf fp32",
        [(a.rate, b.rate) for a, b in found], WANTED, float("inf"),
    )  # fmt: skip
    a, b = found[0]
    same = sum(a.chosen[name] == choice for name, choice in b.chosen.items())
    print(f"{level}: the same answer to {same} of {len(b.chosen)} items")
    return good


def _prepare(folder: Path, lines: list[str], fewshot: int) -> Path:
    """Write the task as lm-eval reads it, the checkpoint, and the task file built of it."""
    data = folder / "bench.jsonl"
    data.write_text("".join(lines))
    (folder / "include").mkdir()
    (folder / "include" / "bench.yaml").write_text(TASK.format(data=data, fewshot=fewshot))
    checkpoint = [sys.executable, str(Path(__file__).with_name("demo_checkpoint.py"))]
    subprocess.run([*checkpoint, str(folder / "checkpoint")], check=True, capture_output=True)
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
        command, env={**os.environ, **offline}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    times = [
        time.perf_counter()
        for line in process.stderr  # a bar's steps come as lines, too
        if line.startswith(BAR) or line.rstrip().endswith(BAR)
    ]
    if process.wait():
        raise SystemExit("lm_eval failed; run it by hand to see why")
    return Outcome(*_read_samples(output, times[-1] - times[0]))


def _read_samples(output: Path, seconds: float) -> tuple[float, dict[str, int]]:
    file = next(output.rglob("samples_bench_*.jsonl"))
    chosen = {}
    for line in file.read_text().splitlines():
        sample: dict[str, Any] = json.loads(line)
        sums = [float(one[0]) for one in sample["filtered_resps"]]
        lengths = [len(choice) for choice in sample["doc"]["choices"]]
        values = [value / length for value, length in zip(sums, lengths, strict=True)]
        chosen[str(sample["doc_id"])] = values.index(max(values))
    return len(chosen) / seconds, chosen


def _ours(artifact: Path, header: Path) -> Callable[[], Outcome]:
    def run() -> Outcome:
        command = [sys.executable, __file__, "--ours", str(artifact.parent), str(header)]
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        told = json.loads(done.stdout)
        return Outcome(len(told["chosen"]) / told["seconds"], told["chosen"])

    return run


def _answer(artifact: Path, header: Path) -> int:
    """Answer the items as a worker does, and print the seconds and the choices."""
    task = read_task(header)
    assert isinstance(task, Task)
    settings = Settings(threads=THREADS)
    session = get_runtime("llama.cpp").open(load_artifact(artifact), settings, Room(2048, 65))
    start = time.perf_counter()
    results, _ = answer(session, task, Prompts(session), lambda *_: None)
    seconds = time.perf_counter() - start
    session.close()
    print(json.dumps({"seconds": seconds, "chosen": {one.id: one.chosen for one in results}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Items a second of our scoring over llama-perplexity --hellaswag: same items, two threads.

llama-perplexity prints only how many it got right so far; so each of four pairs gives it other
right answers, and an item's answer is the one that was counted. Both sides are whole processes with
their loading. Needs hellaswag/validation.jsonl in the data folder.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from lib.llama_cpp_tools import tool
from lib.side_by_side import bundled_artifacts, data_file, edgebench, interleave, json_of

from benchmarks import Figure, Range, ratio

THREADS, CHOICES = 2, 4
HEADER = "name: hellaswag\ndata: items.jsonl\nschema: multiple_choice\nmetric: acc_token\n"
_COUNTED = re.compile(r"^\s*(\d+)\t([\d.]+)%", re.MULTILINE)


def measure(data: str = "", items: int = 100, levels: str = "q8_0,q4_0") -> list[Figure]:
    """Run four pairs for each level: the ratio of the rates, and the share of same answers."""
    lines = data_file(data, "hellaswag/validation.jsonl").read_text("utf-8").split("\n")[:items]
    tool("llama-perplexity")
    folder = Path(tempfile.mkdtemp(prefix="edgebench-hellaswag-"))
    (folder / "items.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "hellaswag.yaml").write_text(HEADER)
    asked = [json.loads(line) for line in lines]
    return [
        figure
        for level, model in bundled_artifacts(levels).items()
        for figure in _compare(level, model, asked, folder)
    ]


def _compare(level: str, model: Path, items: list[dict[str, Any]], folder: Path) -> list[Figure]:
    turns = iter(range(CHOICES))
    results = interleave(
        partial(_ours, model, folder),
        lambda: _theirs(model, items, folder, next(turns)),
        CHOICES,
    )
    # Theirs over ours: more than 1 means that ours takes less time.
    seconds = [(theirs[0], ours[0]) for ours, theirs in results]
    order = _their_order(len(items))
    right = [{order[place] for place in places} for _, (_, places) in results]
    answers = [
        next((turn for turn in range(CHOICES) if index in right[turn]), None)
        for index in range(len(items))
    ]
    same = sum(a == b for a, b in zip(results[0][0][1], answers, strict=True)) / len(items)
    return [
        ratio(f"{level} items/s over llama-perplexity", seconds, Range(1.0, None)),
        Figure(f"{level} same answers, %", Range(99, None), 100 * same, n=len(items)),
    ]


def _their_order(count: int) -> list[int]:
    """Return the items in the order that llama-perplexity draws them: mt19937 of seed 1.

    As libstdc++ draws from a range (Lemire 2019), one by one from those that are left.
    """
    import numpy as np

    engine = np.random.MT19937()
    engine._legacy_seeding(1)
    left, order = list(range(count)), []
    while left:
        product = int(engine.random_raw()) * len(left)
        while product % 2**32 < 2**32 % len(left):
            product = int(engine.random_raw()) * len(left)
        order.append(left.pop(product >> 32))
    return order


def _ours(model: Path, folder: Path) -> tuple[float, list[int]]:
    """Return the seconds of the worker, from its start to its answers, and the answers."""
    command = edgebench(
        "profile", str(model), "--device", "cpu", "--workload", "none", "--tasks",
        str(folder / "hellaswag.yaml"), "--set", f"threads={THREADS}", "--no-resume",
        "--output", str(folder / "profiles"), "--json",
    )  # fmt: skip
    run = json_of(command)["runs"][0]
    return run["wall_s"], [item["chosen"] for item in run["accuracy"]["items"]]


def _theirs(
    model: Path, items: list[dict[str, Any]], folder: Path, turn: int
) -> tuple[float, set[int]]:
    """Return the seconds of the process, and the items whose answer is choice `turn`."""
    path = folder / f"gold-{turn}.txt"
    path.write_text(
        "".join("\n".join([item["context"], str(turn), *item["choices"]]) + "\n" for item in items),
        "utf-8",
    )
    command = [
        str(tool("llama-perplexity")), "-m", str(model), "--hellaswag", "-f", str(path),
        "--hellaswag-tasks", str(len(items)), "-t", str(THREADS),
    ]  # fmt: skip
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    right, before = set(), 0
    for match in _COUNTED.finditer(done.stdout + done.stderr):
        number = int(match[1])
        now = round(float(match[2]) * number / 100)
        if now > before:
            right.add(number - 1)
        before = now
    return seconds, right

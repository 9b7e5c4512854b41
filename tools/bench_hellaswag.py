"""Items a second of our scoring over llama-perplexity --hellaswag, the same items, two threads.

Wanted: at least 1.0, and the same answer on at least 99 % of items. llama-perplexity prints only
how many it got right so far; so each of four pairs gives it other right answers, and an item's
answer is the one that was counted. Both sides are whole processes with their loading.
    python tools/bench_hellaswag.py --data FOLDER [--items 100] [--levels q8_0,q4_0]
FOLDER holds hellaswag/validation.jsonl; $EDGEBENCH_DATA by default.
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
from side_by_side import bundled_artifacts, edgebench, interleave, json_of, report

THREADS, CHOICES = 2, 4
HEADER = "name: hellaswag\ndata: items.jsonl\nschema: multiple_choice\nmetric: acc_token\n"
_COUNTED = re.compile(r"^\s*(\d+)\t([\d.]+)%", re.MULTILINE)


def main() -> int:
    """Run the pairs and print the ratio and the agreement of each level."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("EDGEBENCH_DATA"))
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--levels", default="q8_0,q4_0")
    typed = parser.parse_args()
    if typed.data is None:
        parser.error("give --data FOLDER, or set EDGEBENCH_DATA")
    source = Path(typed.data) / "hellaswag" / "validation.jsonl"
    lines = source.read_text("utf-8").split("\n")[: typed.items]
    items = [json.loads(line) for line in lines]
    folder = Path(tempfile.mkdtemp(prefix="edgebench-hellaswag-"))
    (folder / "items.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "hellaswag.yaml").write_text(HEADER)
    good = True
    for level, model in bundled_artifacts(typed.levels).items():
        good &= _compare(level, model, items, folder)
    return 0 if good else 1


def _compare(level: str, model: Path, items: list[dict[str, Any]], folder: Path) -> bool:
    turns = iter(range(CHOICES))
    found = interleave(
        partial(_ours, model, folder),
        lambda: _theirs(model, items, folder, next(turns)),
        CHOICES,
    )
    # Theirs over ours: more than 1 means that ours takes less time.
    pairs = [(theirs[0], ours[0]) for ours, theirs in found]
    rates = [len(items) / ours[0] for ours, _ in found]
    good = report(f"{level} items/s over llama-perplexity", pairs, 1.0, float("inf"))
    print(f"  ours {min(rates):.2f} to {max(rates):.2f} items/s")
    order = _their_order(len(items))
    theirs = [{order[place] for place in right} for _, (_, right) in found]
    answers = [
        next((turn for turn in range(CHOICES) if index in theirs[turn]), None)
        for index in range(len(items))
    ]
    same = sum(a == b for a, b in zip(found[0][0][1], answers, strict=True)) / len(items)
    verdict = "met" if same >= 0.99 else "MISSED"
    print(f"  {level}: same answers {100 * same:.1f} %; wanted 99: {verdict}")
    return good and same >= 0.99


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


if __name__ == "__main__":
    sys.exit(main())

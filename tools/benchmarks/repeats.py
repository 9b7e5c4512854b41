"""What is said when nothing differs, and when 5 % does: A/A on a real model, A/B on known waits.

A/A: one level under two names (the copy's metadata alone differ), measured round by round, each
five rounds judged as a study of their own; also how often one study's interval holds the next
one's figure. A/B: the fake runtime's waits differ by 5 % in truth, and vary from launch to launch.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.side_by_side import bundled_artifacts, edgebench, json_of

from benchmarks import Figure, Range

ROUNDS = 5  # the default launches
DECODE_S = 4e-3
DIFFERENCE = 1.05
BETWEEN = 0.01  # coefficient of variation of the waits between launches


def measure(studies: int = 40, level: str = "q4_0", workload: str = "64+32") -> list[Figure]:
    """Make `studies` of each kind; return how often a difference was said."""
    return [*_same(studies, level, workload), _apart(studies)]


def _same(studies: int, level: str, workload: str) -> list[Figure]:
    original = bundled_artifacts(level)[level]
    with tempfile.TemporaryDirectory() as folder:
        # Both are written anew and alike: how a file came into the page cache moves its speed.
        names = [Path(folder) / "name.gguf", Path(folder) / "other-name.gguf"]
        raw = original.read_bytes()
        # A key of the metadata: another file by its sum, the same model by its tensors.
        for path, key in zip(names, (b"general.name", b"general.nome"), strict=True):
            path.write_bytes(raw.replace(b"general.name", key, 1))
        runs = _profile([str(path) for path in names], folder, workload, studies * ROUNDS)
    said = _said(runs, studies)
    held = [_held(run, studies) for run in runs]
    return [
        Figure(
            name=f"A/A {level}: faster or slower is said, share of studies",
            wanted=Range(None, 0.05),
            measured=said / studies,
            n=studies,
            note=f"{said} of {studies} studies of {ROUNDS} rounds",
        ),
        Figure(
            name=f"A/A {level}: a study's interval holds the next one's figure, share",
            wanted=Range(0.90, None),
            measured=sum(held) / (2 * (studies - 1)),
            n=2 * (studies - 1),
        ),
    ]


def _apart(studies: int) -> Figure:
    """Find a true difference of 5 % in decode, as often as studies do."""
    found = 0
    draw = random.Random(7)
    os.environ["EDGEBENCH_FAKE_RUNTIME"] = "1"  # for the commands that are started from here
    with tempfile.TemporaryDirectory() as folder:
        for study in range(studies):
            paths = [
                _fake(Path(folder) / f"{study}-{name}", seconds, draw.randrange(1 << 30))
                for name, seconds in (("a", DECODE_S), ("b", DECODE_S * DIFFERENCE))
            ]
            runs = _profile([str(path) for path in paths], folder, "8+40", ROUNDS)
            found += _said(runs, 1)
    return Figure(
        name="A/B: a true 5 % difference of decode is found, share of studies",
        wanted=Range(0.80, None),
        measured=found / studies,
        n=studies,
        note=f"waits of the fake runtime, {100 * BETWEEN:g} % between launches",
    )


def _fake(folder: Path, decode_s: float, seed: int) -> Path:
    truth = {"decode_s": decode_s, "prefill_s": 1e-4, "between": BETWEEN, "seed": seed}
    raw = json.dumps(truth).encode()
    folder.mkdir()
    (folder / "truth.json").write_bytes(raw)
    artifact: dict[str, Any] = {
        "name": folder.name, "model": "fake", "format": "fake", "level": folder.name[-1],
        "path": "truth.json", "sha256": hashlib.sha256(raw).hexdigest(), "size_bytes": len(raw),
        "parameters": 1000, "bits_per_weight": 8.0, "tensor_types": {"q8_0": 1},
        "fallback_tensors": {},
    }  # fmt: skip
    (folder / "artifact.json").write_text(json.dumps(artifact))
    return folder


def _profile(paths: Sequence[str], folder: str, workload: str, launches: int) -> list[Any]:
    """Measure artifacts in rounds; return their runs."""
    out: list[Any] = []
    for start in range(0, launches, 100):  # a command takes 100 launches at most
        count = min(100, launches - start)
        told = json_of(
            edgebench(
                "profile", *paths, "--device", "cpu", "--workload", workload, "--tasks", "none",
                "--launches", str(count), "--retries", "0", "--meter", "none", "--no-resume",
                "--output", folder, "--json",
            )
        )  # fmt: skip
        runs = sorted(told["runs"], key=lambda run: run["artifact"]["sha256"])
        if not out:
            out = runs
        else:
            for whole, more in zip(out, runs, strict=True):
                whole["speed"]["launches"] += more["speed"]["launches"]
    return out


def _studies(run: Any, studies: int) -> list[Any]:
    """Cut a run's launches, in the order of their rounds, into studies of five."""
    from edgebench.analyze.speeds import speed_figures
    from edgebench.records.run import Run

    launches = run["speed"]["launches"]
    parts = [launches[index * ROUNDS : (index + 1) * ROUNDS] for index in range(studies)]
    speed = Run.model_validate(run).speed
    assert speed is not None
    return [speed_figures(type(speed).model_validate(dict(speed) | {"launches": p})) for p in parts]


def _said(runs: Sequence[Any], studies: int) -> int:
    """Return in how many studies two runs' decode is told apart."""
    from edgebench.analyze.speeds import decode_ratio

    pairs = zip(*(_studies(run, studies) for run in runs), strict=True)
    return sum(decode_ratio(ours, theirs).is_shown for ours, theirs in pairs)


def _held(run: Any, studies: int) -> int:
    """Return how often a study's interval of decode holds the next study's figure."""
    figures = [study.decode for study in _studies(run, studies)]
    return sum(
        bool(a.bounds and a.bounds.low <= b.value <= a.bounds.high)
        for a, b in itertools.pairwise(figures)
    )

"""Stored lines that were changed at random, and everything that is made of stored runs."""

from __future__ import annotations

import copy
import io
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from edgebench.analyze.compare import compare
from edgebench.analyze.constraints import Constraints
from edgebench.analyze.pick import pick
from edgebench.analyze.rows import summarize
from edgebench.cli.compare import _as_json
from edgebench.cli.stored import LeftOut
from edgebench.report.csv_file import as_csv
from edgebench.report.markdown import as_markdown
from edgebench.report.picks import pick_lines
from edgebench.report.tables import print_groups, sections
from edgebench.run.stored import read_runs
from support.builders import make_artifact, make_energy, make_run, make_speed, make_task_run

OLD = Path(__file__).resolve().parents[1] / "data" / "runs-0.1.0.jsonl"
# What stands where something else should: numbers at the edge of what records take among them.
VALUES: tuple[Any, ...] = (
    None, True, False, "", "x", "=1+1", "\u202e\x1b[31m", "a" * 9_999, "a" * 10_001, "\n", [], {},
    [1], {"a": 1}, 0, 1, -1, 0.5, -0.5, 1e-300, 1e-60, 1e60, -1e60, 1e308, -1e308, 2**62, 2**63,
    10**400, 1e-5, 2, 7, "1e999", "2026-99-99", "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59", "ok", "failed", "q4_0", "gguf",
)  # fmt: skip
LIMITS = Constraints(
    max_memory_bytes=1e6,
    min_decode_tokens_per_s=15,
    max_ttft_s=1,
    max_energy_j=1,
    max_accuracy_loss=0.05,
    max_divergence=0.1,
)


def good_lines() -> list[dict[str, Any]]:
    """Return runs of every kind, of 0.1.0 and of now, as JSON."""
    runs = [json.loads(line) for line in OLD.read_text().splitlines()]
    for level, decode in (("f16", 20.0), ("q8_0", 25.0)):
        artifact = make_artifact(level=level, bits_per_weight=16.0 if level == "f16" else 8.5)
        speed = make_run(
            run_id=f"speed {level}",
            artifact=artifact,
            speed=make_speed(decode),
            energy=(make_energy(0.5, 0.1),),
            energy_reason=None,
        )
        answers = make_task_run(
            [index % 3 > 0 for index in range(40)], run_id=f"task {level}", artifact=artifact
        )
        runs += [json.loads(speed.to_line()), json.loads(answers.to_line())]
    return runs


def mutated(lines: Sequence[dict[str, Any]], draw: random.Random) -> list[str]:
    """Return the lines after one to four changes, now and then the same one in all."""
    changed = copy.deepcopy(list(lines))
    for _ in range(draw.randint(1, 4)):
        first = draw.choice(changed)
        path = _path(first, draw)
        value, gone = draw.choice(VALUES), draw.random() < 0.1
        for line in changed if draw.random() < 0.3 else [first]:
            _change(line, path, value, gone)
        if path[-1] == "value":  # an interval that fits it is no news, none at all is
            for line in changed:
                _change(line, [*path[:-1], "low"], None, gone=False)
                _change(line, [*path[:-1], "high"], None, gone=False)
    texts = [json.dumps(line) for line in changed]
    if draw.random() < 0.1:
        index = draw.randrange(len(texts))
        texts[index] = texts[index][: draw.randrange(len(texts[index]))]
    return texts


def _path(value: Any, draw: random.Random) -> list[Any]:
    """Return the way to some place in a line; long lists count no more than short ones."""
    path: list[Any] = []
    while isinstance(value, (dict, list)) and value and (not path or draw.random() < 0.85):
        keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = draw.choice(keys)
        path.append(key)
        value = value[key]
    return path


def _change(line: Any, path: Sequence[Any], value: Any, gone: bool) -> None:
    place = line
    for key in path[:-1]:
        try:
            place = place[key]
        except (KeyError, IndexError, TypeError):
            return
    key = path[-1]
    if isinstance(place, dict) and gone:
        place.pop(key, None)
    elif isinstance(place, dict) or (isinstance(place, list) and key in range(len(place))):
        place[key] = value


def everything_of(path: Path) -> Iterator[str]:
    """Give all that compare and pick print of a file."""
    left_out = LeftOut()
    groups = compare(summarize(read_runs([path], left_out.add)))
    yield as_csv(groups)
    yield as_markdown(sections(groups))
    yield _as_json(groups, left_out)
    shown = io.StringIO()
    print_groups(Console(file=shown, width=80), groups)
    yield shown.getvalue()
    for group in groups:
        for objective in ("decode", "prefill", "energy", "memory", "accuracy"):
            for limits in (LIMITS, Constraints()):
                yield "\n".join(pick_lines(pick([group], limits, objective), explain=True))

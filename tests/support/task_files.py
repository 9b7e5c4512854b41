"""Write task files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ITEMS = 600


def write_task(
    folder: Path, rows: Sequence[dict[str, Any]], name: str = "quiz", **header: Any
) -> Path:
    """Write a task file of rows; the schema is multiple choice unless given."""
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    fields = {"name": name, "data": f"{name}.jsonl", "schema": "multiple_choice"} | header
    path = folder / f"{name}.yaml"
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in fields.items()))
    return path


def write_quiz(folder: Path, golds: Sequence[int] | None = None, **header: Any) -> Path:
    """Write a task of two choices each, whose right answers are given; else the first is right."""
    answers = golds or [0] * ITEMS
    rows = [
        {"id": f"q{i}", "context": f"Case number {i}:", "choices": [f"a{i}", f"b{i}"], "gold": gold}
        for i, gold in enumerate(answers)
    ]
    return write_task(folder, rows, **({"metric": "acc"} | header))

"""Write task files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


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

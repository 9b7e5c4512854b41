"""Load a task's items and check them line by line. Scores nothing."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from pydantic import ValidationError

from edgebench.errors import BadFileError, UsageError, nearest
from edgebench.records import Item, Task

BUILT_IN = {"basics": "basics.jsonl"}


def load_task(name: str) -> Task:
    """Load a built-in task by name; raise UsageError on an unknown one."""
    if name not in BUILT_IN:
        raise UsageError(f"unknown task {name!r}", hint=nearest(name, BUILT_IN))
    raw = files("edgebench.tasks").joinpath(BUILT_IN[name]).read_bytes()
    return parse_task(name, raw)


def parse_task(name: str, raw: bytes) -> Task:
    """Parse JSONL of multiple-choice items; raise BadFileError with line and field."""
    items = []
    seen: set[str] = set()
    for number, line in enumerate(raw.splitlines(), 1):
        if not line.strip():
            continue
        try:
            item = Item.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the item"
            raise BadFileError(f"task {name}, line {number}, {where}: {first['msg']}") from None
        if item.id in seen:
            raise BadFileError(f"task {name}, line {number}, id: {item.id!r} stands twice")
        seen.add(item.id)
        items.append(item)
    if not items:
        raise BadFileError(f"task {name} has no items")
    digest = hashlib.sha256(raw).hexdigest()
    return Task(name=name, metric="acc_norm", items=tuple(items), sha256=digest)

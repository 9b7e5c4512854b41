"""Walk a JSON Schema: the path of every field, such as `speed.prefill.samples_s`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def field_paths(
    schema: dict[str, Any], node: dict[str, Any] | None = None, prefix: str = ""
) -> Iterator[str]:
    """Give each field's path; `[]` stands for an item of a list, `{}` for a value by any key."""
    node = schema if node is None else node
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    for choice in node.get("anyOf", []):
        yield from field_paths(schema, choice, prefix)
    if node.get("items"):
        yield from field_paths(schema, node["items"], f"{prefix}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from field_paths(schema, node["additionalProperties"], f"{prefix}{{}}")
    for name, child in node.get("properties", {}).items():
        path = f"{prefix}.{name}" if prefix else name
        yield path
        yield from field_paths(schema, child, path)

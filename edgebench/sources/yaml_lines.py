"""YAML files that people write, with the line on which each key stands.

Knows how to load safely, and how big a file may be. Knows no field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from edgebench.errors import BadFileError


@dataclass(frozen=True)
class LinedYaml:
    """What a file holds, and where."""

    data: Any
    root: yaml.Node | None

    def line(self, *keys: str | int) -> int:
        """Return the line of the deepest of nested keys that is in the file; else 1."""
        line, node = 1, self.root
        for key in keys:
            entry = next((child for child in _entries(node) if child.key == str(key)), None)
            if entry is None:
                return line
            line, node = entry.line, entry.value
        return line


class _Entry(NamedTuple):
    key: str
    line: int
    value: yaml.Node


def load_yaml(path: Path, largest_bytes: int = 1 << 20) -> LinedYaml:
    """Read a file; raise BadFileError with the line where it isn't YAML, or is too large."""
    try:
        with path.open("rb") as file:
            raw = file.read(largest_bytes + 1)
    except OSError as error:
        raise BadFileError(f"can't read {path}: {error.strerror}") from None
    if len(raw) > largest_bytes:
        raise BadFileError(f"{path} has more than {largest_bytes} bytes", hint="is it the data?")
    try:
        text = raw.decode("utf-8-sig")
        return _composed(yaml.SafeLoader(text))
    except UnicodeDecodeError:
        raise BadFileError(f"{path} isn't UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise BadFileError(f"{path}{where}: not valid YAML: {problem[:300]}") from None
    except RecursionError:
        raise BadFileError(f"{path} is nested too deeply") from None


def _composed(loader: yaml.SafeLoader) -> LinedYaml:
    """Read a document once, for its nodes and its data."""
    try:
        root = loader.get_single_node()
        return LinedYaml(None if root is None else loader.construct_document(root), root)
    finally:
        loader.dispose()


def _entries(node: yaml.Node | None) -> Iterator[_Entry]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield _Entry(str(key.value), key.start_mark.line + 1, value)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield _Entry(str(index), value.start_mark.line + 1, value)

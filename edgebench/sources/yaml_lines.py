"""YAML files that people write, with the line on which each key stands.

Knows how to load safely: how big a file may be, how deep it may nest, and how much its aliases may
stand for. Knows no field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from edgebench.errors import BadFileError
from edgebench.records.limits import DEPTH, DIGITS, MESSAGE_CHARACTERS, SETTINGS_BYTES, YAML_NODES
from edgebench.sources.files import read_regular

T = TypeVar("T")

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


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


class _Refused(yaml.MarkedYAMLError):
    """What is YAML, but isn't taken here."""


class _Loader(yaml.SafeLoader):
    """Builds a tree of limited size, an alias counting as all that it stands for."""

    def __init__(self, content: str) -> None:
        super().__init__(content)
        self._nodes = self._depth = 0
        self._sizes: dict[str, int] = {}  # anchor -> the nodes of what it names

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node and those below it."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        anchor, before = event.anchor, self._nodes
        is_alias = isinstance(event, yaml.AliasEvent)
        self._nodes += self._sizes.get(anchor, 1) if is_alias else 1
        if self._nodes > YAML_NODES:
            raise _Refused(problem=f"more than {YAML_NODES} entries", problem_mark=event.start_mark)
        if self._depth >= DEPTH or (is_alias and anchor in self.anchors.keys() - self._sizes):
            problem = f"nested more than {DEPTH} deep"
            raise _Refused(problem=problem, problem_mark=event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if anchor and not is_alias:
            self._sizes[anchor] = self._nodes - before
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct a value; PyYAML's own constructors raise whatever int() and float() do."""
        if node.tag in _NUMBERS and len(node.value) > DIGITS:
            problem = f"a number has more than {DIGITS} digits"
            raise _Refused(problem=problem, problem_mark=node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError):
            kind = node.tag.rpartition(":")[2]
            problem = f"{str(node.value)[:40]!r} isn't a value of the type {kind:.40}"
            raise _Refused(problem=problem, problem_mark=node.start_mark) from None


def compose_yaml(path: Path) -> yaml.Node | None:
    """Read a file's nodes and construct none of them; raise BadFileError as `load_yaml` does."""
    raw = read_regular(path, SETTINGS_BYTES)
    return _parsed(raw, path, lambda loader: loader.get_single_node())


def load_yaml(path: Path, largest_bytes: int = SETTINGS_BYTES) -> LinedYaml:
    """Read a file; raise BadFileError with the line where it isn't YAML, or goes out of bounds."""
    return parse_yaml(read_regular(path, largest_bytes, hint="is it the data?"), path)


def parse_yaml(raw: bytes, path: Path) -> LinedYaml:
    """Parse what stands in a file; raise BadFileError as `load_yaml` does."""
    return _parsed(raw, path, _lined)


def _lined(loader: _Loader) -> LinedYaml:
    """Read a document once, for its nodes and its data."""
    root = loader.get_single_node()
    return LinedYaml(None if root is None else loader.construct_document(root), root)


def _parsed(raw: bytes, path: Path, read: Callable[[_Loader], T]) -> T:
    try:
        loader = _Loader(raw.decode("utf-8-sig"))
        try:
            return read(loader)
        finally:
            loader.dispose()
    except UnicodeDecodeError:
        raise BadFileError(f"{path} isn't UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        shown = " ".join(problem.split())[:MESSAGE_CHARACTERS]
        kind = "" if isinstance(error, _Refused) else "not valid YAML: "
        raise BadFileError(f"{path}{where}: {kind}{shown}") from None


def _entries(node: yaml.Node | None) -> Iterator[_Entry]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield _Entry(str(key.value), key.start_mark.line + 1, value)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield _Entry(str(index), value.start_mark.line + 1, value)

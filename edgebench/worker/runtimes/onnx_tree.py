"""Score many continuations in one evaluation of a fused graph: one packed sequence, a tree.

Knows how a graph is told what a row may see, and how groups of spans become one sequence. Holds
no cache and opens no session.

A tree's rows are, after a trunk that the cache holds, every context's tokens but the last; then,
for each context, its last token and its continuations' tokens but their last. Rows that need
logits are thus the tail. `attention_bias` hides from a row all but its ancestors, `position_ids`
place it in its own sequence. (A batch dimension would not do: GroupQueryAttention takes one
sequence alone where several tokens follow a past.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgebench.sources.onnx_file import load_graph
from edgebench.worker.runtimes.packing import Group

BIAS = "attention_bias"
POSITIONS = "position_ids"
BUDGET = 256  # tokens of a tree: more cost memory, and gain nothing on a processor
# With no past at all the kernel reads only the first position, so there a tree has a hidden past.
SPARE = 1
HIDDEN = -1e4  # far below any score, and a half can hold it
_POSITION_INPUT, _BIAS_INPUT = 9, 10  # of GroupQueryAttention
_LARGEST_GRAPH = 1 << 26  # bytes; larger ones have their weights inside, and would be held twice


@dataclass(frozen=True)
class TreeGraph:
    """A graph that can evaluate trees, serialized, and the widest one that its layers see whole."""

    model: bytes
    window: int | None


def tree_graph(path: Path) -> TreeGraph | None:
    """Give a fused graph the inputs of a tree; return None where it can't have them.

    Its weights stay where they are. A graph with a choice in it (`If`) may pick its table of
    rotations by the sequence's length, which is not a tree's.
    """
    if path.stat().st_size > _LARGEST_GRAPH:
        return None
    model = load_graph(path)
    nodes = model.graph.node
    if any(node.op_type == "If" for node in nodes):
        return None
    attention = [node for node in nodes if node.op_type == "GroupQueryAttention"]
    if any(any(list(node.input)[_POSITION_INPUT:][:2]) for node in attention):
        return None
    for node in attention:
        inputs = list(node.input) + [""] * (_BIAS_INPUT + 1 - len(node.input))
        inputs[_POSITION_INPUT], inputs[_BIAS_INPUT] = POSITIONS, BIAS
        del node.input[:]
        node.input.extend(inputs)
    _add_inputs(model.graph)
    windows = [size for node in attention if (size := _number(node, "local_window_size")) > 0]
    return TreeGraph(model.SerializeToString(), min(windows, default=None))


def _add_inputs(graph: Any) -> None:
    from onnx import TensorProto, helper

    past = next(value for value in graph.input if value.name.startswith("past_key_values."))
    shapes = {
        BIAS: (past.type.tensor_type.elem_type, [1, 1, "sequence_length", "seen_length"]),
        POSITIONS: (TensorProto.INT64, [1, "sequence_length"]),
    }
    present = {value.name for value in graph.input}
    for name, (kind, shape) in shapes.items():
        if name not in present:
            graph.input.append(helper.make_tensor_value_info(name, kind, shape))


def _number(node: Any, name: str) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), 0)


@dataclass
class Tree:
    """Groups' tokens after a trunk as one sequence; `targets` are each span's (tail row, token)."""

    trunk: int
    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)  # a row's row before it; -1: the trunk's end
    tail: int = 0
    targets: list[list[tuple[int, int]]] = field(default_factory=list)

    def add(self, tokens: Sequence[int], position: int, parent: int) -> int:
        """Add a chain of tokens after `parent`; return its last row."""
        for offset, token in enumerate(tokens):
            self.parents.append(parent)
            self.tokens.append(token)
            self.positions.append(position + offset)
            parent = len(self.tokens) - 1
        return parent

    def seen(self, past: int) -> Any:
        """Return which of `past` cells and of the rows each row sees: [rows, past + rows]."""
        import numpy as np

        count = len(self.tokens)
        seen = np.zeros((count, past + count), bool)
        seen[:, : self.trunk] = True
        for row, parent in enumerate(self.parents):
            if parent >= 0:
                seen[row] = seen[parent]
            seen[row, past + row] = True
        return seen


def grow(groups: Sequence[Group], trunk: int) -> Tree:
    """Make a tree of groups whose spans all begin with the same `trunk` tokens."""
    tree = Tree(trunk)
    ends = [tree.add(_context(group)[trunk:-1], trunk, -1) for group in groups]
    tree.tail = len(tree.tokens)
    for group, end in zip(groups, ends, strict=True):
        last = tree.add(_context(group)[-1:], group.shared - 1, end)
        for span in group.spans:
            own = span.tokens[group.shared :]
            first = len(tree.tokens)
            tree.add(own[:-1], group.shared, last)
            rows = [last, *range(first, first + len(own) - 1)]
            tree.targets.append([(row - tree.tail, t) for row, t in zip(rows, own, strict=True)])
    return tree


def _context(group: Group) -> tuple[int, ...]:
    return group.spans[0].tokens[: group.shared]

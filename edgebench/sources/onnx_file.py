"""ONNX files: what a graph holds, and where it says that its weights are.

Knows initializers, external data and operators. Never trusts a file: every path and size that a
graph names is checked before anyone follows it. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebench.errors import BadFileError, MissingExtraError
from edgebench.records.base import clean
from edgebench.sources.files import NAME_LENGTH, check_regular, read_regular, within
from edgebench.sources.onnx_weights import (
    count_parameters,
    count_types,
    element_bytes,
    entries,
    is_external,
    level_of,
)

GRAPH = "model.onnx"  # the graph's name in an artifact's folder
LOGITS_START = "logits_start"  # an input that fused graphs of `edgebench export` have
MAX_GRAPH_BYTES = (1 << 31) - 1  # protobuf's own limit


@dataclass(frozen=True)
class OnnxInfo:
    """A checked graph: its files, its tensors, and how it keeps its cache."""

    path: Path
    data_files: tuple[Path, ...]
    tensor_types: dict[str, int]
    parameters: int
    level: str
    fused: bool

    @property
    def size_bytes(self) -> int:
        """Return the bytes of the graph and of all files of weights."""
        return sum(path.stat().st_size for path in (self.path, *self.data_files))


def load_graph(path: Path) -> Any:
    """Read a graph without its external data; return an onnx.ModelProto, checked.

    Raises BadFileError where it isn't an ONNX model or names data outside its folder,
    MissingExtraError where the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("onnx", "onnx") from None
    raw = read_regular(path, MAX_GRAPH_BYTES)
    model = onnx.ModelProto()  # never onnx.load, which reads other formats by a file's ending
    try:
        model.ParseFromString(raw)
    except Exception as error:  # noqa: BLE001 - protobuf's error has no home of its own
        raise BadFileError(f"{path} isn't an ONNX model: {clean(str(error), 200)}") from None
    if not model.graph.node:
        raise BadFileError(f"{path} isn't an ONNX model: it has no operators")
    for tensor in _tensors(model):
        check_external(tensor, path)
    return model


def read_onnx(path: Path) -> OnnxInfo:
    """Check a model file and describe it; raise BadFileError where it can't be used."""
    model = load_graph(path)
    files = {entries(tensor)["location"] for tensor in _tensors(model) if is_external(tensor)}
    try:
        return OnnxInfo(
            path=path,
            data_files=tuple(path.parent / name for name in sorted(files)),
            tensor_types=count_types(model.graph),
            parameters=count_parameters(model.graph),
            level=level_of(model.graph),
            fused=is_fused(model.graph),
        )
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise BadFileError(f"{path} is a broken ONNX model: {clean(str(error), 200)}") from None


def is_fused(graph: Any) -> bool:
    """Return whether attention keeps its cache in place (GroupQueryAttention)."""
    return any(node.op_type == "GroupQueryAttention" for node in graph.node)


def check_external(tensor: Any, path: Path) -> None:
    """Check that a tensor's external data is whole and inside the model's folder."""
    if not is_external(tensor):
        return
    told = entries(tensor)
    location = told.get("location", "")
    plain = Path(location).name == location and len(location) <= NAME_LENGTH
    if not location or not plain or location in (".", ".."):
        raise BadFileError(
            f"{path}: tensor {tensor.name[:80]!r} has its data outside the folder: "
            f"{location[:200]!r}"
        )
    file = within(path.parent, location)
    size = element_bytes(tensor)
    try:
        offset = int(told.get("offset", 0))
        length = int(told.get("length", size))
    except ValueError:
        raise BadFileError(f"{path}: tensor {tensor.name[:80]!r} has a bad offset") from None
    there = check_regular(file)
    if offset < 0 or length != size or offset + length > there:
        raise BadFileError(
            f"{path}: tensor {tensor.name[:80]!r} wants {size} bytes at {offset}, "
            f"but {file.name} has {there}"
        )


def _tensors(model: Any) -> Iterator[Any]:
    """Walk over all tensors: initializers, constants, subgraphs and functions."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from _graph_tensors(attribute.g)
            for graph in attribute.graphs:
                yield from _graph_tensors(graph)

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

GRAPH = "model.onnx"  # the graph's name in an artifact's folder
LOGITS_START = "logits_start"  # an input that fused graphs of `edgebench export` have
MAX_GRAPH_BYTES = (1 << 31) - 1  # protobuf's own limit
_QUANTIZED_OPERATORS = {"MatMulInteger": "int8", "DynamicQuantizeMatMul": "int8"}


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
    try:
        if path.stat().st_size > MAX_GRAPH_BYTES:
            raise BadFileError(f"{path} is larger than a graph can be")
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise BadFileError(f"can't read {path}: {error.strerror}") from None
    except Exception as error:
        if isinstance(error, BadFileError):
            raise
        raise BadFileError(f"{path} isn't an ONNX model: {str(error)[:200]}") from None
    if not model.graph.node:
        raise BadFileError(f"{path} isn't an ONNX model: it has no operators")
    for tensor in _tensors(model):
        check_external(tensor, path)
    return model


def read_onnx(path: Path) -> OnnxInfo:
    """Check a model file and describe it; raise BadFileError where it can't be used."""
    model = load_graph(path)
    files = {entries(tensor)["location"] for tensor in _tensors(model) if is_external(tensor)}
    return OnnxInfo(
        path=path,
        data_files=tuple(path.parent / name for name in sorted(files)),
        tensor_types=_tensor_types(model),
        parameters=_parameters(model.graph),
        level=_level(model.graph),
        fused=is_fused(model.graph),
    )


def is_fused(graph: Any) -> bool:
    """Return whether attention keeps its cache in place (GroupQueryAttention)."""
    return any(node.op_type == "GroupQueryAttention" for node in graph.node)


def is_external(tensor: Any) -> bool:
    """Return whether a tensor's values are in another file."""
    return int(tensor.data_location) == 1  # TensorProto.EXTERNAL


def entries(tensor: Any) -> dict[str, str]:
    """Return what a tensor says of its external data: location, offset, length."""
    return {entry.key: entry.value for entry in tensor.external_data}


def check_external(tensor: Any, path: Path) -> None:
    """Check that a tensor's external data is whole and inside the model's folder."""
    if not is_external(tensor):
        return
    told = entries(tensor)
    location = told.get("location", "")
    if not location or Path(location).name != location or location in (".", ".."):
        raise BadFileError(
            f"{path}: tensor {tensor.name[:80]!r} has its data outside the folder: {location!r}"
        )
    file = path.parent / location
    if file.resolve().parent != path.parent.resolve():
        raise BadFileError(f"{file} links out of the folder")
    size = element_bytes(tensor)
    try:
        offset = int(told.get("offset", 0))
        length = int(told.get("length", size))
        there = file.stat().st_size
    except ValueError:
        raise BadFileError(f"{path}: tensor {tensor.name[:80]!r} has a bad offset") from None
    except OSError as error:
        raise BadFileError(f"can't read {file}: {error.strerror}") from None
    if offset < 0 or length != size or offset + length > there:
        raise BadFileError(
            f"{path}: tensor {tensor.name[:80]!r} wants {size} bytes at {offset}, "
            f"but {file.name} has {there}"
        )


def element_bytes(tensor: Any) -> int:
    """Return the bytes that a tensor's type and dimensions ask for."""
    from onnx import helper

    count = 1
    for dim in tensor.dims:
        count *= max(0, int(dim))
    try:
        bits = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * 8
    except (KeyError, ValueError, TypeError):
        raise BadFileError(f"tensor {tensor.name[:80]!r} has an unknown type") from None
    if tensor.data_type in (21, 22):  # UINT4, INT4: two in a byte
        bits = 4
    return int(-(-count * bits // 8))


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


def _tensor_types(model: Any) -> dict[str, int]:
    """Count the weights by type: what MatMulNBits packs is named by its bits."""
    from onnx import TensorProto

    packed = {}
    for node in model.graph.node:
        if node.op_type in ("MatMulNBits", "GatherBlockQuantized"):
            name = node.input[1] if node.op_type == "MatMulNBits" else node.input[0]
            packed[name] = f"int{_attribute(node, 'bits', 4)}"
    types: dict[str, int] = {}
    for tensor in model.graph.initializer:
        if len(tensor.dims) < 1 or element_bytes(tensor) < 256:
            continue  # shapes, axes and other constants of the graph
        name = packed.get(tensor.name) or TensorProto.DataType.Name(tensor.data_type).lower()
        types[name] = types.get(name, 0) + 1
    return types


def _parameters(graph: Any) -> int:
    """Count a model's weights: packed ones by the shapes that their operators name."""
    total = 0
    seen: set[str] = set()
    scales: set[str] = set()
    for node in graph.node:
        if node.op_type == "MatMulNBits" and node.input[1] not in seen:
            seen.add(node.input[1])
            total += _attribute(node, "K", 0) * _attribute(node, "N", 0)
        if node.op_type in ("MatMulNBits", "GatherBlockQuantized"):
            scales |= set(node.input[2:4])
    dims = {}
    for tensor in graph.initializer:
        if "cos_cache" in tensor.name or "sin_cache" in tensor.name or tensor.name in scales:
            continue
        if tensor.data_type in (1, 3, 10, 16) and tensor.dims:  # float, int8, float16, bfloat16
            where = tuple(sorted(entries(tensor).items())) or tensor.name
            dims[where] = tensor.dims
    for shape in dims.values():
        count = 1
        for dim in shape:
            count *= int(dim)
        total += count
    return total


def _level(graph: Any) -> str:
    """Name a graph's level by what its matrix products read."""
    from onnx import TensorProto

    for node in graph.node:
        if node.op_type == "MatMulNBits":
            return "int8_block" if _attribute(node, "bits", 4) == 8 else "int4"
        if node.op_type in _QUANTIZED_OPERATORS:
            return _QUANTIZED_OPERATORS[node.op_type]
    halves = sum(t.data_type == TensorProto.FLOAT16 for t in graph.initializer if len(t.dims) > 1)
    singles = sum(t.data_type == TensorProto.FLOAT for t in graph.initializer if len(t.dims) > 1)
    return "fp16" if halves > singles else "fp32"


def _attribute(node: Any, name: str, default: int) -> int:
    return next((int(known.i) for known in node.attribute if known.name == name), default)

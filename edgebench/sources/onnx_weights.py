"""What an ONNX graph's weights are: types, number, and the level that its matrix products read.

Knows initializers and the operators that read packed ones. A graph's own words for it (K and N of
a product, say) count for no more than its initializers hold. Reads no file.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from edgebench.errors import BadFileError

_INTEGER = {"MatMulInteger": 1, "DynamicQuantizeMatMul": 1, "QLinearMatMul": 3}  # -> its weight
_BITS = ("MatMulNBits", "GatherBlockQuantized")
_PASSED = ("Transpose", "DequantizeLinear", "Cast", "Identity", "Reshape")
_FEW = 20  # a head that is so many times as large as all layers has no layers before it
_SEARCHED = 4  # operators between a product and its weight
_TYPES = {1: "fp32", 2: "int8", 3: "int8", 10: "fp16", 16: "bf16", 21: "int4", 22: "int4"}
_TABLES = ("cos_cache", "sin_cache")


def is_external(tensor: Any) -> bool:
    """Return whether a tensor's values are in another file."""
    return int(tensor.data_location) == 1  # TensorProto.EXTERNAL


def entries(tensor: Any) -> dict[str, str]:
    """Return what a tensor says of its external data: location, offset, length."""
    return {_text(entry.key): _text(entry.value) for entry in tensor.external_data}


def _text(value: str | bytes) -> str:
    """Return a field of protobuf, which hands on what isn't UTF-8 as bytes."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def element_bytes(tensor: Any) -> int:
    """Return the bytes that a tensor's type and dimensions ask for."""
    from onnx import helper

    try:
        bits = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * 8
    except (KeyError, ValueError, TypeError):
        raise BadFileError(f"tensor {tensor.name[:80]!r} has an unknown type") from None
    if tensor.data_type in (21, 22):  # UINT4, INT4: two in a byte
        bits = 4
    return int(-(-_elements(tensor) * bits // 8))


def count_types(graph: Any) -> dict[str, int]:
    """Count the weights by type: what is packed is named by its bits."""
    from onnx import TensorProto

    packed = {
        name: f"int{_attribute(node, 'bits', 4)}"
        for node in graph.node
        if (name := _packed_weight(node))
    }
    types = Counter[str]()
    for tensor in graph.initializer:
        if len(tensor.dims) > 0 and element_bytes(tensor) >= 256:  # others are shapes and axes
            own = TensorProto.DataType.Name(tensor.data_type).lower()
            types[packed.get(tensor.name, own)] += 1
    return dict(types)


def count_parameters(graph: Any) -> int:
    """Count a model's weights: packed ones by their bits, what two operators share once."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    counts: dict[object, int] = {}
    scales: set[str] = set()
    for node in graph.node:
        tensor = tensors.get(_packed_weight(node))
        if tensor is not None:
            counts[_place(tensor)] = _packed_elements(node, tensor)
        if node.op_type in _BITS:
            scales |= set(node.input[2:4])
    for tensor in graph.initializer:
        table = any(word in tensor.name for word in _TABLES)
        if table or tensor.name in scales or not tensor.dims:
            continue
        if tensor.data_type in (1, 3, 10, 16):  # float, int8, float16, bfloat16
            counts.setdefault(_place(tensor), _elements(tensor))
    return sum(counts.values())


def level_of(graph: Any) -> str:
    """Name a graph's level by what most weights of its products are, but for the head's."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    head, layers = Counter[str](), Counter[str]()
    for node in graph.node:
        level, weights = _product(node, tensors, makers)
        (head if "logits" in node.output else layers)[level] += weights
    if _FEW * layers.total() < head.total():
        layers += head
    most = (+layers or _of_matrices(graph)).most_common(1)
    return most[0][0] if most else "fp32"


def _product(node: Any, tensors: dict[str, Any], makers: dict[str, Any]) -> tuple[str, int]:
    """Return the level of a matrix product's weight and its size; 0 where it has none."""
    if node.op_type == "MatMulNBits" and (tensor := tensors.get(_packed_weight(node))) is not None:
        bits = _attribute(node, "bits", 4)
        return "int8_block" if bits == 8 else f"int{bits}", _packed_elements(node, tensor)
    at = _INTEGER.get(node.op_type, 1 if node.op_type in ("MatMul", "Gemm") else None)
    if at is None or len(node.input) <= at:
        return "", 0
    name = node.input[at]
    for _ in range(_SEARCHED):
        maker = makers.get(name)
        if name in tensors or maker is None or maker.op_type not in _PASSED or not maker.input:
            break
        name = maker.input[0]
    tensor = tensors.get(name)
    if tensor is None:
        return "", 0
    return _TYPES.get(tensor.data_type, "fp32"), _elements(tensor)


def _of_matrices(graph: Any) -> Counter[str]:
    """Count the weights of all matrices, for a graph whose products read none of its own."""
    counts = Counter[str]()
    for tensor in graph.initializer:
        if len(tensor.dims) > 1 and tensor.data_type in _TYPES:
            counts[_TYPES[tensor.data_type]] += _elements(tensor)
    return counts


def _packed_weight(node: Any) -> str:
    """Return the name of the packed weight that an operator reads, or nothing."""
    if node.op_type not in _BITS:
        return ""
    at = 1 if node.op_type == "MatMulNBits" else 0
    return str(node.input[at]) if len(node.input) > at else ""


def _packed_elements(node: Any, tensor: Any) -> int:
    """Return how many weights are packed in a tensor, blocks' padding left out where it is told."""
    width = 4 if tensor.data_type in (21, 22) else 8
    held = _elements(tensor) * width // max(1, _attribute(node, "bits", 4))
    told = _attribute(node, "K", 0) * _attribute(node, "N", 0)
    return min(held, told) if told > 0 else held


def _place(tensor: Any) -> object:
    """Return what two tensors over the same bytes have in common."""
    return tuple(sorted(entries(tensor).items())) or tensor.name


def _elements(tensor: Any) -> int:
    count = 1
    for dim in tensor.dims:
        count *= max(0, int(dim))
    return count


def _attribute(node: Any, name: str, default: int) -> int:
    return next((int(known.i) for known in node.attribute if known.name == name), default)

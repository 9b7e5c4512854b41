"""Edit ONNX graphs of language models: logits of the last rows, weights packed tensor by tensor.

Reads the source's weights through a memory map and streams the target's, so the peak is one
tensor. Knows operators and initializers; knows no artifacts and no levels' names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from edgebench.errors import BadFileError
from edgebench.sources.onnx_file import GRAPH, LOGITS_START, check_external, load_graph
from edgebench.sources.onnx_weights import entries, is_external

DATA = "model.onnx.data"
BLOCK = 32
ACCURACY_LEVEL = 4  # MatMulNBits computes in int8
_ALIGN = 4096
# Seven bits: without VNNI a processor adds two products in 16 bits, which saturate beyond that
# (SmolLM2 then answers by chance). One artifact must mean the same on every processor.
_INT8_PEAK = 63
_PASSED = {"Mul", "Div", "Tanh", "Cast", "Add"}  # a softcap or a scale after the head

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Packing:
    """How weights are packed: 4 or 8 bits by blocks, or int8 by output channel."""

    bits: int
    per_channel: bool = False


def head_of(graph: Any) -> Any:
    """Return the matrix product that makes the logits; raise BadFileError where there is none."""
    producers = {name: node for node in graph.node for name in node.output}
    node = producers.get("logits")
    while node is not None and node.op_type in _PASSED:
        node = next((producers[name] for name in node.input if name in producers), None)
    if node is None or node.op_type not in ("MatMul", "MatMulNBits", "Gemm"):
        raise BadFileError("the graph's logits do not come from a matrix product")
    return node


def add_logits_start(model: Any) -> None:
    """Give the graph an input `logits_start`: the head reads rows from there on.

    The input has a default (0: all rows), so whatever knows nothing of it runs the graph as before.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    head = head_of(graph)
    graph.input.append(helper.make_tensor_value_info(LOGITS_START, TensorProto.INT64, [1]))
    for name, value in ((LOGITS_START, 0), ("logits_end", 2**31 - 1), ("logits_axis", 1)):
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name))
    rows = f"{head.input[0]}/rows"
    inputs = [head.input[0], LOGITS_START, "logits_end", "logits_axis"]
    index = list(graph.node).index(head)
    head.input[0] = rows
    graph.node.insert(index, helper.make_node("Slice", inputs, [rows], name="/lm_head/Slice"))
    for output in graph.output:
        if output.name == "logits":
            output.type.tensor_type.shape.dim[1].dim_param = "logits_length"


def pack_weights(source: Path, target: Path, packing: Packing, progress: Progress) -> None:
    """Write the graph at `source` to the folder `target` with its weights packed.

    Raises BadFileError where the graph is not as it should be.
    """
    import onnx

    with (target / DATA).open("wb") as file:
        model = _Packer(source, _Writer(file), packing, progress).run()
    onnx.save(model, str(target / GRAPH))


def to_half(source: Path, target: Path) -> None:
    """Write the graph at `source` to the folder `target` in half precision, cache included."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    load_graph(source)  # checked before its data is followed
    model = convert_float_to_float16(onnx.load(str(source)), keep_io_types=False)
    onnx.save(
        model, str(target / GRAPH), save_as_external_data=True, location=DATA, size_threshold=1024
    )


@dataclass
class _Writer:
    """Appends tensors to one file of external data, large ones aligned."""

    file: BinaryIO
    written: dict[str, tuple[int, int]] = field(default_factory=dict)

    def tensor(self, name: str, array: Any) -> Any:
        """Write an array and return its TensorProto."""
        at = self.file.tell()
        if array.nbytes > _ALIGN:
            self.file.write(b"\0" * (-at % _ALIGN))
        self.written[name] = (self.file.tell(), array.nbytes)
        self.file.write(memoryview(array).cast("B"))
        return self.proto(name, array.dtype, list(array.shape), name)

    def proto(self, name: str, dtype: Any, dims: list[int], written_as: str) -> Any:
        """Return a TensorProto of `dims` over bytes that are written already."""
        from onnx import TensorProto, helper

        offset, length = self.written[written_as]
        kind = helper.np_dtype_to_tensor_dtype(dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=dims)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", DATA), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        return tensor


class _Weight(NamedTuple):
    """A matrix's initializer, and whether the graph transposes it."""

    name: str
    transposed: bool


class _Packer:
    """Rewrites one graph. A weight that head and embedding share is packed once for both."""

    def __init__(self, source: Path, writer: _Writer, packing: Packing, progress: Progress) -> None:
        self.source, self.writer, self.packing, self.progress = source, writer, packing, progress
        self.model = load_graph(source)
        graph = self.model.graph
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.transposed = {
            node.output[0]: node.input[0]
            for node in graph.node
            if node.op_type == "Transpose" and node.input[0] in self.tensors
        }
        self.packed: set[str] = set()
        self.quantized_inputs: set[str] = set()
        self.new: list[Any] = []
        self.shared = self._shared_weight(graph)

    def run(self) -> Any:
        """Return the rewritten model; all its large initializers are in the writer's file."""
        graph = self.model.graph
        nodes: list[Any] = []
        total = len(graph.node)
        for index, node in enumerate(graph.node):
            nodes += self._rewrite(node)
            self.progress(index + 1, total)
        used = {name for node in nodes for name in node.input}
        nodes = [node for node in nodes if node.op_type != "Transpose" or set(node.output) & used]
        used = {name for node in nodes for name in node.input} | {
            given.name for given in graph.input
        }
        kept = [tensor for name, tensor in self.tensors.items() if name in used]
        del graph.node[:], graph.initializer[:]
        graph.node.extend(nodes)
        graph.initializer.extend([self._copy(tensor) for tensor in kept])
        graph.initializer.extend(self.new)
        domains = {opset.domain for opset in self.model.opset_import}
        if "com.microsoft" not in domains:
            self.model.opset_import.add(domain="com.microsoft", version=1)
        return self.model

    def _shared_weight(self, graph: Any) -> str | None:
        """Return the weight that both the head and the embedding read."""
        name = head_of(graph).input[1]
        read = [node.input[0] for node in graph.node if node.op_type == "Gather"]
        gathered = {self.transposed.get(name, name) for name in read}
        return name if (name := self.transposed.get(name, name)) in gathered else None

    def _copy(self, tensor: Any) -> Any:
        small = len(tensor.raw_data) <= _ALIGN  # shapes and axes stay inside: inference wants them
        if not is_external(tensor) and small:
            return tensor
        return self.writer.tensor(tensor.name, _contiguous(self._read(tensor)))

    def _read(self, tensor: Any) -> Any:
        import numpy as np
        from onnx import helper, numpy_helper

        if not is_external(tensor):
            return numpy_helper.to_array(tensor)
        check_external(tensor, self.source)
        told = entries(tensor)
        path = self.source.parent / told["location"]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        return np.memmap(path, dtype, "r", int(told.get("offset", 0)), tuple(tensor.dims))

    def _rewrite(self, node: Any) -> Iterator[Any]:
        if node.op_type == "MatMul":
            yield from self._matmul(node)
        elif node.op_type == "Gather":
            yield from self._gather(node)
        else:
            yield node

    def _weight(self, name: str) -> _Weight | None:
        from onnx import TensorProto

        stored = self.transposed.get(name, name)
        tensor = self.tensors.get(stored)
        if tensor is None or len(tensor.dims) != 2 or tensor.data_type != TensorProto.FLOAT:
            return None
        return _Weight(stored, name in self.transposed)

    def _matmul(self, node: Any) -> Iterator[Any]:
        weight = self._weight(node.input[1])
        if not weight:
            yield node
        elif self.packing.per_channel:
            yield from self._matmul_integer(node, *weight)
        else:
            yield self._matmul_bits(node, *weight)

    def _gather(self, node: Any) -> Iterator[Any]:
        weight = self._weight(node.input[0])
        if not weight:
            yield node
        elif self.packing.per_channel:
            yield from self._gather_integer(node, *weight)
        else:
            yield self._gather_bits(node, *weight)

    # 4 or 8 bits by blocks

    def _matmul_bits(self, node: Any, name: str, transposed: bool) -> Any:
        from onnx import helper

        columns, _, _ = self._pack_blocks(name, not transposed)
        dims = self.tensors[name].dims
        return helper.make_node(
            "MatMulNBits",
            [node.input[0], f"{name}_q", f"{name}_scales"],
            list(node.output),
            name=node.name,
            domain="com.microsoft",
            K=dims[1] if transposed else dims[0],
            N=columns,
            bits=self.packing.bits,
            block_size=BLOCK,
            accuracy_level=ACCURACY_LEVEL,
        )

    def _gather_bits(self, node: Any, name: str, transposed: bool) -> Any:
        import numpy as np
        from onnx import helper

        columns, blocks, blob = self._pack_blocks(name, transposed)
        flat = f"{name}_q_rows"
        dims = [columns, blocks * blob]
        self.new.append(self.writer.proto(flat, np.dtype(np.uint8), dims, f"{name}_q"))
        return helper.make_node(
            "GatherBlockQuantized",
            [flat, node.input[1], f"{name}_scales"],
            list(node.output),
            name=node.name,
            domain="com.microsoft",
            bits=self.packing.bits,
            block_size=BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )

    def _pack_blocks(self, name: str, along_rows: bool) -> tuple[int, int, int]:
        """Pack a weight once; return its shape [columns, blocks, bytes of a block]."""
        import numpy as np

        bits, dims = self.packing.bits, list(self.tensors[name].dims)
        rows, columns = dims if along_rows else dims[::-1]
        shape = (columns, -(-rows // BLOCK), BLOCK * bits // 8)
        if name not in self.packed:
            weight = np.asarray(self._read(self.tensors[name]), np.float32)
            packed, scales = pack_blocks(weight if along_rows else weight.T, bits)
            self.new += [
                self.writer.tensor(f"{name}_q", packed),
                self.writer.tensor(f"{name}_scales", scales),
            ]
            self.packed.add(name)
        return shape

    # int8 by output channel, activations quantized as they come

    def _matmul_integer(self, node: Any, name: str, transposed: bool) -> Iterator[Any]:
        from onnx import TensorProto, helper

        self._pack_channels(name, transposed)
        x, out = node.input[0], node.output[0]
        quantized = [f"{x}/u8", f"{x}/u8_scale", f"{x}/u8_zero"]
        if x not in self.quantized_inputs:
            self.quantized_inputs.add(x)
            yield helper.make_node("DynamicQuantizeLinear", [x], quantized, name=f"{x}/quantize")
        parts = [f"{out}/{part}" for part in ("i32", "f32", "scale")]
        yield helper.make_node(
            "MatMulInteger", [quantized[0], f"{name}_q", quantized[2]], parts[:1], name=node.name
        )
        yield helper.make_node(
            "Cast", parts[:1], parts[1:2], name=f"{out}/cast", to=TensorProto.FLOAT
        )
        scales = [quantized[1], f"{name}_scales"]
        yield helper.make_node("Mul", scales, parts[2:], name=f"{out}/scales")
        yield helper.make_node("Mul", parts[1:], [out], name=f"{out}/scaled")

    def _gather_integer(self, node: Any, name: str, transposed: bool) -> Iterator[Any]:
        """Gather a row: a column of the packed weight where the head shares it."""
        from onnx import TensorProto, helper

        shared = name == self.shared
        # The head wants [hidden, vocabulary]; a weight that it shares is kept that way.
        self._pack_channels(name, transposed != shared, by_row=not shared)
        ids, out = node.input[1], node.output[0]
        parts = [f"{out}/{part}" for part in ("i8", "rows", "f32", "scale", "scale_3d")]
        yield helper.make_node("Gather", [f"{name}_q", ids], parts[:1], axis=int(shared))
        if shared:
            yield helper.make_node("Transpose", parts[:1], parts[1:2], perm=[1, 2, 0])
        rows = parts[1] if shared else parts[0]
        yield helper.make_node("Cast", [rows], parts[2:3], to=TensorProto.FLOAT)
        yield helper.make_node("Gather", [f"{name}_scales", ids], parts[3:4], axis=0)
        yield helper.make_node("Unsqueeze", [parts[3], self._last_axis()], parts[4:5])
        yield helper.make_node("Mul", [parts[2], parts[4]], [out], name=node.name)

    def _last_axis(self) -> str:
        import numpy as np
        from onnx import numpy_helper

        name = "gather_last_axis"
        if all(tensor.name != name for tensor in self.new):
            self.new.append(numpy_helper.from_array(np.array([-1], np.int64), name))
        return name

    def _pack_channels(self, name: str, transposed: bool, by_row: bool = False) -> None:
        """Pack a weight once as int8 with a scale for each output channel (or each row)."""
        import numpy as np

        if name in self.packed:
            return
        weight = np.asarray(self._read(self.tensors[name]), np.float32)
        if transposed:
            weight = weight.T
        axis = 1 if by_row else 0
        peak = np.abs(weight).max(axis=axis, keepdims=True)
        scale = np.where(peak > 0, peak / _INT8_PEAK, 1).astype(np.float32)
        packed = np.rint(weight / scale).astype(np.int8)
        self.new += [
            self.writer.tensor(f"{name}_q", np.ascontiguousarray(packed)),
            self.writer.tensor(f"{name}_scales", np.ascontiguousarray(scale.reshape(-1))),
        ]
        self.packed.add(name)


def pack_blocks(weight: Any, bits: int) -> tuple[Any, Any]:
    """Quantize a weight [K, N] symmetrically by blocks of 32 along K, with onnxruntime's kernel.

    Returns packed [N, K / 32, 4 * bits] and scales [N, K / 32]; the zero point is 2 ** (bits - 1).
    """
    import numpy as np
    from onnxruntime.capi import _pybind_state as kernels

    rows, columns = weight.shape
    blocks = -(-rows // BLOCK)
    padded = np.zeros((blocks * BLOCK, columns), np.float32)
    padded[:rows] = weight
    packed = np.zeros((columns, blocks, BLOCK * bits // 8), np.uint8)
    scales = np.zeros((columns, blocks), np.float32)
    zero = np.zeros((columns, -(-blocks * bits // 8)), np.uint8)
    kernel = {4: kernels.quantize_matmul_4bits, 8: kernels.quantize_matmul_8bits}[bits]
    kernel(packed, padded, scales, zero, BLOCK, columns, rows, True)
    return packed, scales


def _contiguous(array: Any) -> Any:
    import numpy as np

    return np.ascontiguousarray(array)

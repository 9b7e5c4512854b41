"""Read a GGUF file's metadata and tensor table without believing it.

Knows the layout through the `gguf` package's reader; every size and offset is checked against
the file before anything is read through it. Reads scalars and strings; the large arrays of the
tokenizer are stepped over. Does not touch tensor data.
Source of the layout: ggml's docs/gguf.md.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from edgebench.errors import BadFileError, MissingExtraError

MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
MAX_STRING_BYTES = 16 * 1024 * 1024
# Types that llama.cpp 0.3.36 writes and gguf 0.19 does not know: name, block, bytes a block.
NEWER_TYPES = {42: ("Q2_0", 64, 18)}
PICKLE_SUFFIXES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}


@dataclass(frozen=True)
class Tensor:
    """One row of the tensor table: type by its lower-case name, shape as GGUF orders it."""

    name: str
    type: str
    shape: tuple[int, ...]
    elements: int
    bytes: int


@dataclass(frozen=True)
class GgufInfo:
    """What a GGUF file says of itself, checked against its size."""

    path: Path
    size_bytes: int
    fields: dict[str, str | int | float | bool]
    tensors: tuple[Tensor, ...]

    @property
    def architecture(self) -> str:
        """Return `general.architecture`."""
        return str(self.fields.get("general.architecture", "unknown"))

    @property
    def parameters(self) -> int:
        """Return the number of weights."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        """Return the tensors' bits over the number of weights."""
        return 8.0 * sum(tensor.bytes for tensor in self.tensors) / self.parameters

    @property
    def tensor_types(self) -> dict[str, int]:
        """Return how many tensors have each type, most frequent first."""
        return dict(Counter(tensor.type for tensor in self.tensors).most_common())

    @property
    def level(self) -> str:
        """Return the level by `general.file_type`, or the most frequent type where it is absent."""
        from gguf import LlamaFileType

        try:
            name = LlamaFileType(int(self.fields["general.file_type"])).name
        except (KeyError, ValueError):
            return self._main_type
        return str(name).removeprefix("MOSTLY_").removeprefix("ALL_").lower()

    @property
    def quantized(self) -> bool:
        """Return whether any tensor holds less than 16 bits a weight."""
        return not set(self.tensor_types) <= {"f64", "f32", "f16", "bf16", "i32", "i8"}

    @property
    def _main_type(self) -> str:
        weight = Counter[str]()
        for tensor in self.tensors:
            weight[tensor.type] += tensor.bytes
        return weight.most_common(1)[0][0]

    def integer(self, key: str) -> int:
        """Return an integer of the architecture's own keys, such as `context_length`, or 0."""
        value = self.fields.get(f"{self.architecture}.{key}", 0)
        return value if isinstance(value, int) else 0


def read_gguf(path: Path) -> GgufInfo:
    """Read the metadata and tensor table of a GGUF file.

    Raises BadFileError where the file is no GGUF, is cut short, or points outside itself.
    """
    hint = "give a complete .gguf file; download or convert it again"
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise BadFileError(
            f"{path} is a pickle, which can run code when it is loaded",
            hint="give a .gguf file or a folder with .safetensors",
        )
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise BadFileError(f"can't read {path}: {error.strerror}", hint=hint) from None
    if head[:4] != b"GGUF":
        raise BadFileError(f"{path} is no GGUF file: it starts with {head[:4]!r}", hint=hint)
    try:
        reader = _reader_class()(path)
        scalars = reader.scalars()
    except (ValueError, KeyError, IndexError, OverflowError, TypeError, MemoryError) as error:
        text = error.args[0] if error.args else type(error).__name__
        raise BadFileError(f"{path} is a broken GGUF file: {text}", hint=hint) from None
    if not reader.checked:
        raise BadFileError(f"{path} has no tensors", hint=hint)
    return GgufInfo(path, size, scalars, tuple(reader.checked))


def _reader_class() -> Any:
    """Return a GGUFReader that checks each offset; built late, since gguf is an extra."""
    try:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFValueType
    except ImportError:
        raise MissingExtraError("gguf", "gguf") from None

    class CheckedReader(GGUFReader):  # type: ignore[misc]
        checked: list[Tensor]

        def _get(self, offset: int, dtype: Any, count: Any = 1, override_order: Any = None) -> Any:
            import numpy as np

            wanted = int(count) * np.dtype(dtype).itemsize
            if offset < 0 or int(offset) + wanted > len(self.data):
                raise ValueError(
                    f"byte {int(offset)} and {wanted} more lie outside its {len(self.data)} bytes"
                )
            return super()._get(int(offset), dtype, count, override_order)

        def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
            if GGUFValueType(raw_type) != GGUFValueType.ARRAY:
                size, parts, data, types = super()._get_field_parts(orig_offs, raw_type)
                if size > MAX_STRING_BYTES:
                    raise ValueError(f"a string of {size} bytes at byte {orig_offs}")
                return size, parts, data, types
            return self._array_size(orig_offs), [], [], [GGUFValueType.ARRAY]

        def _array_size(self, start: int) -> int:
            import numpy as np

            item = GGUFValueType(int(self._get(start, np.uint32)[0]))
            length = int(self._get(start + 4, np.uint64)[0])
            if item == GGUFValueType.ARRAY:
                raise ValueError(f"an array of arrays at byte {start}")
            if item != GGUFValueType.STRING:
                width = int(np.dtype(self.gguf_scalar_to_np[item]).itemsize)
                self._get(start + 12, np.uint8, length * width)
                return 12 + length * width
            if length * 8 > len(self.data):
                raise ValueError(f"an array of {length} strings at byte {start}")
            end = start + 12
            for _ in range(length):
                if end + 8 > len(self.data):
                    raise ValueError(f"the strings at byte {start} run past its end")
                end += 8 + struct.unpack_from("<Q", self.data, end)[0]
            if end > len(self.data):
                raise ValueError(f"the strings at byte {start} run past its end")
            return end - start

        def _get_tensor_info_field(self, orig_offs: int) -> Any:
            import numpy as np

            name_bytes = int(self._get(orig_offs, np.uint64)[0])
            dimensions = int(self._get(orig_offs + 8 + name_bytes, np.uint32)[0])
            if not 0 < dimensions <= MAX_DIMENSIONS:
                raise ValueError(f"a tensor of {dimensions} dimensions at byte {orig_offs}")
            return super()._get_tensor_info_field(orig_offs)

        def _build_tensors(self, start_offs: int, fields: list[Any]) -> None:
            self.checked = [self._tensor(int(start_offs), field) for field in fields]
            if len({tensor.name for tensor in self.checked}) != len(self.checked):
                raise ValueError("two tensors have one name")

        def _tensor(self, start: int, field: Any) -> Tensor:
            _, _, _, dimensions, raw_type, offset = field.parts
            shape = tuple(int(size) for size in dimensions)
            name, block, block_bytes = _type_size(int(raw_type[0]))
            elements = 1
            for size in shape:
                elements *= size
            if elements <= 0 or shape[0] % block:
                raise ValueError(f"tensor {field.name!r} of shape {shape} can't be {name}")
            total = elements // block * block_bytes
            end = start + int(offset[0]) + total
            if end > len(self.data):
                raise ValueError(
                    f"tensor {field.name!r} ends at byte {end}, "
                    f"but the file has {len(self.data)}: it is cut short"
                )
            return Tensor(str(field.name), name, shape, elements, total)

        def scalars(self) -> dict[str, str | int | float | bool]:
            return {
                name: cast("str | int | float | bool", field.contents())
                for name, field in self.fields.items()
                if field.types and field.types[0] != GGUFValueType.ARRAY
            }

    def _type_size(raw: int) -> tuple[str, int, int]:
        if raw in NEWER_TYPES:
            name, block, size = NEWER_TYPES[raw]
            return name.lower(), block, size
        known = GGMLQuantizationType(raw)
        block, size = GGML_QUANT_SIZES[known]
        return known.name.lower(), int(block), int(size)

    return CheckedReader

"""The `gguf` package's reader, made to follow no offset that it has not checked.

Knows which of the reader's methods touch the file. Imports gguf, an extra: `gguf_file.py` loads it
where a file is read.
"""

from __future__ import annotations

import struct
from typing import Any, cast

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFValueType

from edgebench.records.limits import GGUF_FIELDS, GGUF_TENSORS, GGUF_TEXTS
from edgebench.sources.tensors import Tensor

MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
MAX_STRING_BYTES = 16 * 1024 * 1024
# Types that llama.cpp 0.3.36 writes and gguf 0.19 does not know: name, block, bytes a block.
NEWER_TYPES = {42: ("Q2_0", 64, 18)}


class CheckedReader(GGUFReader):  # type: ignore[misc]
    """Reads scalars, strings and the tensor table; steps over arrays; touches no tensor's data.

    Every method raises ValueError where the file points outside itself.
    """

    checked: list[Tensor]

    def scalars(self) -> dict[str, str | int | float | bool]:
        """Return all metadata but arrays."""
        return {
            name: cast("str | int | float | bool", field.contents())
            for name, field in self.fields.items()
            if field.types and field.types[0] != GGUFValueType.ARRAY
        }

    def _get(self, offset: int, dtype: Any, count: Any = 1, override_order: Any = None) -> Any:
        wanted = int(count) * np.dtype(dtype).itemsize
        if offset < 0 or int(offset) + wanted > len(self.data):
            raise ValueError(
                f"byte {int(offset)} and {wanted} more lie outside its {len(self.data)} bytes"
            )
        return super()._get(int(offset), dtype, count, override_order)

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
        if GGUFValueType(raw_type) == GGUFValueType.ARRAY:
            return self._array_size(orig_offs), [], [], [GGUFValueType.ARRAY]
        size, parts, data, types = super()._get_field_parts(orig_offs, raw_type)
        if size > MAX_STRING_BYTES:
            raise ValueError(f"a string of {size} bytes at byte {orig_offs}")
        return size, parts, data, types

    def _build_fields(self, offs: int, count: int) -> Any:
        if count > GGUF_FIELDS:
            raise ValueError(f"it says that it has {count} fields, more than {GGUF_FIELDS}")
        return super()._build_fields(offs, count)

    def _build_tensor_info(self, offs: int, all_tensor_count: int) -> Any:
        if all_tensor_count > GGUF_TENSORS:
            raise ValueError(
                f"it says that it has {all_tensor_count} tensors, more than {GGUF_TENSORS}"
            )
        return super()._build_tensor_info(offs, all_tensor_count)

    def _array_size(self, start: int) -> int:
        item = GGUFValueType(int(self._get(start, np.uint32)[0]))
        length = int(self._get(start + 4, np.uint64)[0])
        if item == GGUFValueType.ARRAY:
            raise ValueError(f"an array of arrays at byte {start}")
        if item == GGUFValueType.STRING:
            return self._strings_end(start, length) - start
        width = int(np.dtype(self.gguf_scalar_to_np[item]).itemsize)
        self._get(start + 12, np.uint8, length * width)
        return 12 + length * width

    def _strings_end(self, start: int, length: int) -> int:
        if length > GGUF_TEXTS or length * 8 > len(self.data):
            raise ValueError(f"an array of {length} strings at byte {start}")
        end, data, size_of = start + 12, memoryview(self.data), struct.Struct("<Q").unpack_from
        for _ in range(length):
            if end + 8 > len(data):
                break
            end += 8 + size_of(data, end)[0]
        else:
            if end <= len(data):
                return int(end)
        raise ValueError(f"the strings at byte {start} run past its end")

    def _get_tensor_info_field(self, orig_offs: int) -> Any:
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


def _type_size(raw: int) -> tuple[str, int, int]:
    if raw in NEWER_TYPES:
        name, block, size = NEWER_TYPES[raw]
        return name.lower(), block, size
    known = GGMLQuantizationType(raw)
    block, size = GGML_QUANT_SIZES[known]
    return known.name.lower(), int(block), int(size)

"""Importance matrices: read llama-imatrix's GGUF format and its older binary one; write the first.

An importance matrix is, for each tensor, the mean square of the activations per input column.
Both formats are read without trust. Source: llama.cpp's tools/imatrix and tools/quantize.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgebench.errors import BadFileError
from edgebench.sources.gguf_file import read_gguf

MAX_BYTES = 4 << 30
MAX_ENTRIES = 1_000_000
_SUMS, _COUNTS = ".in_sum2", ".counts"


def read_imatrix(path: Path) -> dict[str, Any]:
    """Return the mean squares, float32 arrays [columns x experts], by the GGUF's tensor names.

    Raises BadFileError where the file is neither format, is cut short or holds no finite numbers.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadFileError(f"{path} is too large for an importance matrix")
        with path.open("rb") as file:
            magic = file.read(4)
        means = _read_gguf(path) if magic == b"GGUF" else _read_legacy(path.read_bytes())
    except OSError as error:
        raise BadFileError(f"can't read {path}: {error.strerror}") from None
    except (ValueError, struct.error, KeyError) as error:
        raise BadFileError(
            f"{path} isn't an importance matrix: {str(error)[:200]}",
            hint="give a file that llama-imatrix wrote, or --imatrix auto",
        ) from None
    import numpy as np

    for name, values in means.items():
        if not np.isfinite(values).all() or (values < 0).any():
            raise BadFileError(f"{path}: {name[:80]!r} holds numbers that aren't mean squares")
    return means


def _read_gguf(path: Path) -> dict[str, Any]:
    import numpy as np
    from gguf import GGUFReader

    read_gguf(path)  # every offset is checked before the reader follows it
    tensors = {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}
    means: dict[str, Any] = {}
    for name, sums in tensors.items():
        if not name.endswith(_SUMS):
            continue
        stem = name.removesuffix(_SUMS)
        counts = np.asarray(tensors[stem + _COUNTS], np.float32).reshape(-1, 1)
        rows = np.asarray(sums, np.float32).reshape(len(counts), -1)
        # An expert that was never asked has no say: all its columns weigh the same.
        mean = np.where(counts > 0, rows / np.maximum(counts, 1), np.float32(1))
        means[stem] = np.ascontiguousarray(mean.reshape(-1), dtype=np.float32)
    if not means:
        raise ValueError("it has no sums of squares")
    return means


def _read_legacy(raw: bytes) -> dict[str, Any]:
    import numpy as np

    (entries,) = struct.unpack_from("<i", raw, 0)
    if not 0 < entries <= MAX_ENTRIES:
        raise ValueError(f"it would have {entries} entries")
    means: dict[str, Any] = {}
    at = 4
    for _ in range(entries):
        (length,) = struct.unpack_from("<i", raw, at)
        if not 0 < length <= 1024 or at + 4 + length > len(raw):
            raise ValueError(f"a name of {length} bytes at byte {at}")
        name = raw[at + 4 : at + 4 + length].decode()
        at += 4 + length
        calls, count = struct.unpack_from("<ii", raw, at)
        if count <= 0 or at + 8 + 4 * count > len(raw):
            raise ValueError(f"{count} values at byte {at}")
        values = np.frombuffer(raw, "<f4", count, at + 8)
        means[name] = (values / calls if calls > 0 else values).astype(np.float32)
        at += 8 + 4 * count
    return means  # a count of chunks and the calibration file's name may follow


def write_imatrix(path: Path, sums: Mapping[str, Any], tokens: int, chunk: int, text: str) -> None:
    """Write sums of squares over `tokens` tokens as today's llama-imatrix does."""
    import numpy as np
    from gguf import GGUFWriter

    writer = GGUFWriter(path, arch="")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", [text])
    writer.add_uint32("imatrix.chunk_count", tokens // chunk)
    writer.add_uint32("imatrix.chunk_size", chunk)
    for name in sorted(sums):
        writer.add_tensor(name + _SUMS, sums[name].reshape(1, -1).astype(np.float32))
        writer.add_tensor(name + _COUNTS, np.full((1, 1), tokens, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

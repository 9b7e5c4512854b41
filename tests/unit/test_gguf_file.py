"""GGUF files are not trusted: every size and offset is checked before it is used."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.errors import BadFileError
from edgebench.sources.gguf_file import read_gguf

gguf = pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def good() -> Iterator[bytes]:
    """Return a small whole file: two tensors, arrays of strings and of numbers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "good.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_context_length(512)
        writer.add_file_type(7)
        writer.add_array("tokenizer.ggml.tokens", ["a", "bc", "", "d" * 40])
        writer.add_array("tokenizer.ggml.scores", [0.5, 1.5, 2.5])
        writer.add_tensor("token_embd.weight", np.ones((4, 64), np.float32))
        writer.add_tensor(
            "blk.0.w", gguf.quantize(np.ones((8, 64), np.float32), gguf.GGMLQuantizationType.Q8_0),
            raw_dtype=gguf.GGMLQuantizationType.Q8_0,
        )  # fmt: skip
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        yield path.read_bytes()


def read(raw: bytes) -> object:
    """Read bytes as a file; return the error's message where they are refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.gguf"
        path.write_bytes(raw)
        try:
            return read_gguf(path)
        except BadFileError as error:
            refused = error
    assert (refused.exit_code, "x.gguf" in refused.message, bool(refused.hint)) == (4, True, True)
    return refused.message


def test_whole_file_is_read(good: bytes, tmp_path: Path) -> None:
    """Level, parameters, bits and context are those that were written."""
    path = tmp_path / "good.gguf"
    path.write_bytes(good)
    info = read_gguf(path)
    assert (info.architecture, info.level, info.quantized) == ("llama", "q8_0", True)
    assert info.parameters == 4 * 64 + 8 * 64
    assert info.tensor_types == {"f32": 1, "q8_0": 1}
    assert info.integer("context_length") == 512
    assert info.bits_per_weight == pytest.approx((256 * 32 + 512 * 8.5) / 768)


def test_file_cut_anywhere_is_refused(good: bytes) -> None:
    """No prefix of a file is a file."""
    for end in range(0, len(good), 5):
        assert isinstance(read(good[:end]), str), end


@given(st.data())
def test_flipped_bytes_never_do_more_than_fail(good: bytes, data: st.DataObject) -> None:
    """Any change of any bytes reads, or is refused with one clear error."""
    raw = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(raw))


@given(st.binary(max_size=400))
def test_random_bytes_after_the_magic_are_refused(raw: bytes) -> None:
    """Noise is no model."""
    assert isinstance(read(b"GGUF" + struct.pack("<I", 3) + raw), str)


def header(tensors: int, pairs: int) -> bytes:
    """Return the head of a version 3 file."""
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs)


def text(raw: bytes, length: int | None = None) -> bytes:
    """Return a string with its length, or with a wrong one."""
    return struct.pack("<Q", len(raw) if length is None else length) + raw


HUGE = 2**63
HOSTILE = {
    "tensor count": header(HUGE, 0),
    "pair count": header(0, HUGE),
    "key length": header(0, 1) + text(b"k", HUGE),
    "string length": header(0, 1) + text(b"k") + struct.pack("<I", 8) + text(b"v", 2**64 - 1),
    "array length": header(0, 1) + text(b"k") + struct.pack("<IIQ", 9, 4, HUGE),
    "array of strings": header(0, 1) + text(b"k") + struct.pack("<IIQ", 9, 8, 2**40),
    "array of arrays": header(0, 1) + text(b"k") + struct.pack("<IIQ", 9, 9, 1) + b"\0" * 40,
    "value type": header(0, 1) + text(b"k") + struct.pack("<I", 77),
    "dimensions": header(1, 0) + text(b"t") + struct.pack("<I", 2**31),
    "overflow": header(1, 0)
    + text(b"t")
    + struct.pack("<IQQQQIQ", 4, 2**32, 2**32, 2**32, 2**32, 0, 0),
    "offset": header(1, 0) + text(b"t") + struct.pack("<IQIQ", 1, 32, 0, HUGE) + b"\0" * 512,
    "tensor type": header(1, 0) + text(b"t") + struct.pack("<IQIQ", 1, 32, 999, 0) + b"\0" * 512,
    "version": b"GGUF" + struct.pack("<IQQ", 99, 0, 0),
    "no tensors": header(0, 0),
    "twins": header(2, 0) + (text(b"t") + struct.pack("<IQIQ", 1, 32, 0, 0)) * 2 + b"\0" * 512,
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_figures_are_refused(name: str) -> None:
    """Counts, lengths, offsets and types that point anywhere: refused before they are followed."""
    assert isinstance(read(HOSTILE[name]), str)


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".ckpt", ".pkl"])
def test_pickles_are_refused_by_name(tmp_path: Path, suffix: str) -> None:
    """A pickle is not even opened."""
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"\x80\x04")
    with pytest.raises(BadFileError, match="is a pickle, which can run code"):
        read_gguf(path)

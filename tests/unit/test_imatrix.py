"""Importance matrices in both formats, and files that are none."""

from __future__ import annotations

import contextlib
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.errors import BadFileError

pytest.importorskip("gguf")

from edgebench.convert.gguf.imatrix_file import read_imatrix, write_imatrix

MEANS = {
    "blk.0.attn_q.weight": np.linspace(0.5, 2, 64, dtype=np.float32),
    "blk.0.ffn_down.weight": np.linspace(0, 9, 128, dtype=np.float32),
}


def legacy(means: dict[str, np.ndarray], calls: int = 10) -> bytes:
    """Return the older format as llama-imatrix wrote it."""
    raw = struct.pack("<i", len(means))
    for name, values in means.items():
        raw += struct.pack("<i", len(name)) + name.encode()
        raw += struct.pack("<ii", calls, len(values)) + (values * calls).astype("<f4").tobytes()
    return raw + struct.pack("<ii", calls, 4) + b"text"


def test_both_formats_give_the_same_means(tmp_path: Path) -> None:
    """Sums over tokens in the new format, over calls in the old one."""
    (tmp_path / "old.dat").write_bytes(legacy(MEANS))
    sums = {name: values * 512 for name, values in MEANS.items()}
    write_imatrix(tmp_path / "new.gguf", sums, tokens=512, chunk=512, text="t")
    for path in (tmp_path / "old.dat", tmp_path / "new.gguf"):
        found = read_imatrix(path)
        assert found.keys() == MEANS.keys()
        for name, values in MEANS.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-6)


@given(st.integers(0, len(legacy(MEANS)) - 13))
def test_a_file_cut_short_is_a_bad_file(length: int) -> None:
    """Wherever the older format ends early."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cut.dat"
        path.write_bytes(legacy(MEANS)[:length])
        with pytest.raises(BadFileError, match="isn't an importance matrix"):
            read_imatrix(path)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_matrix_or_one_clear_error(raw: bytes) -> None:
    """No other exception."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any"
        path.write_bytes(raw)
        with contextlib.suppress(BadFileError):
            read_imatrix(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_numbers_that_are_no_mean_squares_are_refused(tmp_path: Path, value: float) -> None:
    """They would decide which weights matter."""
    path = tmp_path / "x.dat"
    path.write_bytes(legacy({"a": np.array([1, value], np.float32)}))
    with pytest.raises(BadFileError, match="aren't mean squares"):
        read_imatrix(path)

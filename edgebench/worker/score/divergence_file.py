"""What is kept of a divergence's reference, in memory and in a file of its own format.

A file is data from elsewhere: lengths, ranges and its sum are checked, and nothing is unpacked
beyond what was announced. Knows arrays; evaluates nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebench.errors import BadFileError
from edgebench.records.json_text import parse_json
from edgebench.records.limits import LARGEST_REAL

CHUNK = 512  # as llama-perplexity: the second half of each chunk is scored,
FIRST = CHUNK // 2
ROWS = CHUNK - FIRST - 1  # all but the last row, whose next token is not in the chunk
STEP = 1e-4  # of square roots of probabilities, so that each likely token costs the same bias
TAIL_STEPS = 64  # to a nat, for sampled tokens
LARGEST_VOCABULARY = 1 << 20
MOST_KEPT = 1 << 24  # tokens in a chunk
MAGIC = b"EDGEDIV1"


@dataclass(frozen=True)
class Part:
    """Some tokens of each row of a chunk: counts [ROWS], ids and levels [sum of counts]."""

    counts: Any
    ids: Any
    levels: Any


@dataclass(frozen=True)
class Reference:
    """What is kept of a reference: chunks of tokens and the distribution at their scored rows.

    tokens [chunks, CHUNK]; nll, top and rest [chunks, ROWS]: the true next token's negative
    log-likelihood in nats, the likeliest token, and the mass of tokens less likely than `exact`,
    which are kept as a sample; packed: both Parts of each chunk; text_bytes: of the true next
    tokens.
    """

    vocabulary: int
    exact: float
    text_bytes: int
    tokens: Any
    nll: Any
    top: Any
    rest: Any
    packed: tuple[bytes, ...]

    @property
    def truncated_mass(self) -> float:
        """Return the mean mass that is not kept token by token, but as a sample."""
        return float(self.rest.mean())

    @property
    def most_truncated_mass(self) -> float:
        """Return the largest such mass of a row."""
        return float(self.rest.max())

    @property
    def perplexity(self) -> float | None:
        """Return the reference's own perplexity of the true next tokens; None beyond any number."""
        return perplexity_of(self.nll)

    @property
    def bits_per_byte(self) -> float:
        """Return the reference's own bits for each byte of text."""
        return bits_per_byte(self.nll, self.text_bytes)


def perplexity_of(nll: Any) -> float | None:
    """Return e to the mean of nats; None where that is larger than what a record takes."""
    mean = float(nll.mean())
    return math.exp(mean) if mean < math.log(LARGEST_REAL) else None


def bits_per_byte(nll: Any, text_bytes: int) -> float:
    """Return the bits that the text's tokens cost, for each byte of it."""
    return float(nll.sum(dtype="float64")) / math.log(2) / max(1, text_bytes)


def pack(likely: Part, sampled: Part) -> bytes:
    """Pack a chunk: counts, then steps from id to id and levels, in planes of bytes, deflated."""
    import numpy as np

    raw = [part.counts.astype("<u4").tobytes() for part in (likely, sampled)]
    for part in (likely, sampled):
        steps = np.diff(part.ids, prepend=0)
        first = _firsts(part.counts)
        steps[first] = part.ids[first]
        raw += [(steps >> shift).astype(np.uint8).tobytes() for shift in (0, 8, 16)]
        raw += [(part.levels >> shift).astype(np.uint8).tobytes() for shift in (0, 8)]
    packer = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    return b"".join([*(packer.compress(plane) for plane in raw), packer.flush()])


def _firsts(counts: Any) -> Any:
    """Return where the rows that have any tokens begin."""
    return (counts.cumsum() - counts)[counts > 0]


def unpack(packed: bytes, vocabulary: int) -> tuple[Part, Part]:
    """Read the likely and the sampled tokens of a chunk; raise BadFileError where they are none.

    Nothing is unpacked beyond what the counts ask for, nor more than MOST_KEPT tokens.
    """
    import numpy as np

    reader = zlib.decompressobj()
    try:
        raw = reader.decompress(packed, 8 * ROWS)
        counts = np.frombuffer(raw, "<u4").astype(np.int64).reshape(2, ROWS)
        size = 5 * int(counts.sum())
        if not 0 < size <= 5 * MOST_KEPT:
            raise ValueError("the counts are out of range")
        raw = reader.decompress(reader.unconsumed_tail, size)
        rest = reader.decompress(reader.unconsumed_tail, 1)
        if len(raw) != size or rest or not reader.eof or reader.unused_data:
            raise ValueError("the counts are not those of the tokens")
        cut = 5 * int(counts[0].sum())
        return (
            _unpack_part(raw[:cut], counts[0], vocabulary),
            _unpack_part(raw[cut:], counts[1], vocabulary),
        )
    except (ValueError, zlib.error) as error:
        raise BadFileError(f"a chunk of the reference can't be read: {error}") from None


def _unpack_part(raw: bytes, counts: Any, vocabulary: int) -> Part:
    import numpy as np

    planes = np.frombuffer(raw, np.uint8).reshape(5, -1).astype(np.int64)
    steps = planes[0] | planes[1] << 8 | planes[2] << 16
    ends, first = steps.cumsum(), _firsts(counts)
    ids = ends - np.repeat(ends[first] - steps[first], counts[counts > 0])
    rising = steps > 0
    rising[first] = True
    if not rising.all() or (ids.size and int(ids.max()) >= vocabulary):
        raise ValueError("the tokens are out of range or order")
    return Part(counts, ids, planes[3] | planes[4] << 8)


_ARRAYS = {"tokens": "<i4", "nll": "<f4", "top": "<i4", "rest": "<f4"}


def save(path: Path, reference: Reference) -> None:
    """Write a reference, complete or not at all: MAGIC, sum of what follows, header, body."""
    arrays = [getattr(reference, name).astype(kind).tobytes() for name, kind in _ARRAYS.items()]
    header = json.dumps({
        "vocabulary": reference.vocabulary, "exact": reference.exact,
        "text_bytes": reference.text_bytes, "sizes": [len(chunk) for chunk in reference.packed],
    }).encode()  # fmt: skip
    content = b"".join([struct.pack("<I", len(header)), header, *arrays, *reference.packed])
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(MAGIC + hashlib.sha256(content).digest() + content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


def load(path: Path) -> Reference:
    """Read a reference and check all of it; raise BadFileError where it is none."""
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC) + 32)
            if start[: len(MAGIC)] != MAGIC:
                raise ValueError("it begins otherwise")
            content = file.read()
        if hashlib.sha256(content).digest() != start[len(MAGIC) :] or len(content) < 4:
            raise ValueError("it was cut off or changed")
        end = 4 + struct.unpack_from("<I", content)[0]
        return _read(parse_json(content[4:end]), content[end:])
    except BadFileError as error:
        raise BadFileError(f"{path}: {error.message}") from None
    except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise BadFileError(f"{path} isn't a divergence reference: {str(error)[:200]}") from None


def _read(header: Any, body: bytes) -> Reference:
    """Make a reference of a file's header and the rest of it; raise ValueError on a bad one."""
    import numpy as np

    vocabulary, text_bytes, sizes = (header[key] for key in ("vocabulary", "text_bytes", "sizes"))
    exact = float(header["exact"])
    if not all(type(count) is int and count > 0 for count in (vocabulary, text_bytes, *sizes)):
        raise ValueError("its header holds no counts")
    if vocabulary > LARGEST_VOCABULARY or not 1e-9 <= exact < 1 or len(sizes) < 2:
        raise ValueError("its header is out of range")
    arrays, at = {}, 0
    for name, kind in _ARRAYS.items():
        shape = (len(sizes), CHUNK if name == "tokens" else ROWS)
        arrays[name] = np.frombuffer(body, kind, shape[0] * shape[1], at).reshape(shape)
        at += arrays[name].nbytes
    if at + sum(sizes) != len(body):
        raise ValueError("its parts are not as long as its header says")
    if any(
        ((tokens < 0) | (tokens >= vocabulary)).any()
        for tokens in (arrays["tokens"], arrays["top"])
    ):
        raise ValueError("its tokens are out of range")
    finite = np.isfinite(arrays["nll"]).all() and np.isfinite(arrays["rest"]).all()
    if not finite or not ((arrays["rest"] >= 0) & (arrays["rest"] <= 1)).all():
        raise ValueError("its masses are out of range")
    ends = [at + sum(sizes[:index]) for index in range(len(sizes) + 1)]
    packed = tuple(body[a:b] for a, b in itertools.pairwise(ends))
    for chunk in packed:
        unpack(chunk, vocabulary)
    return Reference(vocabulary, exact, text_bytes, packed=packed, **arrays)

"""Divergence: known truths, the sampled sum against the full one, and files that lie."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebench.errors import BadFileError, EdgebenchError
from edgebench.worker.score import divergence_file
from edgebench.worker.score.divergence import (
    chunks_of,
    measure_divergence,
    measure_reference,
)
from edgebench.worker.score.divergence_file import CHUNK, FIRST, ROWS, Reference, load, save

VOCABULARY = 3000
Logits = Callable[[np.random.Generator, tuple[int, int]], Any]


class Table:
    """A session that gives prepared logits [chunks, rows, vocabulary], chunk after chunk."""

    def __init__(self, logits: Any, threads: int = 2) -> None:
        self.info = SimpleNamespace(threads=threads)
        self.vocabulary = logits.shape[-1]
        self._logits = iter(logits)

    def logits(self, tokens: Sequence[int], start: int) -> Any:
        """Return the next chunk's logits, the last row's included."""
        assert (len(tokens), start) == (CHUNK, FIRST)
        found = next(self._logits)
        return np.concatenate([found, np.full((1, self.vocabulary), np.nan)])

    def text(self, tokens: Sequence[int]) -> str:
        """Return two letters a token."""
        return "ab" * len(tokens)


def make_chunks(count: int, vocabulary: int = VOCABULARY) -> list[list[int]]:
    """Return chunks of tokens."""
    rng = np.random.default_rng(1)
    return [[int(one) for one in row] for row in rng.integers(0, vocabulary, (count, CHUNK))]


def spread(seed: int, scale: float = 2.5, count: int = 2, vocabulary: int = VOCABULARY) -> Any:
    """Return random logits whose likeliest tokens stand out, as a language model's do."""
    rng = np.random.default_rng(seed)
    found = rng.normal(0, scale, (count, ROWS, vocabulary))
    found[:, :, :20] += 6
    return found.astype(np.float32)


def log_softmax(logits: Any) -> Any:
    """Return log-probabilities, in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def full_kld(reference: Any, level: Any) -> Any:
    """Return the divergence of every row over the whole vocabulary."""
    p, q = log_softmax(reference), log_softmax(level)
    return (np.exp(p) * (p - q)).sum(axis=-1)


def made(logits: Any, **options: Any) -> Reference:
    """Return what is kept of these logits."""
    chunks = make_chunks(len(logits), logits.shape[-1])
    return measure_reference(Table(logits), chunks, **options)  # type: ignore[arg-type]


def compared(reference: Reference, logits: Any) -> Any:
    """Compare logits with a reference."""
    return measure_divergence(Table(logits), reference)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def logits() -> Any:
    """Return a reference's logits."""
    return spread(1)


@pytest.fixture(scope="module")
def reference(logits: Any) -> Reference:
    """Return what is kept of them, with more of a tail than usual being sampled."""
    return made(logits, exact=1e-3)


def test_chunks_are_cut_as_llama_perplexity_cuts_them() -> None:
    """Chunks follow each other; what does not fill one is left out; `most` is kept to."""
    tokens = list(range(3 * CHUNK + 7))
    assert chunks_of(tokens, None, 99) == [tokens[i * CHUNK :][:CHUNK] for i in range(3)]
    assert len(chunks_of(tokens, None, 2)) == 2
    assert chunks_of(tokens[: CHUNK - 1], None, 2) == []


def test_start_token_shifts_the_text_and_begins_each_chunk() -> None:
    """BOS goes in front of the text, and then takes the place of each chunk's first token."""
    found = chunks_of(range(2 * CHUNK - 1), 9999, 99)
    text = [9999, *range(2 * CHUNK - 1)]
    assert found == [text[:CHUNK], [9999, *text[CHUNK + 1 :]]]


def test_reference_does_not_diverge_from_itself(reference: Reference, logits: Any) -> None:
    """The divergence from itself is 0 to rounding, the likeliest tokens are the same."""
    rows = compared(reference, logits)
    assert rows.mean_kld().value == pytest.approx(0, abs=1e-5)
    assert np.abs(rows.kld).max() < 1e-4
    assert rows.least_kld == pytest.approx(0, abs=1e-5)
    assert rows.share_same_top().value == 1
    assert rows.nll == pytest.approx(reference.nll, abs=1e-6)


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.5])
def test_mean_agrees_with_the_full_sum(reference: Reference, logits: Any, noise: float) -> None:
    """With 6 % of the mass kept as a sample, near and far levels come out within 2 %."""
    level = logits + np.random.default_rng(2).normal(0, noise, logits.shape).astype(np.float32)
    rows, full = compared(reference, level), full_kld(logits, level)
    assert 0.03 < reference.truncated_mass < reference.most_truncated_mass < 0.3
    assert rows.mean_kld().value == pytest.approx(full.mean(), rel=0.02)
    assert rows.p99_kld == pytest.approx(np.quantile(full, 0.99), rel=0.05)
    assert rows.mean_kld().n == 2


@pytest.mark.parametrize(("noise", "spread_of"), [(0.0, 2.5), (0.02, 2.5), (0.02, 1.5)])
def test_rounding_adds_next_to_nothing(noise: float, spread_of: float) -> None:
    """Where the divergence is 2e-4 or none at all, it is right to 5e-7: 0.3 %, not 4 %."""
    logits = spread(1, spread_of, vocabulary=12_000)
    level = logits + np.random.default_rng(2).normal(0, noise, logits.shape).astype(np.float32)
    rows, full = compared(made(logits), level), full_kld(logits, level).mean()
    assert full == pytest.approx(2e-4, rel=0.2) if noise else full == 0
    assert rows.kld.mean() == pytest.approx(full, abs=5e-7)
    assert rows.least_kld <= full + 5e-7


def test_a_token_that_only_the_level_likes_is_not_missed(logits: Any) -> None:
    """The level puts half its mass on a token that the reference all but excludes."""
    logits = logits.copy()
    logits[:, :, 100] = -20
    level = logits.copy()
    level[:, :, 100] = level.max(axis=-1)
    rows = compared(made(logits, exact=1e-3), level)
    assert rows.mean_kld().value == pytest.approx(full_kld(logits, level).mean(), rel=0.01)


def test_bound_agrees_with_scipy_over_merged_bins(reference: Reference, logits: Any) -> None:
    """The bound is the divergence of the kept tokens with all others as one bin."""
    stats = pytest.importorskip("scipy.stats")
    level = spread(7)
    rows = compared(reference, level)
    for row in range(0, ROWS, 50):
        p, q = (np.exp(log_softmax(one[1, row])) for one in (logits, level))
        kept = p >= 1e-3
        p, q = (np.append(one[kept], one[~kept].sum()) for one in (p, q))
        assert rows.bound[1, row] == pytest.approx(stats.entropy(p, q), rel=1e-3)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 6.0), st.floats(0.0, 3.0))
def test_bound_is_below_and_near_the_full_sum(seed: int, scale: float, noise: float) -> None:
    """Over random logits the bound never exceeds the full sum, and the estimate is near it."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, scale, (2, ROWS, 200)).astype(np.float32)
    level = truth + rng.normal(0, noise, truth.shape).astype(np.float32)
    rows, full = compared(made(truth, exact=1e-3), level), full_kld(truth, level)
    assert (rows.bound <= full + 1e-3 * (1 + full)).all()
    assert rows.least_kld <= full.mean() * (1 + 1e-4) + 1e-5
    assert (rows.bound >= -1e-5).all()
    assert rows.kld.mean() == pytest.approx(full.mean(), rel=0.02, abs=2e-5)


def test_more_is_kept_where_asked(logits: Any) -> None:
    """A smaller `exact` leaves less to the sample; at 1e-7 the bound is the full sum."""
    level = spread(7)
    some, all_of_it = made(logits, exact=1e-4), made(logits, exact=1e-7)
    assert all_of_it.truncated_mass < 1e-3 < some.truncated_mass
    assert len(all_of_it.packed[0]) > len(some.packed[0])
    full = full_kld(logits, level).mean()
    assert compared(all_of_it, level).least_kld == pytest.approx(full, rel=2e-3)


def test_perplexity_of_a_uniform_model_is_its_vocabulary() -> None:
    """Where all tokens are alike, perplexity is their number; a token of two bytes, its bits."""
    flat = np.zeros((2, ROWS, 1024), np.float32)
    found = made(flat)
    rows = compared(found, flat)
    assert (found.perplexity, rows.perplexity) == pytest.approx((1024, 1024), rel=1e-5)
    assert (found.bits_per_byte, rows.bits_per_byte) == pytest.approx((5, 5), rel=1e-5)
    assert rows.mean_kld().value == pytest.approx(0, abs=2e-6)  # all round alike here


def test_a_uniform_model_may_be_kept_as_a_sample_alone() -> None:
    """No token is likely enough to be kept for sure; what is sampled still tells."""
    flat = np.zeros((2, ROWS, 1024), np.float32)
    level = np.random.default_rng(3).normal(0, 0.3, flat.shape).astype(np.float32)
    found = made(flat, exact=2e-3)
    assert found.truncated_mass == 1
    assert compared(found, level).least_kld == pytest.approx(0, abs=1e-9)
    full = full_kld(flat, level).mean()
    assert compared(found, level).mean_kld().value == pytest.approx(full, rel=0.02)


def test_likelihood_is_that_of_the_next_token(reference: Reference, logits: Any) -> None:
    """Row i is scored by token i + 1 of the chunk; the last token has no row."""
    targets = np.array(make_chunks(2))[:, FIRST + 1 :]
    p = log_softmax(logits)
    truth = -np.take_along_axis(p, targets[:, :, None], axis=2)[:, :, 0]
    assert reference.nll == pytest.approx(truth, abs=1e-5)
    assert reference.perplexity == pytest.approx(math.exp(truth.mean()), rel=1e-5)
    assert reference.text_bytes == 2 * 2 * ROWS


def test_threads_do_not_change_a_figure(logits: Any) -> None:
    """One thread and five keep the same bytes."""
    kept = []
    for threads in (1, 5):
        table: Any = Table(logits, threads)
        kept.append(measure_reference(table, make_chunks(2)).packed)
    assert kept[0] == kept[1]


def test_progress_is_told_chunk_by_chunk(logits: Any) -> None:
    """The caller hears of each chunk that is done."""
    told: list[tuple[int, int]] = []
    table: Any = Table(logits)
    measure_reference(table, make_chunks(2), lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


def test_padded_vocabularies_are_compared_over_the_smaller_one(logits: Any) -> None:
    """Logits padded beyond the tokenizer's vocabulary change nothing, on either side."""
    level = spread(7)
    padding = np.full((2, ROWS, 64), -30, np.float32)
    wide, wide_level = (np.concatenate([one, padding], axis=2) for one in (logits, level))
    chunks = make_chunks(2)
    table: Any = Table(wide)
    truth = compared(made(logits), level).mean_kld().value
    assert compared(made(logits), wide_level).mean_kld().value == pytest.approx(truth, rel=1e-6)
    padded = measure_reference(table, chunks)
    assert compared(padded, level).mean_kld().value == pytest.approx(truth, rel=1e-3)


def test_another_vocabulary_is_refused(reference: Reference) -> None:
    """Where likely tokens are missing from the level's vocabulary, both numbers are named."""
    with pytest.raises(EdgebenchError, match=r"2000 tokens .* 3000"):
        compared(reference, spread(1, vocabulary=2000))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_refused(logits: Any, value: float) -> None:
    """A broken model is an error, not a figure."""
    broken = logits.copy()
    broken[1, 3, 5] = value
    with pytest.raises(EdgebenchError, match="not finite"):
        made(broken)
    with pytest.raises(EdgebenchError, match="not finite"):
        compared(made(logits), broken)


def test_one_chunk_is_refused(logits: Any) -> None:
    """One chunk has no interval."""
    with pytest.raises(EdgebenchError, match="two are the least"):
        made(logits[:1])


def test_file_brings_back_what_was_saved(reference: Reference, tmp_path: Path) -> None:
    """Saving and loading change nothing, and leave one file."""
    path = tmp_path / "one.reference"
    save(path, reference)
    found = load(path)
    for field in dataclasses.fields(Reference):
        before, after = getattr(reference, field.name), getattr(found, field.name)
        assert np.array_equal(before, after), field.name
    assert list(tmp_path.iterdir()) == [path]


def test_failed_save_leaves_nothing(reference: Reference, tmp_path: Path) -> None:
    """Where the file can't be put in place, what was there stays and no part is left."""
    taken = tmp_path / "folder"
    (taken / "inner").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        save(taken, reference)
    assert list(tmp_path.iterdir()) == [taken]


def rewritten(raw: bytes, change: Callable[[dict[str, Any], bytearray], object]) -> bytes:
    """Change a file's header and body, and make its sum right again, as a forger would."""
    start = len(divergence_file.MAGIC) + 32
    end = start + 4 + struct.unpack_from("<I", raw, start)[0]
    header, body = json.loads(raw[start + 4 : end]), bytearray(raw[end:])
    change(header, body)
    line = json.dumps(header).encode()
    content = struct.pack("<I", len(line)) + line + bytes(body)
    return divergence_file.MAGIC + hashlib.sha256(content).digest() + content


TOKENS_BYTES = 2 * CHUNK * 4
FORGERIES: dict[str, Callable[[dict[str, Any], bytearray], object]] = {
    "token": lambda header, body: body.__setitem__(slice(0, 4), b"\xff\xff\xff\x7f"),
    "nan": lambda header, body: body.__setitem__(
        slice(TOKENS_BYTES, TOKENS_BYTES + 4), struct.pack("<f", math.nan)
    ),
    "vocabulary": lambda header, body: header.update(vocabulary=50),
    "huge vocabulary": lambda header, body: header.update(vocabulary=1 << 40),
    "sizes": lambda header, body: header.update(sizes=[10, 10]),
    "many sizes": lambda header, body: header.update(sizes=[1] * 100_000),
    "size that is none": lambda header, body: header.update(sizes=[1.5, True]),
    "no sizes": lambda header, body: header.update(sizes=None),
    "exact": lambda header, body: header.update(exact="NaN"),
    "text": lambda header, body: header.update(text_bytes=-1),
    "list": lambda header, body: header.update(vocabulary=[3000]),
    "missing": lambda header, body: header.pop("exact"),
    "deflate": lambda header, body: body.__setitem__(slice(-40, -20), b"\0" * 20),
    "more": lambda header, body: body.extend(b"more"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_file_is_refused(reference: Reference, tmp_path: Path, name: str) -> None:
    """A file whose sum is right and whose content is not is refused with one line."""
    path = tmp_path / "one.reference"
    save(path, reference)
    path.write_bytes(rewritten(path.read_bytes(), FORGERIES[name]))
    with pytest.raises(BadFileError, match=r"one\.reference") as caught:
        load(path)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("keep", [0, 5, 12, 100, 5000, -1])
def test_cut_file_is_refused(reference: Reference, tmp_path: Path, keep: int) -> None:
    """A file that was not copied whole is refused."""
    path = tmp_path / "one.reference"
    save(path, reference)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadFileError):
        load(path)


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_changed_byte_is_refused(data: st.DataObject, tmp_path_factory: Any) -> None:
    """Whichever byte is changed, the file is refused."""
    path = tmp_path_factory.getbasetemp() / "flipped.reference"
    if not path.with_suffix(".whole").exists():
        save(path.with_suffix(".whole"), made(spread(5, vocabulary=100)))
    raw = bytearray(path.with_suffix(".whole").read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    with pytest.raises(BadFileError):
        load(path)


def test_bomb_is_not_unpacked() -> None:
    """Counts that announce more than a chunk can hold are refused before anything is unpacked."""
    counts = np.full(2 * ROWS, 2**31, "<u4").tobytes()
    with pytest.raises(BadFileError, match="out of range"):
        divergence_file.unpack(zlib.compress(counts + bytes(10_000_000)), VOCABULARY)
    counts = np.full(2 * ROWS, 1, "<u4").tobytes()
    with pytest.raises(BadFileError, match="not those of the tokens"):
        divergence_file.unpack(zlib.compress(counts + bytes(10_000_000)), VOCABULARY)

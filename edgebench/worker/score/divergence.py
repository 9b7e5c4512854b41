"""Divergence of a level from its reference: what is kept of the reference, and the arithmetic.

Rows are those that `llama-perplexity --kl-divergence` scores. Of the reference's distribution at
a row all tokens of probability `exact` and more are kept, and of the less likely ones a sample:
each with a chance in proportion to its probability. Cutting off at a small mass instead takes
thousands of tokens a row; cutting off at the sample's mass loses that part of the divergence. The
sampled part of the sum is an unbiased estimate (Horvitz & Thompson 1952); the sum without it, the
sampled mass being one bin, is a lower bound (data processing inequality), and is given as well.
Both are kept rounded. What rounding adds on average is known and taken off again; about 1e-7 nats
are left (it would be 1e-6 to 6e-6, up to 4 % of a divergence of 2e-4). A divergence that is next to
none can therefore come out a little below 0.

Knows arrays and the roles of a session; not how a reference lies on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from edgebench.errors import EdgebenchError
from edgebench.records.base import Estimate
from edgebench.stats.chunks import mean_of_chunks, share_of_chunks
from edgebench.stats.logits import sum_row
from edgebench.worker.runtimes import Scored, Tokens
from edgebench.worker.score.divergence_file import (
    CHUNK,
    FIRST,
    ROWS,
    STEP,
    TAIL_STEPS,
    Part,
    Reference,
    bits_per_byte,
    pack,
    perplexity_of,
    unpack,
)

EXACT = 1e-4  # smaller keeps more: 3e-5 doubles the file and halves the noise
SEED = 20602164
ALIKE = 0.25  # nats between the sampled masses, below which the second-order sum is used
TINY = 1e-12
# What rounding adds: 2 x the variance of a rounded square root for each token that is kept, and,
# where the second-order sum is used, half that of a rounded logarithm for the sampled mass.
ROUNDED_TOKEN = 2 * STEP**2 / 12
ROUNDED_TAIL = 0.5 / TAIL_STEPS**2 / 12

Progress = Callable[[int, int], None]


class Distributions(Tokens, Scored, Protocol):
    """What gives next-token distributions over a text."""


@dataclass(frozen=True)
class DivergenceRows:
    """A level against its reference, [chunks, ROWS] each, in nats.

    kld is the estimate; bound the lower bound that takes no sample; nll of the true next token;
    same_top whether both have the same likeliest token.
    """

    kld: Any
    bound: Any
    nll: Any
    same_top: Any
    text_bytes: int

    @property
    def chunk_kld(self) -> list[float]:
        """Return each chunk's mean divergence."""
        return [float(mean) for mean in self.kld.mean(axis=1)]

    def mean_kld(self) -> Estimate:
        """Estimate the mean divergence over chunks; neighbours are alike."""
        return mean_of_chunks(self.chunk_kld)

    @property
    def least_kld(self) -> float:
        """Return the mean of the lower bound."""
        return float(self.bound.mean())

    @property
    def p99_kld(self) -> float:
        """Return the divergence that 99 % of rows stay below."""
        import numpy as np

        return float(np.quantile(self.kld, 0.99))

    def share_same_top(self) -> Estimate:
        """Estimate the share of rows at which both have the same likeliest token."""
        chunks, rows = self.same_top.shape
        return share_of_chunks([int(count) for count in self.same_top.sum(axis=1)], [rows] * chunks)

    @property
    def perplexity(self) -> float | None:
        """Return the level's perplexity of the true next tokens; None beyond any number."""
        return perplexity_of(self.nll)

    @property
    def bits_per_byte(self) -> float:
        """Return the level's bits for each byte of text."""
        return bits_per_byte(self.nll, self.text_bytes)


def chunks_of(tokens: Sequence[int], start: int | None, most: int) -> list[list[int]]:
    """Cut a text's tokens into at most `most` chunks of CHUNK, as llama-perplexity does.

    Where the model has a start token, the text gets it in front, and it takes the place of each
    chunk's first token. What doesn't fill a chunk is left out.
    """
    text = list(tokens) if start is None else [start, *tokens]
    chunks = [text[i : i + CHUNK] for i in range(0, len(text) - CHUNK + 1, CHUNK)][:most]
    return chunks if start is None else [[start, *chunk[1:]] for chunk in chunks]


def measure_reference(
    session: Distributions,
    chunks: Sequence[Sequence[int]],
    progress: Progress | None = None,
    exact: float = EXACT,
) -> Reference:
    """Evaluate chunks of CHUNK tokens; keep what a divergence from this session needs.

    Tokens of probability `exact` and more are all kept. Holds the logits of one chunk at a time.
    Raises EdgebenchError on fewer than two chunks and logits that are not finite.
    """
    import numpy as np

    if len(chunks) < 2 or any(len(chunk) != CHUNK for chunk in chunks):
        raise EdgebenchError(
            f"the text gives {len(chunks)} chunks of {CHUNK} tokens; two are the least",
            hint="take a longer text",
        )
    tokens = np.array(chunks, np.int32)
    vocabulary = session.vocabulary
    draws = np.random.default_rng(SEED).random(2 * vocabulary, dtype=np.float32)
    rows: list[Any] = []
    packed = []
    with _workers(session) as run:
        for index, logits in _evaluated(session, tokens, progress):
            targets = tokens[index, FIRST + 1 :]
            kept = run(partial(_keep, logits, targets, draws, index * ROWS, exact))
            rows.append([row[:3] for row in kept])
            likely, sampled = zip(*(row[3:] for row in kept), strict=True)
            packed.append(pack(_part(likely), _part(sampled)))
    figures = np.array(rows, np.float64)
    return Reference(
        vocabulary=vocabulary,
        exact=exact,
        text_bytes=sum(_bytes_of(session, chunk) for chunk in chunks),
        tokens=tokens,
        nll=figures[:, :, 0].astype(np.float32),
        top=figures[:, :, 1].astype(np.int32),
        rest=figures[:, :, 2].astype(np.float32),
        packed=tuple(packed),
    )


def _keep(
    logits: Any, targets: Any, draws: Any, turn: int, exact: float, rows: slice
) -> list[tuple[Any, ...]]:
    """Return each row's nll, top, rest, and the ids and levels of likely and of sampled tokens.

    `draws` are twice the vocabulary of uniform numbers; each row takes another stretch of them.
    """
    import numpy as np

    size = logits.shape[1]
    mass, chance = np.empty(size, np.float32), np.empty(size, np.float32)
    kept = []
    for row in range(rows.start, rows.stop):
        top, _, log_sum, total = sum_row(logits[row], mass)
        offset = (turn + row) * 20011 % size
        np.multiply(draws[offset : offset + size], np.float32(total * exact), out=chance)
        ids = np.flatnonzero(mass > chance)
        p = mass[ids].astype(np.float64) / total
        sure = p >= exact
        likely, rare = p[sure], p[~sure]
        nll, rest = log_sum - float(logits[row, targets[row]]), 1 - float(likely.sum())
        levels = np.rint((np.sqrt(likely) - math.sqrt(exact)) / STEP)
        tail_levels = np.rint(np.log(exact / rare) * TAIL_STEPS)
        kept.append((nll, top, max(0.0, rest), (ids[sure], levels), (ids[~sure], tail_levels)))
    return kept


def _look_up(
    logits: Any, targets: Any, likely: Any, sampled: Any, rows: slice
) -> list[tuple[Any, ...]]:
    """Return each row's nll, top, and log-probabilities of its likely and of its sampled tokens."""
    import numpy as np

    mass = np.empty(logits.shape[1], np.float32)
    looked_up = []
    for row in range(rows.start, rows.stop):
        top, _, log_sum, _ = sum_row(logits[row], mass)
        of = [logits[row, ids[row]].astype(np.float64) - log_sum for ids in (likely, sampled)]
        looked_up.append((log_sum - float(logits[row, targets[row]]), top, *of))
    return looked_up


def measure_divergence(
    session: Distributions, reference: Reference, progress: Progress | None = None
) -> DivergenceRows:
    """Evaluate the reference's chunks and compare each row with it.

    Where one vocabulary is padded, both are compared over the smaller one. Raises EdgebenchError
    where likely tokens of the reference are not in it, and on logits that are not finite.
    """
    import numpy as np

    common = min(session.vocabulary, reference.vocabulary)
    shape = reference.nll.shape
    kld, bound, nll = (np.empty(shape) for _ in range(3))
    same = np.empty(shape, bool)
    _check_ids(reference.tokens, session, reference)
    with _workers(session) as run:
        for index, logits in _evaluated(session, reference.tokens, progress):
            likely, sampled = unpack(reference.packed[index], reference.vocabulary)
            _check_ids(likely.ids, session, reference)
            sampled = _below(sampled, common)
            targets = reference.tokens[index, FIRST + 1 :]
            a, b = (np.split(part.ids, part.counts.cumsum()[:-1]) for part in (likely, sampled))
            looked_up = run(partial(_look_up, logits[:, :common], targets, a, b))
            nll[index], tops, q_likely, q_sampled = zip(*looked_up, strict=True)
            same[index] = np.array(tops) == reference.top[index]
            rest = reference.rest[index].astype(np.float64)
            bound[index], masses = _bounds(likely, rest, reference.exact, np.concatenate(q_likely))
            inside = _inside(sampled, masses, reference.exact, np.concatenate(q_sampled))
            kld[index] = bound[index] + rest * inside
    return DivergenceRows(kld, bound, nll, same, reference.text_bytes)


def _check_ids(ids: Any, session: Distributions, reference: Reference) -> None:
    if ids.size and int(ids.max()) >= session.vocabulary:
        raise EdgebenchError(
            f"the vocabulary of {session.vocabulary} tokens is not the reference's of "
            f"{reference.vocabulary}",
            hint="compare levels of one model",
        )


def _below(part: Part, common: int) -> Part:
    """Leave out tokens that are not in the common vocabulary: padding has next to no mass."""
    import numpy as np

    inside = part.ids < common
    counts = np.bincount(_rows_of(part)[inside], minlength=len(part.counts))
    return Part(counts, part.ids[inside], part.levels[inside])


def _rows_of(part: Part) -> Any:
    import numpy as np

    return np.repeat(np.arange(len(part.counts)), part.counts)


def _bounds(likely: Part, rest: Any, exact: float, q_log: Any) -> tuple[Any, Any]:
    """Return each row's lower bound, and the logs [2, rows] of both sides' rest.

    Probabilities were rounded, so they are scaled to sum to what the rest leaves.
    """
    import numpy as np

    row, count = _rows_of(likely), len(rest)
    p = (likely.levels * STEP + math.sqrt(exact)) ** 2
    p *= ((1 - rest) / np.maximum(np.bincount(row, p, count), TINY))[row]
    q_rest = 1 - np.bincount(row, np.exp(q_log), count)
    masses = np.log(np.maximum([rest, q_rest], TINY))
    bound = np.bincount(row, p * (np.log(p) - q_log), count) + rest * (masses[0] - masses[1])
    return bound - ROUNDED_TOKEN * likely.counts, masses


def _inside(sampled: Part, masses: Any, exact: float, q_log: Any) -> Any:
    """Estimate each row's divergence within the rest, both sides scaled to 1, from its sample.

    Tokens are drawn by the reference's probability p, so it is the mean of log(p/q). Where both
    rests are about as large, q/p - 1 is added, whose expectation is 0: what is left is of second
    order and varies far less. Elsewhere a token that the level finds far likelier could be missed.
    """
    import numpy as np

    row, count = _rows_of(sampled), len(sampled.counts)
    p_log = math.log(exact) - sampled.levels / TAIL_STEPS
    ratio = (p_log - masses[0][row]) - (q_log - masses[1][row])
    alike = np.abs(masses[0] - masses[1]) < ALIKE
    ratio += np.where(alike[row], np.expm1(np.minimum(-ratio, 700)) - ROUNDED_TAIL, 0)
    return np.bincount(row, ratio, count) / np.maximum(sampled.counts, 1)


@contextmanager
def _workers(
    session: Distributions,
) -> Iterator[Callable[[Callable[[slice], list[Any]]], list[Any]]]:
    """Give what calls a function with slices of the rows, on as many threads as the session has.

    numpy lets go of the interpreter; the runtime's own threads are idle meanwhile.
    """
    threads = max(1, min(session.info.threads, 16))
    size = -(-ROWS // (4 * threads))
    slices = [slice(i, min(i + size, ROWS)) for i in range(0, ROWS, size)]
    with ThreadPoolExecutor(threads) as pool:
        yield lambda function: [row for part in pool.map(function, slices) for row in part]


def _evaluated(
    session: Distributions, tokens: Any, progress: Progress | None
) -> Iterator[tuple[int, Any]]:
    """Yield each chunk's index and its logits [ROWS, vocabulary], single precision."""
    import numpy as np

    for index, chunk in enumerate(tokens.tolist()):
        yield index, np.asarray(session.logits(chunk, FIRST)[:ROWS], np.float32)
        if progress:
            progress(index + 1, len(tokens))


def _bytes_of(session: Distributions, chunk: Sequence[int]) -> int:
    """Return the bytes of a chunk's scored text; of those cut in half each counts as one."""
    text = session.text(list(chunk[FIRST + 1 :]))
    return len(text.encode()) - 2 * text.count("\ufffd")


def _part(rows: Sequence[tuple[Any, Any]]) -> Part:
    import numpy as np

    counts = np.array([len(ids) for ids, _ in rows], np.int64)
    ids, levels = (np.concatenate(column).astype(np.int64) for column in zip(*rows, strict=True))
    return Part(counts, ids, levels)

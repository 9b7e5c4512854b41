"""Synthetic tokens, and the history of a KV cache, so that a known prefix is not done again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from edgebench.errors import EdgebenchError
from edgebench.records.spans import Span
from edgebench.worker.runtimes.packing import common_prefix

_SYNTHETIC_SEED = 1

_SYNTHETIC_COUNT = 4096


class Synthetic:
    """Pseudo-random tokens of a vocabulary, the same ones each time and in every runtime."""

    def __init__(self, vocabulary: int) -> None:
        import random

        generator = random.Random(_SYNTHETIC_SEED)
        self._tokens = [generator.randrange(vocabulary) for _ in range(_SYNTHETIC_COUNT)]

    def take(self, count: int) -> list[int]:
        """Return `count` tokens."""
        repeated = -(-count // len(self._tokens))
        return (self._tokens * repeated)[:count]


class Cache(Protocol):
    """A model and the KV cache of one sequence."""

    length: int

    def run(self, tokens: Sequence[int], rows: int) -> Any:
        """Evaluate tokens after `length` ones; return the last `rows` rows of logits or more."""
        ...

    def cut(self, length: int) -> None:
        """Forget what was evaluated after `length` tokens, or all where that can't be done."""
        ...

    def step(self, token: int) -> Any:
        """Evaluate one token; return its logits [1, vocabulary]."""
        ...


class History:
    """The tokens that a cache of `room` cells holds, so that a known prefix is not done again."""

    def __init__(self, cache: Cache, room: int) -> None:
        self._cache, self._room = cache, room
        self._tokens: list[int] = []
        self._last: Any = None

    def keep(self, count: int) -> int:
        """Forget all but the first `count` tokens; return how many are still held."""
        self._cut(min(count, len(self._tokens)))
        return len(self._tokens)

    def become(self, tokens: Sequence[int]) -> None:
        """Hold exactly these tokens; what is held of them already is not evaluated."""
        self._cut(common_prefix(self._tokens, tokens))
        if len(self._tokens) < len(tokens):
            self.extend(tokens[len(self._tokens) :], 1)

    def extend(self, tokens: Sequence[int], rows: int) -> Any:
        """Evaluate tokens after those held; return logits [rows, vocabulary].

        Raises EdgebenchError where they don't fit.
        """
        self._need(len(tokens))
        logits = self._cache.run(tokens, rows)[-rows:]
        self._last = logits[-1]
        self._tokens += tokens
        return logits

    def step(self, tokens: Sequence[int]) -> list[int]:
        """Evaluate tokens one by one; return the time after each, in ns."""
        self._need(len(tokens))
        step, times = self._cache.step, []
        for token in tokens:
            logits = step(token)
            times.append(time.perf_counter_ns())
            self._last = logits[-1]
        self._tokens += tokens
        return times

    def likeliest(self) -> int:
        """Return the likeliest token after what was evaluated last."""
        return int(self._last.argmax())

    def scored(self, span: Span) -> Any:
        """Evaluate a span after what it shares with those held; return its rows of logits."""
        tokens = span.tokens[:-1]
        self._cut(common_prefix(self._tokens, tokens[: span.start - 1]))
        return self.extend(tokens[len(self._tokens) :], len(span.tokens) - span.start)

    def _cut(self, length: int) -> None:
        self._cache.cut(length)
        del self._tokens[self._cache.length :]

    def _need(self, count: int) -> None:
        wanted = len(self._tokens) + count
        if wanted > self._room:
            raise EdgebenchError(f"{wanted} tokens are longer than the context of {self._room}")

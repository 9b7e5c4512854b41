"""What runtimes share that know a checkpoint's tokenizer and the history of one KV cache.

Knows the roles `Tokens` and `Timed`. Loads no model and scores nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.records.spans import ChatTemplate
from edgebench.sources.tokenizer import Tokenizer
from edgebench.worker.runtimes.history import History, Synthetic


class CheckpointRoles:
    """The roles of tokens and of timing, handed on to a tokenizer and to a history."""

    def __init__(self, tokenizer: Tokenizer, history: History, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self._tokenizer, self._history = tokenizer, history
        self._synthetic = Synthetic(vocabulary)

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Tokenize text with the checkpoint's own tokenizer."""
        return self._tokenizer.encode(text, special)

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special ones."""
        return self._tokenizer.text(tokens)

    def is_end(self, token: int) -> bool:
        """Return whether the model ends its answer with this token."""
        return token in self._tokenizer.ends

    def chat_template(self) -> ChatTemplate | None:
        """Return the checkpoint's chat template, or None."""
        return self._tokenizer.chat_template()

    def start_token(self) -> int | None:
        """Return the token that the model wants before any text, or None."""
        return self._tokenizer.start_token()

    def prefix_token(self) -> int | None:
        """Return what stands before a text that has no context."""
        return self._tokenizer.prefix_token()

    def keep(self, count: int) -> int:
        """Forget all but the first `count` tokens; return how many are still held."""
        return self._history.keep(count)

    def reset(self, depth: int) -> None:
        """Make the KV cache hold exactly `depth` synthetic tokens, reusing them if it can."""
        self._history.become(self.synthetic(depth))

    def synthetic(self, count: int) -> list[int]:
        """Return `count` pseudo-random tokens, the same ones each time."""
        return self._synthetic.take(count)

    def prefill(self, tokens: Sequence[int]) -> None:
        """Evaluate tokens after what the cache holds; return when the last one is done."""
        self._history.extend(tokens, 1)

    def decode(self, count: int) -> list[int]:
        """Evaluate `count` synthetic tokens one by one; return the time after each."""
        return self._history.step(self.synthetic(count))

    def likeliest(self) -> int:
        """Return the likeliest token after what was evaluated last."""
        return self._history.likeliest()

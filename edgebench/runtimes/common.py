"""What sessions share: synthetic tokens, a cache's history, log-likelihoods, the tokenizer.

Knows arrays and tokenizer.json; knows no runtime.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from edgebench.errors import BadFileError, EdgebenchError, MissingExtraError
from edgebench.runtimes import ChatTemplate, Score, Span
from edgebench.runtimes.packing import common_prefix

TOKENIZER = "tokenizer.json"
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

        Raises EdgebenchError where they do not fit.
        """
        self._need(len(tokens))
        found = self._cache.run(tokens, rows)[-rows:]
        self._last = found[-1]
        self._tokens += tokens
        return found

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

    def first_token(self) -> int:
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


def targets_of(span: Span) -> list[tuple[int, int]]:
    """Return the (row, token) of a span whose rows of logits stand alone."""
    return list(enumerate(span.tokens[span.start :]))


def scores_of(
    logits: Any, targets: Sequence[list[tuple[int, int]]], threads: int = 1
) -> list[Score]:
    """Score spans from logits [rows, vocabulary]; each target is a (row, token) of its span.

    The exponentials are shared between `threads`, which numpy lets run at once. Raises
    EdgebenchError where a logit is not finite.
    """
    import numpy as np

    top, norm = _norms(logits, threads)
    if not np.isfinite(norm).all():
        raise EdgebenchError("the model gives logits that are not finite")
    scores = []
    for span in targets:
        index = np.array([row for row, _ in span])
        token = np.array([token for _, token in span])
        picked = logits[index, token].astype(np.float64)
        scores.append(
            Score(float((picked - norm[index]).sum()), bool((picked >= top[index]).all()))
        )
    return scores


def _norms(logits: Any, threads: int) -> tuple[Any, Any]:
    """Return each row's largest logit and the log of the sum of all exponentials, [rows]."""
    import numpy as np

    rows, vocabulary = logits.shape
    top, norm = np.empty(rows), np.empty(rows)

    def fill(part: range) -> None:
        mass = np.empty(vocabulary, np.float32)
        for row in part:
            values = logits[row]
            peak = values.max()
            with np.errstate(invalid="ignore"):  # what is not finite is told below
                np.subtract(values, peak, out=mass, dtype=np.float32)
            np.exp(mass, out=mass)
            # Summed by pairs: single precision is exact to 1e-6 here.
            top[row], norm[row] = peak, float(peak) + math.log(float(mass.sum()) or 1.0)

    if threads < 2 or rows < 2 * threads:
        fill(range(rows))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, [range(first, rows, threads) for first in range(threads)]))
    return top, norm


class Tokenizer:
    """A checkpoint's own tokenizer, from the tokenizer.json in its folder."""

    def __init__(self, folder: Path) -> None:
        try:
            import tokenizers
        except ImportError:
            raise MissingExtraError("tokenizers", "onnx") from None
        path = folder / TOKENIZER
        if not path.is_file():
            raise BadFileError(
                f"{folder} has no {TOKENIZER}", hint="copy the checkpoint's own tokenizer there"
            )
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - the library raises Exception itself
            raise BadFileError(f"{path} is no tokenizer: {str(error)[:200]}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._folder = folder
        self.ends = _end_tokens(folder)

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Tokenize text; special tokens written in it are plain text, unless asked for."""
        self._tokenizer.encode_special_tokens = not special
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special ones."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def chat_template(self) -> ChatTemplate | None:
        """Return the template beside the tokenizer, or None."""
        settings = _settings(self._folder, "tokenizer_config.json")
        source = settings.get("chat_template")
        with contextlib.suppress(OSError, ValueError):
            source = (self._folder / "chat_template.jinja").read_text("utf-8")
        if isinstance(source, list):  # several, by name
            named = [one for one in source if isinstance(one, dict)]
            source = next(
                (one.get("template") for one in named if one.get("name") == "default"), None
            )
        if not isinstance(source, str):
            return None
        first, last = (_token_text(settings.get(name)) for name in ("bos_token", "eos_token"))
        return ChatTemplate(source, first, last)

    def start_token(self) -> int | None:
        """Return the token that is put before any text, or None."""
        plain = self._tokenizer.encode("a", add_special_tokens=False).ids
        framed = self._tokenizer.encode("a", add_special_tokens=True).ids
        if len(framed) > len(plain) and framed[1 : 1 + len(plain)] == plain:
            return int(framed[0])
        return None


def _end_tokens(folder: Path) -> frozenset[int]:
    """Return the ids that end an answer, as the checkpoint's settings state them."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json", "genai_config.json"):
        settings = _settings(folder, name)
        for part in (settings, settings.get("text_config"), settings.get("model")):
            value = part.get("eos_token_id") if isinstance(part, dict) else None
            listed = value if isinstance(value, list) else [value]
            found.update(one for one in listed if isinstance(one, int))
    return frozenset(found)


def _settings(folder: Path, name: str) -> dict[str, Any]:
    try:
        value = json.loads((folder / name).read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _token_text(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def stated_vocabulary(folder: Path) -> int | None:
    """Return the vocabulary's size as config.json states it, or None."""
    value = _settings(folder, "config.json").get("vocab_size")
    return value if isinstance(value, int) and value > 0 else None

"""What sessions share: synthetic tokens, log-likelihoods from logits, the checkpoint's tokenizer.

Knows arrays and tokenizer.json; knows no runtime.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgebench.errors import BadFileError, EdgebenchError, MissingExtraError
from edgebench.runtimes import Score

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


def scores_of(logits: Any, targets: Sequence[list[tuple[int, int]]]) -> list[Score]:
    """Score spans from logits [rows, vocabulary]; each target is a (row, token) of its span.

    Raises EdgebenchError where a logit is not finite.
    """
    import numpy as np

    top = logits.max(axis=1)
    if not np.isfinite(top).all():
        raise EdgebenchError("the model gives logits that are not finite")
    total = np.array(
        [np.exp(row - peak).sum(dtype=np.float64) for row, peak in zip(logits, top, strict=True)]
    )
    norm = top.astype(np.float64) + np.log(total)
    scores = []
    for span in targets:
        index = np.array([row for row, _ in span])
        token = np.array([token for _, token in span])
        picked = logits[index, token].astype(np.float64)
        scores.append(
            Score(float((picked - norm[index]).sum()), bool((picked >= top[index]).all()))
        )
    return scores


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
        self._tokenizer.encode_special_tokens = True

    def encode(self, text: str) -> list[int]:
        """Tokenize text; special tokens written in it are plain text."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def start_token(self) -> int | None:
        """Return the token that is put before any text, or None."""
        plain = self._tokenizer.encode("a", add_special_tokens=False).ids
        framed = self._tokenizer.encode("a", add_special_tokens=True).ids
        if len(framed) > len(plain) and framed[1 : 1 + len(plain)] == plain:
            return int(framed[0])
        return None


def stated_vocabulary(folder: Path) -> int | None:
    """Return the vocabulary's size as config.json states it, or None."""
    try:
        value = json.loads((folder / "config.json").read_bytes()).get("vocab_size")
    except (OSError, ValueError, AttributeError):
        return None
    return value if isinstance(value, int) and value > 0 else None

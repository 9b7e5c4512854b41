"""Does an artifact tokenize as its checkpoint does? Compared on a text of everything that differs.

Knows the probe text, llama.cpp's tokenizer and the checkpoint's own. Converts nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from edgebench.errors import BadFileError
from edgebench.sources.llama_library import llama_api

# Digits, spaces, line ends, contractions, scripts, combining and joined characters, emoji.
PROBES = (
    "Hello world! The quick brown fox, isn't it? I'll say WE'RE done; they've gone.",
    "1 22 333 4444 55555 3.14159 1,000,000 0x1F x=[1,2,3] -7 +8 2026-11-24",
    " one  two   three\t\ttabs\n\nnew\r\nlines \n  indented    code",
    "naïve café Ünïcödé Привет мир 北京大学 日本語テキスト 한국어 العربية हिन्दी ไทย",
    "½ ² ٣٤٥ ① ﬁ e\u0301 \u200b\u00a0\u3000 👩\u200d👩\u200d👧 🙂🚀",
    "def f(x):\n    return {'a': x**2, \"b\": [y for y in range(10)]}  # comment",
)


@dataclass(frozen=True)
class Disagreement:
    """A text that two tokenizers cut differently."""

    text: str
    expected: tuple[int, ...]
    actual: tuple[int, ...]

    def __str__(self) -> str:
        """Show where the lists part, with the token lists from there."""
        pairs = zip_longest(self.expected, self.actual)
        first = next(index for index, (a, b) in enumerate(pairs) if a != b)
        shown = slice(max(0, first - 2), first + 6)
        return (
            f"{self.text!r} from token {first} on: the checkpoint has "
            f"{list(self.expected[shown])}, the file {list(self.actual[shown])}"
        )


class CheckpointTokenizer:
    """The checkpoint's own tokenizer, as transformers loads it."""

    def __init__(self, folder: Path, trust_code: bool = False) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=trust_code
            )
        except Exception as error:  # noqa: BLE001 - transformers raises whatever its parts raise
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise BadFileError(
                f"transformers can't load the tokenizer of {folder}: {lines[0][:300]}"
            ) from None

    def encode(self, text: str, special: bool) -> tuple[int, ...]:
        """Tokenize text; `special` adds what the tokenizer puts around a text."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=special))

    @property
    def special_tokens(self) -> list[str]:
        """Return the special tokens' texts."""
        return [str(token) for token in self._tokenizer.all_special_tokens]


class GgufTokenizer:
    """A GGUF file's tokenizer, as llama.cpp has it; the weights are not loaded."""

    def __init__(self, path: Path) -> None:
        self._api = api = llama_api()
        api.llama_backend_init()
        parameters = api.llama_model_default_params()
        parameters.vocab_only = True
        self._quiet = api.llama_log_callback(lambda level, text, data: None)
        api.llama_log_set(self._quiet, None)
        self._model = api.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self._model:
            raise BadFileError(f"llama.cpp can't load the tokenizer of {path}")
        self._vocab = api.llama_model_get_vocab(self._model)

    def encode(self, text: str, special: bool) -> tuple[int, ...]:
        """Tokenize text, special tokens in it recognised, as the checkpoint's tokenizer does."""
        raw = text.encode()
        room = len(raw) + 16
        out = (self._api.llama_token * room)()
        count = self._api.llama_tokenize(self._vocab, raw, len(raw), out, room, special, True)
        if count < 0:
            raise BadFileError(f"llama.cpp can't tokenize {text!r}")
        return tuple(out[:count])

    def close(self) -> None:
        """Free the model."""
        self._api.llama_model_free(self._model)


def disagreements(
    checkpoint: CheckpointTokenizer, path: Path, more: Sequence[str] = ()
) -> list[Disagreement]:
    """Compare a GGUF file's tokenizer with its checkpoint's on the probes; return where they part.

    Each text is also compared with what the tokenizers put around it (a leading token, say).
    """
    file = GgufTokenizer(path)
    specials = checkpoint.special_tokens
    texts = [*PROBES, *more, *(f"a {token} b{token}" for token in specials[:8])]
    parted = []
    try:
        for text in texts:
            for special in (False, True):
                expected, actual = checkpoint.encode(text, special), file.encode(text, special)
                if special:
                    # llama.cpp adds an end token only for models that never generate.
                    expected = _without_end(expected, actual)
                if expected != actual:
                    parted.append(Disagreement(text, expected, actual))
                    break
    finally:
        file.close()
    return parted


def _without_end(expected: tuple[int, ...], actual: tuple[int, ...]) -> tuple[int, ...]:
    return expected[:-1] if expected[:-1] == actual else expected

"""A checkpoint's own tokenizer, from tokenizer.json and the settings beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgebench.errors import BadFileError, MissingExtraError
from edgebench.records.limits import JSON_BYTES, SETTINGS_BYTES
from edgebench.records.spans import ChatTemplate
from edgebench.sources.files import check_regular, read_json, read_regular

TOKENIZER = "tokenizer.json"


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
        if check_regular(path) > JSON_BYTES:
            raise BadFileError(f"{path} has more than {JSON_BYTES >> 20} MiB")
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - the library raises Exception itself
            raise BadFileError(f"{path} isn't a tokenizer: {str(error)[:200]}") from None
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
        with contextlib.suppress(BadFileError, ValueError):
            beside = self._folder / "chat_template.jinja"
            source = read_regular(beside, SETTINGS_BYTES).decode("utf-8")
        if isinstance(source, list):  # several, by name
            named = [template for template in source if isinstance(template, dict)]
            source = next(
                (entry.get("template") for entry in named if entry.get("name") == "default"), None
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

    def prefix_token(self) -> int | None:
        """Return what stands before a text that has no context, as lm-eval has it.

        The first token, else the one that begins a text, else one that ends it; None without any.
        """
        first = self.start_token()
        if first is not None:
            return first
        settings = _settings(self._folder, "tokenizer_config.json")
        for name in ("bos_token", "eos_token"):
            token = self._tokenizer.token_to_id(_token_text(settings.get(name)))
            if token is not None:
                return int(token)
        return min(self.ends, default=None)


def _end_tokens(folder: Path) -> frozenset[int]:
    """Return the ids that end an answer, as the checkpoint's settings state them."""
    ends: set[int] = set()
    for name in ("generation_config.json", "config.json", "genai_config.json"):
        settings = _settings(folder, name)
        for part in (settings, settings.get("text_config"), settings.get("model")):
            value = part.get("eos_token_id") if isinstance(part, dict) else None
            listed = value if isinstance(value, list) else [value]
            ends.update(token for token in listed if isinstance(token, int))
    return frozenset(ends)


def _settings(folder: Path, name: str) -> dict[str, Any]:
    try:
        value = read_json(folder / name)
    except BadFileError:
        return {}
    return value if isinstance(value, dict) else {}


def _token_text(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""

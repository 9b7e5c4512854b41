"""One tokenization for every format: the checkpoint's own, where the artifact carries it.

Knows tokenizers through `encode` and their first tokens. Scores nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from edgebench.errors import BadFileError, EdgebenchError
from edgebench.records.limits import REASON_CHARACTERS


class Text(Protocol):
    """What turns text into tokens: a session, or the checkpoint's tokenizer."""

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Tokenize text; special tokens in it are plain text, unless asked for."""
        ...

    def start_token(self) -> int | None:
        """Return the token that the model wants before any text, or None."""
        ...

    def prefix_token(self) -> int | None:
        """Return what stands before a text that has no context, or None."""
        ...


class SharedText:
    """The checkpoint's tokenizer beside the session's own, which it is compared with.

    Where the artifact carries no tokenizer.json, or the package tokenizers is not installed, the
    session's own is all there is; one that is broken is told.
    """

    def __init__(self, session: Text, folder: Path, vocabulary: int) -> None:
        from edgebench.sources.tokenizer import TOKENIZER, Tokenizer

        self._own = session
        self._vocabulary = vocabulary
        self._shared: Text = session
        self._texts = self._different = 0
        self._broken: tuple[str, ...] = ()
        if (folder / TOKENIZER).is_file():
            try:
                self._shared = Tokenizer(folder)
            except BadFileError as error:
                told = f"the tokenizer of the artifact's runtime was used: {error.message}"
                self._broken = (told[:REASON_CHARACTERS],)
            except EdgebenchError:
                return

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Tokenize text with the checkpoint's tokenizer, and count where the session's differs."""
        tokens = self._shared.encode(text, special)
        if self._shared is not self._own:
            if tokens and max(tokens) >= self._vocabulary:
                raise EdgebenchError(
                    f"the artifact's tokenizer.json has token {max(tokens)}, its model only "
                    f"{self._vocabulary} tokens",
                    hint="put the checkpoint's own tokenizer.json there",
                )
            self._texts += 1
            self._different += self._own.encode(text, special) != tokens
        return tokens

    def start_token(self) -> int | None:
        """Return the token that the model wants before any text, or None."""
        return self._shared.start_token()

    def prefix_token(self) -> int | None:
        """Return what stands before a text that has no context, or None."""
        return self._shared.prefix_token()

    def warnings(self) -> tuple[str, ...]:
        """Say whether the artifact reads the task's text as its checkpoint does."""
        if self._different:
            return (
                f"the artifact's tokenizer cuts {self._different} of {self._texts} texts "
                "differently; the checkpoint's own tokens were scored",
            )
        if self._shared is not self._own and self._shared.start_token() != self._own.start_token():
            return ("the artifact's tokenizer asks for another first token than its checkpoint",)
        return self._broken

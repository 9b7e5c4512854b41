"""Runtimes: the protocol of a session, and which runtime runs which artifact.

Knows names and shapes. A runtime's own ways stay in its own file.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from edgebench.errors import UsageError, nearest
from edgebench.records.artifact import Artifact
from edgebench.records.device import RuntimeInfo
from edgebench.records.formats import FAKE, is_runnable
from edgebench.records.settings import Settings
from edgebench.records.spans import ChatTemplate, Score, Span

RUNTIMES = {
    "llama.cpp": "edgebench.worker.runtimes.llamacpp:LlamaCpp",
    "onnxruntime": "edgebench.worker.runtimes.onnx:Onnx",
    "torch": "edgebench.worker.runtimes.pytorch:Torch",
}
_OF_TESTS = {FAKE: "edgebench.worker.runtimes.fake:Fake"}


@dataclass(frozen=True)
class Room:
    """What a session must hold: KV cells, and the sequences that may share them."""

    context: int
    sequences: int = 1


class Tokens(Protocol):
    """A model's vocabulary: what turns text into tokens and back."""

    vocabulary: int

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Tokenize text with the model's own tokenizer.

        Special tokens written in it are plain text, or themselves where `special` is true.
        """
        ...

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special ones; bytes that aren't text are replaced."""
        ...

    def is_end(self, token: int) -> bool:
        """Return whether the model ends its answer with this token."""
        ...

    def chat_template(self) -> ChatTemplate | None:
        """Return the artifact's chat template, or None where it has none."""
        ...

    def start_token(self) -> int | None:
        """Return the token that the model wants before any text, or None."""
        ...

    def prefix_token(self) -> int | None:
        """Return what stands before a text that has no context: the first token, else an end."""
        ...


class Timed(Protocol):
    """A model with the KV cache of one sequence, whose phases are timed from outside."""

    info: RuntimeInfo

    def reset(self, depth: int) -> None:
        """Make the KV cache hold exactly `depth` synthetic tokens."""
        ...

    def keep(self, count: int) -> int:
        """Forget all but the first `count` tokens; return how many are still held."""
        ...

    def synthetic(self, count: int) -> list[int]:
        """Return `count` pseudo-random tokens, the same ones each time."""
        ...

    def prefill(self, tokens: Sequence[int]) -> None:
        """Evaluate tokens after what the KV cache holds; return when the last one is done."""
        ...

    def decode(self, count: int) -> list[int]:
        """Evaluate `count` synthetic tokens one by one; return `perf_counter_ns` after each.

        What the model would say plays no part: each step costs what a generated token costs.
        """
        ...

    def likeliest(self) -> int:
        """Return the likeliest token after what was evaluated last."""
        ...


class Scored(Protocol):
    """A model whose probabilities are asked for."""

    info: RuntimeInfo

    def score(self, spans: Sequence[Span]) -> list[Score]:
        """Score spans, in order; prefixes that neighbours share are evaluated once."""
        ...

    def logits(self, tokens: Sequence[int], start: int) -> Any:
        """Evaluate tokens from an empty cache; return logits [len(tokens) - start, vocabulary]."""
        ...


class Session(Tokens, Timed, Scored, Protocol):
    """An artifact loaded in a runtime."""

    weights_bytes: int | None
    kv_cache_bytes: int | None
    warnings: tuple[str, ...]  # what a reader of the run should know of this session

    def close(self) -> None:
        """Free the model."""
        ...


class Runtime(Protocol):
    """Loads artifacts of one format."""

    def open(self, artifact: Artifact, settings: Settings, room: Room) -> Session:
        """Load an artifact; raise EdgebenchError where it can't be."""
        ...


def get_runtime(name: str) -> Runtime:
    """Return a runtime by name; raise UsageError on an unknown one."""
    runtimes = RUNTIMES | (_OF_TESTS if is_runnable(FAKE) else {})
    if name not in runtimes:
        raise UsageError(f"unknown runtime {name!r}", hint=nearest(name, RUNTIMES))
    module, _, attribute = runtimes[name].partition(":")
    return cast(Runtime, getattr(importlib.import_module(module), attribute)())

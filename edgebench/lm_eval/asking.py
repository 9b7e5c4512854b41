"""An artifact that a worker holds open: what lm-evaluation-harness asks, as requests to it.

Knows the worker's messages. Knows nothing of the harness, and loads no runtime in this process.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from edgebench.errors import EdgebenchError
from edgebench.plan.devices import THIS_MACHINE
from edgebench.records.artifact import Artifact
from edgebench.records.formats import FORMATS
from edgebench.records.messages import (
    AnyRequest,
    Generate,
    GenerateResult,
    Open,
    Opened,
    ScoreSpans,
    SpansResult,
    Tokenize,
    TokenizeResult,
)
from edgebench.records.settings import Settings
from edgebench.records.spans import Score, Span
from edgebench.records.task import Generation
from edgebench.run.transports import Transport, WorkerError

SEQUENCES = 65  # one holds what all spans share, 64 are scored side by side
TEXTS_A_REQUEST = 1000
CHARACTERS_A_REQUEST = 4_000_000  # well below what a line may hold
SILENCE_S = 3600.0  # a round of long spans on a slow board

R = TypeVar("R")


class AskedModel:
    """An artifact open in a worker of its own, which ends with this object."""

    def __init__(
        self, transport: Transport, artifact: Artifact, settings: Settings, context: int
    ) -> None:
        try:
            self._worker = transport.start(THIS_MACHINE, f"lm_eval {artifact.name}")
        except WorkerError as error:
            raise _as_ours(error) from None
        self.close = weakref.finalize(self, self._worker.close)
        self.vocabulary = self._ask(
            Open(
                runtime=FORMATS[artifact.format],
                artifact=transport.deliver(artifact),
                settings=settings,
                context=context,
                sequences=SEQUENCES,
                meters=(),
            ),
            Opened,
        ).vocabulary

    def encode(self, texts: Sequence[str], special: bool) -> list[tuple[int, ...]]:
        """Tokenize texts; special tokens written in them count as such where `special` is true."""
        tokens: list[tuple[int, ...]] = []
        for part in _parts(texts):
            tokens += self._ask(Tokenize(texts=part, special=special), TokenizeResult).tokens
        return tokens

    def score(self, spans: Sequence[Span]) -> tuple[Score, ...]:
        """Score spans in order; those with a common beginning should stand together."""
        return self._ask(ScoreSpans(spans=tuple(spans)), SpansResult).scores

    def generate(
        self,
        prompts: Sequence[tuple[int, ...]],
        generation: Generation,
        tell: Callable[[int, int], None],
    ) -> tuple[str, ...]:
        """Say what follows each prompt; those with a common beginning should stand together."""
        request = Generate(prompts=tuple(prompts), generation=generation)
        return self._ask(request, GenerateResult, tell).texts

    def _ask(
        self,
        request: AnyRequest,
        kind: type[R],
        tell: Callable[[int, int], None] = lambda done, total: None,
    ) -> R:
        try:
            result = self._worker.request(request, SILENCE_S, tell)
        except WorkerError as error:
            raise _as_ours(error) from None
        if not isinstance(result, kind):
            raise EdgebenchError(f"the worker answered {request.request!r} with something else")
        return result


def _parts(texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    part: list[str] = []
    size = 0
    for text in texts:
        if part and (len(part) == TEXTS_A_REQUEST or size + len(text) > CHARACTERS_A_REQUEST):
            yield tuple(part)
            part, size = [], 0
        part.append(text)
        size += len(text)
    if part:
        yield tuple(part)


def _as_ours(error: WorkerError) -> EdgebenchError:
    return EdgebenchError(error.error.message, hint=error.error.hint)


def local_workers() -> Transport:
    """Return what starts workers on this machine, their logs in the user's cache."""
    from platformdirs import user_cache_path

    from edgebench.run.transports.local import LocalTransport

    return LocalTransport(Path(user_cache_path("edgebench")) / "logs")

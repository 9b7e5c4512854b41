"""A runtime of known behaviour, for tests and for trying a sweep without a model.

Its artifact is a small JSON file that states the truth: seconds a token, accuracy, and what goes
wrong (`crash`, `kill`, `hang`, `fill`, `oom`, `fail`, `garbage`). Figures must recover what is
stated.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgebench.errors import EdgebenchError, OutOfMemoryError
from edgebench.records.artifact import Artifact
from edgebench.records.device import RuntimeInfo
from edgebench.records.settings import Settings
from edgebench.records.spans import ChatTemplate, Score, Span
from edgebench.worker.runtimes import Room

FILL_MIB = 2048  # what `fill` takes where nothing ends it


class Fake:
    """Opens fake artifacts."""

    def open(self, artifact: Artifact, settings: Settings, room: Room) -> FakeSession:
        """Read the artifact's truth."""
        truth = json.loads(Path(artifact.path).read_text())
        return FakeSession(truth, settings, room)


class FakeSession:
    """Sleeps for as long as the truth says, and answers as often right as it says."""

    vocabulary = 256
    weights_bytes: int | None = 1000
    kv_cache_bytes: int | None = 100
    warnings: tuple[str, ...] = ()

    def __init__(self, truth: dict[str, Any], settings: Settings, room: Room) -> None:
        self._truth = truth
        self._held = self._said = 0
        self._fresh = True  # the next tokens are a prompt
        self._begin = time.monotonic()
        # As processes do, this launch is faster or slower than another by as much as was stated.
        self._pace = math.exp(random.gauss(0, truth.get("between", 0.0)))
        self._fail("open")
        self.info = RuntimeInfo(
            name="fake",
            version="1",
            build="fake",
            provider="cpu",
            threads=settings.threads or 1,
            gpu_layers=settings.gpu_layers,
            kv_type=settings.kv_type,
            flash_attention=settings.flash_attention,
            batch=settings.batch,
            micro_batch=settings.micro_batch,
            context=room.context,
        )

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Return the text's bytes."""
        return list(text.encode())

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of bytes."""
        return bytes(tokens).decode("utf-8", "replace")

    def is_end(self, token: int) -> bool:
        """Return whether this is the byte 0, the end of what it says."""
        return token == 0

    def chat_template(self) -> ChatTemplate | None:
        """Return the truth's template, or None."""
        source = self._truth.get("chat_template")
        return ChatTemplate(source) if source else None

    def keep(self, count: int) -> int:
        """Hold the first `count` tokens."""
        self._held = min(self._held, count)
        self._fresh = True
        return self._held

    def start_token(self) -> int | None:
        """Return None: this model wants none."""
        return None

    def prefix_token(self) -> int | None:
        """Return the byte that ends what it says."""
        return 0

    def reset(self, depth: int) -> None:
        """Hold `depth` tokens."""
        self._held = depth

    def synthetic(self, count: int) -> list[int]:
        """Return `count` tokens."""
        return [1] * count

    def prefill(self, tokens: Sequence[int]) -> None:
        """Sleep `prefill_s` a token."""
        self._fail("speed")
        self._said = 0 if self._fresh else self._said + len(tokens)
        self._fresh = False
        self._held += len(tokens)
        time.sleep(self._pace * self._truth.get("prefill_s", 0.0) * len(tokens))

    def decode(self, count: int) -> list[int]:
        """Sleep `decode_s` a token."""
        times = []
        for _ in range(count):
            time.sleep(self._pace * self._heat() * self._truth.get("decode_s", 1e-4))
            times.append(time.perf_counter_ns())
        return times

    def _heat(self) -> float:
        """Return how many times as long a token takes: `slower` once it is `hot_after_s` old."""
        is_hot = time.monotonic() - self._begin > self._truth.get("hot_after_s", math.inf)
        return float(self._truth.get("slower", 1.0)) if is_hot else 1.0

    def likeliest(self) -> int:
        """Return the next byte of what the truth says, counted from the prompt's end."""
        said: bytes = str(self._truth.get("says", "")).encode() + b"\0"
        return said[min(self._said, len(said) - 1)]

    def score(self, spans: Sequence[Span]) -> list[Score]:
        """Give each span a likelihood made of its text and the truth's `seed`."""
        self._fail("score")
        return [
            Score(-self._noise(span) * (len(span.tokens) - span.start), False) for span in spans
        ]

    def _noise(self, span: Span) -> float:
        raw = bytes(span.tokens) + str(self._truth.get("seed", 0)).encode()
        return 1 + hashlib.sha256(raw).digest()[0] / 256

    def logits(self, tokens: Sequence[int], start: int) -> Any:
        """Give each token a favourite next one, and a spread made of the truth's `seed`."""
        import numpy as np

        self._fail("score")
        rng = np.random.default_rng([self._truth.get("seed", 0), *tokens[:8]])
        logits = rng.normal(size=(len(tokens) - start, self.vocabulary)) * 0.1
        for row, token in enumerate(tokens[start:]):
            logits[row, (token + 1) % self.vocabulary] += 5
        return logits

    def close(self) -> None:
        """Do nothing."""

    def _fail(self, where: str) -> None:
        kind = self._truth.get("fault") if self._truth.get("fault_in", "speed") == where else None
        if kind == "crash":
            os.abort()
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "hang":
            time.sleep(3600)
        if kind == "fill":
            _ = [b"x" * (1 << 20) for _ in range(FILL_MIB)]
        if kind == "oom":
            raise OutOfMemoryError("the model did not fit", hint="take a smaller level")
        if kind == "fail":
            raise EdgebenchError("the model refused", hint="ask it nicely")
        if kind == "garbage":
            sys.stderr.write("a library printed this\n")
            with suppress(OSError):  # as printf, which a full disk does not stop
                os.write(1, b"a library printed this to stdout\n")

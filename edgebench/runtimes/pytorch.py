"""transformers on torch: the checkpoint itself, the reference that both formats are held against.

Knows transformers' cache and its types. Measures nothing itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgebench.checkpoint import open_checkpoint
from edgebench.errors import (
    BadFileError,
    EdgebenchError,
    MissingExtraError,
    OutOfMemoryError,
    UnsupportedError,
)
from edgebench.records import Artifact, RuntimeInfo, Settings
from edgebench.runtimes import Room, Score, Span
from edgebench.runtimes.common import Synthetic, Tokenizer, scores_of
from edgebench.system import compute_cores

_TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_KV_NAMES = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


class Torch:
    """Loads checkpoints."""

    def open(self, artifact: Artifact, settings: Settings, room: Room) -> TorchSession:
        """Load a checkpoint on the CPU or on CUDA in the artifact's type.

        Raises BadFileError where transformers can't load it, UnsupportedError where torch has no
        such device, OutOfMemoryError where it does not fit.
        """
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        try:
            import torch
            import transformers
        except ImportError:
            raise MissingExtraError("torch and transformers", "export") from None
        if settings.provider not in ("cpu", "cuda"):
            raise UnsupportedError(f"torch runs on cpu or cuda here, not on {settings.provider}")
        if settings.provider == "cuda" and not torch.cuda.is_available():
            raise UnsupportedError(
                "this torch finds no CUDA device",
                hint="install a build of torch with CUDA, or leave out --set provider=cuda",
            )
        transformers.utils.logging.set_verbosity_error()
        return TorchSession(torch, transformers, artifact, settings, room)


class TorchSession:
    """A model in eval mode, with one sequence's cache."""

    def __init__(
        self, torch: Any, transformers: Any, artifact: Artifact, settings: Settings, room: Room
    ) -> None:
        checkpoint = open_checkpoint(Path(artifact.path))
        threads = settings.threads or compute_cores()
        torch.set_num_threads(threads)
        self._torch, self._transformers = torch, transformers
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(
                str(checkpoint.path), dtype=getattr(torch, _TYPES[artifact.level]),
                local_files_only=True, trust_remote_code=False, use_safetensors=True,
            )  # fmt: skip
            self._model = model.eval().to(settings.provider)
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise OutOfMemoryError(f"torch can't load {artifact.name}: {error}") from None
        except Exception as error:  # noqa: BLE001 - transformers raises whatever its parts raise
            said = " ".join(str(error).split())[:500]
            raise BadFileError(f"transformers can't load {artifact.name}: {said}") from None
        self._tokenizer = Tokenizer(checkpoint.path)
        self._device = settings.provider
        self._cache: Any = None
        self._held: list[int] = []
        self._last: Any = None
        self._cut(0)
        self.vocabulary = int(self._model.config.get_text_config().vocab_size)
        self._synthetic = Synthetic(self.vocabulary)
        self.warnings: tuple[str, ...] = ()
        self.weights_bytes: int | None = _weights_bytes(self._model)
        self.kv_cache_bytes = _kv_bytes(self._model, room.context)
        self.info = RuntimeInfo(
            name="torch",
            version=f"torch {torch.__version__}, transformers {transformers.__version__}",
            build=" ".join(torch.__config__.show().split())[:500],
            provider=settings.provider,
            threads=torch.get_num_threads(),
            gpu_layers=0,
            kv_type=_KV_NAMES[artifact.level],
            flash_attention=str(self._model.config._attn_implementation),
            batch=room.context,
            micro_batch=room.context,
            context=room.context,
        )

    def encode(self, text: str) -> list[int]:
        """Tokenize text with the checkpoint's own tokenizer."""
        return self._tokenizer.encode(text)

    def start_token(self) -> int | None:
        """Return the token that the model wants before any text, or None."""
        return self._tokenizer.start_token()

    def reset(self, depth: int) -> None:
        """Make the KV cache hold exactly `depth` synthetic tokens, reusing them if it can."""
        wanted = self.synthetic(depth)
        if depth and self._held[:depth] == wanted:
            self._cut(depth)
        else:
            self._cut(0)
        if len(self._held) < depth:
            self.prefill(wanted)

    def synthetic(self, count: int) -> list[int]:
        """Return `count` pseudo-random tokens, the same ones each time."""
        return self._synthetic.take(count)

    def prefill(self, tokens: Sequence[int]) -> None:
        """Evaluate tokens after what the cache holds; return when the last one is done."""
        self._last = self._run(tokens, 1)[-1]

    def decode(self, count: int) -> list[int]:
        """Evaluate `count` synthetic tokens one by one; return the time after each."""
        times = []
        for token in self.synthetic(count):
            logits = self._run([token], 1)
            times.append(time.perf_counter_ns())
            self._last = logits[-1]
        return times

    def first_token(self) -> int:
        """Return the likeliest token after what was evaluated last."""
        return int(self._last.argmax())

    def score(self, spans: Sequence[Span]) -> list[Score]:
        """Score spans in order; what a span shares with the one before is evaluated once."""
        scores = []
        for span in spans:
            tokens = list(span.tokens[:-1])
            limit = span.start - 1
            shared = 0
            while shared < min(limit, len(self._held)) and self._held[shared] == tokens[shared]:
                shared += 1
            self._cut(shared)
            rows = len(span.tokens) - span.start
            logits = self._run(tokens[len(self._held) :], rows)[-rows:].float().cpu().numpy()
            scores += scores_of(logits, [list(enumerate(span.tokens[span.start :]))])
        return scores

    def logits(self, tokens: Sequence[int], start: int) -> Any:
        """Evaluate tokens from an empty cache; return logits [len(tokens) - start, vocabulary]."""
        self._cut(0)
        rows = len(tokens) - start
        return self._run(tokens, rows)[-rows:].float().cpu().numpy()

    def close(self) -> None:
        """Free the model."""
        self._model = self._cache = self._last = None

    def _run(self, tokens: Sequence[int], rows: int) -> Any:
        torch = self._torch
        if len(self._held) + len(tokens) > self.info.context:
            raise EdgebenchError(
                f"{len(self._held) + len(tokens)} tokens are longer than the context of "
                f"{self.info.context}"
            )
        with torch.inference_mode():
            ids = torch.tensor([list(tokens)], device=self._device)
            out = self._model(ids, past_key_values=self._cache, use_cache=True, logits_to_keep=rows)
        self._held += tokens
        if self._device == "cuda":
            torch.cuda.synchronize()
        return out.logits[0]

    def _cut(self, length: int) -> None:
        """Forget what was evaluated after `length` tokens; all of it where a layer can't."""
        sliding = self._cache is not None and any(self._cache.is_sliding)
        if length and (length == len(self._held) or not sliding):
            if length < len(self._held):
                self._cache.crop(length)
        else:
            length = 0
            self._cache = self._transformers.DynamicCache(config=self._model.config)
        del self._held[length:]


def _weights_bytes(model: Any) -> int:
    """Return the bytes of the weights, shared ones once."""
    seen = {one.data_ptr(): one.numel() * one.element_size() for one in model.parameters()}
    return sum(seen.values())


def _kv_bytes(model: Any, room: int) -> int | None:
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None)
    if not heads:
        return None
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    width = next(model.parameters()).element_size()
    return int(2 * config.num_hidden_layers * heads * size * room * width)

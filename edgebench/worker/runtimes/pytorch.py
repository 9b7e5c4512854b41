"""transformers on torch: the checkpoint itself, the reference that both formats are held against.

Knows transformers' cache and its types. Measures nothing itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgebench.device.system import compute_cores
from edgebench.errors import BadFileError, MissingExtraError, OutOfMemoryError, UnsupportedError
from edgebench.records.artifact import Artifact
from edgebench.records.device import RuntimeInfo
from edgebench.records.settings import Settings
from edgebench.records.spans import ChatTemplate, Score, Span
from edgebench.sources.checkpoint import open_checkpoint
from edgebench.sources.tokenizer import Tokenizer
from edgebench.worker.runtimes import Room
from edgebench.worker.runtimes.history import History, Synthetic
from edgebench.worker.runtimes.scores import scores_of, targets_of

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
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(
                str(checkpoint.path), dtype=getattr(torch, _TYPES[artifact.level]),
                local_files_only=True, trust_remote_code=False, use_safetensors=True,
            )  # fmt: skip
            model = model.eval().to(settings.provider)
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise OutOfMemoryError(f"torch can't load {artifact.name}: {error}") from None
        except Exception as error:  # noqa: BLE001 - transformers raises whatever its parts raise
            said = " ".join(str(error).split())[:500]
            raise BadFileError(f"transformers can't load {artifact.name}: {said}") from None
        self._tokenizer = Tokenizer(checkpoint.path)
        self._history = History(TorchCache(torch, transformers, model), room.context)
        self.vocabulary = int(model.config.get_text_config().vocab_size)
        self._synthetic = Synthetic(self.vocabulary)
        self.warnings: tuple[str, ...] = ()
        self.weights_bytes: int | None = _weights_bytes(model)
        self.kv_cache_bytes = _kv_bytes(model, room.context)
        self.info = RuntimeInfo(
            name="torch",
            version=f"torch {torch.__version__}, transformers {transformers.__version__}",
            build=" ".join(torch.__config__.show().split())[:500],
            provider=settings.provider,
            threads=torch.get_num_threads(),
            gpu_layers=0,
            kv_type=_KV_NAMES[artifact.level],
            flash_attention=str(model.config._attn_implementation),
            batch=room.context,
            micro_batch=room.context,
            context=room.context,
        )

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

    def keep(self, count: int) -> int:
        """Forget all but the first `count` tokens; return how many are still held."""
        return self._history.keep(count)

    def start_token(self) -> int | None:
        """Return the token that the model wants before any text, or None."""
        return self._tokenizer.start_token()

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

    def first_token(self) -> int:
        """Return the likeliest token after what was evaluated last."""
        return self._history.first_token()

    def score(self, spans: Sequence[Span]) -> list[Score]:
        """Score spans in order; what a span shares with the one before is evaluated once."""
        scores = []
        for span in spans:
            scores += scores_of(_array(self._history.scored(span)), [targets_of(span)])
        return scores

    def logits(self, tokens: Sequence[int], start: int) -> Any:
        """Evaluate tokens from an empty cache; return logits [len(tokens) - start, vocabulary]."""
        self._history.keep(0)
        return _array(self._history.extend(tokens, len(tokens) - start))

    def close(self) -> None:
        """Free the model."""
        del self._history


class TorchCache:
    """A model with transformers' own cache of one sequence."""

    def __init__(self, torch: Any, transformers: Any, model: Any) -> None:
        self._torch, self._transformers, self._model = torch, transformers, model
        self._cache: Any = None
        self.length = 0
        self.cut(0)

    def run(self, tokens: Sequence[int], rows: int) -> Any:
        """Evaluate tokens; return the last `rows` rows of logits once the device is done."""
        device = self._model.device
        with self._torch.inference_mode():
            ids = self._torch.tensor([list(tokens)], device=device)
            out = self._model(ids, past_key_values=self._cache, use_cache=True, logits_to_keep=rows)
        if device.type == "cuda":
            self._torch.cuda.synchronize()
        self.length += len(tokens)
        return out.logits[0]

    def step(self, token: int) -> Any:
        """Evaluate one token."""
        return self.run([token], 1)

    def cut(self, length: int) -> None:
        """Forget what was evaluated after `length` tokens; all of it where a layer can't."""
        sliding = self._cache is not None and any(self._cache.is_sliding)
        if length and (length == self.length or not sliding):
            if length < self.length:
                self._cache.crop(length)
        else:
            length = 0
            self._cache = self._transformers.DynamicCache(config=self._model.config)
        self.length = length


def _array(logits: Any) -> Any:
    return logits.float().cpu().numpy()


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

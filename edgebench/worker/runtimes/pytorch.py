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
from edgebench.records.spans import Score, Span
from edgebench.sources.checkpoint import open_checkpoint
from edgebench.sources.tokenizer import Tokenizer
from edgebench.worker.runtimes import Room
from edgebench.worker.runtimes.checkpoint_roles import CheckpointRoles
from edgebench.worker.runtimes.history import History
from edgebench.worker.runtimes.scores import scores_of, targets_of

_TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_KV_NAMES = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


class Torch:
    """Loads checkpoints."""

    def open(self, artifact: Artifact, settings: Settings, room: Room) -> TorchSession:
        """Load a checkpoint on the CPU or on CUDA in the artifact's type.

        Raises BadFileError where transformers can't load it, UnsupportedError where torch has no
        such device, OutOfMemoryError where it doesn't fit.
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


class TorchSession(CheckpointRoles):
    """A model in eval mode, with one sequence's cache."""

    def __init__(
        self, torch: Any, transformers: Any, artifact: Artifact, settings: Settings, room: Room
    ) -> None:
        checkpoint = open_checkpoint(Path(artifact.path))
        threads = settings.threads or compute_cores()
        torch.set_num_threads(threads)
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(
                str(checkpoint.path),
                dtype=getattr(torch, _TYPES[artifact.level]),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
            )
            model = model.eval().to(settings.provider)
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise OutOfMemoryError(f"torch can't load {artifact.name}: {error}") from None
        except Exception as error:  # noqa: BLE001 - transformers raises whatever its parts raise
            said = " ".join(str(error).split())[:500]
            raise BadFileError(f"transformers can't load {artifact.name}: {said}") from None
        super().__init__(
            Tokenizer(checkpoint.path),
            History(TorchCache(torch, transformers, model), room.context),
            int(model.config.get_text_config().vocab_size),
        )
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
    seen = {
        weight.data_ptr(): weight.numel() * weight.element_size() for weight in model.parameters()
    }
    return sum(seen.values())


def _kv_bytes(model: Any, room: int) -> int | None:
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None)
    if not heads:
        return None
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    width = next(model.parameters()).element_size()
    return int(2 * config.num_hidden_layers * heads * size * room * width)

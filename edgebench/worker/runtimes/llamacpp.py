"""llama.cpp through the low-level API of llama-cpp-python; flags as llama-bench sets them.

Knows models, contexts, batches and what llama.cpp's log says of buffers and flash attention.
The high-level `Llama` class is not used: it keeps evaluated prefixes, so a repeated prompt would
cost nothing. Measures nothing itself.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

from edgebench.device.system import compute_cores
from edgebench.errors import BadFileError, EdgebenchError, OutOfMemoryError, UnsupportedError
from edgebench.records.artifact import Artifact
from edgebench.records.device import RuntimeInfo
from edgebench.records.settings import Settings
from edgebench.records.spans import ChatTemplate, Score, Span
from edgebench.sources.llama_library import llama_api
from edgebench.worker.runtimes import Room
from edgebench.worker.runtimes.history import Synthetic
from edgebench.worker.runtimes.llamacpp_batch import Filler
from edgebench.worker.runtimes.packing import Group, group, pack, trunk_length
from edgebench.worker.runtimes.scores import scores_of

_KV_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}
_FLASH = {"auto": -1, "off": 0, "on": 1}
_LOAD_MODES = {"auto": -1, "none": 0, "mmap": 1, "mlock": 2}
_KV_BUFFER = re.compile(r"(?:KV|RS) buffer size =\s*([\d.]+) MiB")
_MEMORY_WORDS = ("failed to allocate", "out of memory", "bad_alloc", "unable to allocate")
_DEBUG = 1  # GGML_LOG_LEVEL_DEBUG


class LlamaCpp:
    """Loads GGUF artifacts."""

    def open(self, artifact: Artifact, settings: Settings, room: Room) -> LlamaCppSession:
        """Load a GGUF file and make a context of `room`.

        Raises BadFileError where llama.cpp refuses the file, OutOfMemoryError where it doesn't
        fit, UnsupportedError where this build has no GPU for the layers asked for.
        """
        api = llama_api()
        if settings.provider != "cpu":
            raise UnsupportedError(
                f"llama.cpp takes no provider {settings.provider!r}: it uses the one that it was "
                "built with",
                hint="set gpu_layers=-1 to put the layers on the GPU",
            )
        if settings.gpu_layers and not api.llama_supports_gpu_offload():
            raise UnsupportedError(
                "this build of llama-cpp-python has no GPU support",
                hint='reinstall it with CMAKE_ARGS="-DGGML_CUDA=on", or set gpu_layers=0',
            )
        return LlamaCppSession(api, artifact, settings, room)


class LlamaCppSession:
    """A model and a context, both freed by `close`."""

    warnings: tuple[str, ...] = ()

    def __init__(self, api: Any, artifact: Artifact, settings: Settings, room: Room) -> None:
        self._api = api
        self._log: list[str] = []
        self._context: Any = None
        self._start_logging()
        api.llama_backend_init()
        self._model = self._load(artifact, settings)
        self._vocab = api.llama_model_get_vocab(self._model)
        self._context = self._make_context(artifact, settings, room)
        self._memory = api.llama_get_memory(self._context)
        self.vocabulary = int(api.llama_vocab_n_tokens(self._vocab))
        self.weights_bytes: int | None = int(api.llama_model_size(self._model))
        self.kv_cache_bytes = self._kv_bytes()
        self.info = self._info(settings)
        self._sequences = room.sequences
        self._synthetic = Synthetic(self.vocabulary)
        self._one = (api.llama_token * 1)()
        self._greedy = api.llama_sampler_init_greedy()

    # loading

    def _start_logging(self) -> None:
        @self._api.llama_log_callback  # type: ignore[untyped-decorator]
        def on_log(level: int, text: bytes, _: Any) -> None:
            if level == _DEBUG:
                return
            line = text.decode("utf-8", "replace")
            self._log.append(line)
            sys.stderr.write(line)

        self._on_log = on_log  # llama.cpp keeps the pointer; Python must keep the function
        self._api.llama_log_set(on_log, None)

    def _load(self, artifact: Artifact, settings: Settings) -> Any:
        parameters = self._api.llama_model_default_params()
        parameters.n_gpu_layers = settings.gpu_layers
        parameters.load_mode = _LOAD_MODES[settings.load_mode]
        model = self._api.llama_model_load_from_file(os.fsencode(artifact.path), parameters)
        if not model:
            raise self._failure(f"llama.cpp can't load {artifact.name}")
        return model

    def _make_context(self, artifact: Artifact, settings: Settings, room: Room) -> Any:
        threads = settings.threads or compute_cores()
        parameters = self._api.llama_context_default_params()
        parameters.n_ctx = room.context
        # Scored items are evaluated whole, so there a batch must hold the context.
        scoring = room.sequences > 1
        parameters.n_batch = max(settings.batch, room.context) if scoring else settings.batch
        parameters.n_ubatch = settings.micro_batch
        parameters.n_seq_max = room.sequences
        parameters.kv_unified = room.sequences > 1
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.flash_attn_type = _FLASH[settings.flash_attention]
        parameters.type_k = parameters.type_v = _KV_TYPES[settings.kv_type]
        parameters.swa_full = False
        context = self._api.llama_init_from_model(self._model, parameters)
        if not context:
            raise self._failure(
                f"llama.cpp can't make a context of {room.context} tokens for {artifact.name}"
            )
        return context

    def _failure(self, what: str) -> EdgebenchError:
        said = " ".join(line.strip() for line in self._log[-4:])[-500:]
        self.close()
        if any(word in said.lower() for word in _MEMORY_WORDS):
            return OutOfMemoryError(f"{what}: {said}", hint="take a smaller level or context")
        return BadFileError(f"{what}: {said}", hint="the file may be of a newer or unknown kind")

    def _kv_bytes(self) -> int | None:
        sizes = [float(match) for match in _KV_BUFFER.findall("".join(self._log))]
        return round(sum(sizes) * 2**20) if sizes else None

    def _info(self, settings: Settings) -> RuntimeInfo:
        api, log = self._api, "".join(self._log)
        flash: str = settings.flash_attention
        if flash == "auto":
            flash = "on" if "Flash Attention enabled" in log else "off"
        return RuntimeInfo(
            name="llama.cpp",
            version=_version(api),
            build=api.llama_print_system_info().decode("utf-8", "replace").strip(" |"),
            provider="gpu" if settings.gpu_layers else "cpu",
            threads=int(api.llama_n_threads(self._context)),
            gpu_layers=settings.gpu_layers,
            kv_type=settings.kv_type,
            flash_attention=flash,
            batch=int(api.llama_n_batch(self._context)),
            micro_batch=int(api.llama_n_ubatch(self._context)),
            context=int(api.llama_n_ctx(self._context)),
            load_mode=settings.load_mode,
        )

    # text

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Tokenize text; special tokens written in it are plain text, unless asked for."""
        raw = text.encode()
        room = len(raw) + 8
        tokens = (self._api.llama_token * room)()
        count = self._api.llama_tokenize(self._vocab, raw, len(raw), tokens, room, False, special)
        if count < 0:
            raise EdgebenchError(f"llama.cpp can't tokenize a text of {len(raw)} bytes")
        return list(tokens[:count])

    def start_token(self) -> int | None:
        """Return BOS where the model asks for one."""
        if not self._api.llama_vocab_get_add_bos(self._vocab):
            return None
        return int(self._api.llama_vocab_bos(self._vocab))

    def prefix_token(self) -> int | None:
        """Return BOS, else EOS, else None."""
        return next((token for token in self._ends_of_text() if token >= 0), None)

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special ones; bytes that aren't text are replaced."""
        return b"".join(self._piece(token) for token in tokens).decode("utf-8", "replace")

    def _piece(self, token: int) -> bytes:
        room = 256
        buffer = (ctypes.c_char * room)()
        count = self._api.llama_token_to_piece(self._vocab, token, buffer, room, 0, False)
        if count < 0:
            buffer = (ctypes.c_char * -count)()
            count = self._api.llama_token_to_piece(self._vocab, token, buffer, -count, 0, False)
        return bytes(buffer.raw[: max(count, 0)])

    def is_end(self, token: int) -> bool:
        """Return whether the model ends its answer with this token."""
        return bool(self._api.llama_vocab_is_eog(self._vocab, token))

    def chat_template(self) -> ChatTemplate | None:
        """Return the template in the file's metadata, or None."""
        source = self._api.llama_model_chat_template(self._model, None)
        if not source:
            return None
        bos, eos = (self._token_text(token) for token in self._ends_of_text())
        return ChatTemplate(source.decode("utf-8", "replace"), bos, eos)

    def _ends_of_text(self) -> tuple[int, int]:
        """Return BOS and EOS, negative where the file names none."""
        bos, eos = self._api.llama_vocab_bos, self._api.llama_vocab_eos
        return int(bos(self._vocab)), int(eos(self._vocab))

    def _token_text(self, token: int) -> str:
        if token < 0:
            return ""
        raw: bytes = self._api.llama_vocab_get_text(self._vocab, token)
        return raw.decode("utf-8", "replace")

    # speed

    def keep(self, count: int) -> int:
        """Forget all but the first `count` tokens; return how many are still held."""
        held = int(self._api.llama_memory_seq_pos_max(self._memory, 0)) + 1
        if count and held >= count and self._cut(count):
            return count
        self._api.llama_memory_clear(self._memory, False)
        return 0

    def reset(self, depth: int) -> None:
        """Make the KV cache hold exactly `depth` synthetic tokens, reusing them if it can."""
        if self.keep(depth) < depth:
            self.prefill(self.synthetic(depth))

    def _cut(self, depth: int) -> bool:
        # False for recurrent models, which can't forget a part of what they read.
        return bool(self._api.llama_memory_seq_rm(self._memory, 0, depth, -1))

    def synthetic(self, count: int) -> list[int]:
        """Return `count` pseudo-random tokens, the same ones each time."""
        return self._synthetic.take(count)

    def prefill(self, tokens: Sequence[int]) -> None:
        """Evaluate tokens in batches after what the cache holds; wait for the last one.

        Raises EdgebenchError where llama.cpp didn't evaluate all of them.
        """
        api = self._api
        start = int(api.llama_memory_seq_pos_max(self._memory, 0)) + 1
        array = (api.llama_token * len(tokens))(*tokens)
        step = self.info.batch
        for first in range(0, len(tokens), step):
            count = min(step, len(tokens) - first)
            part = (api.llama_token * count).from_buffer(array, first * 4)
            self._decode(api.llama_batch_get_one(part, count))
        api.llama_synchronize(self._context)
        evaluated = int(api.llama_memory_seq_pos_max(self._memory, 0)) + 1 - start
        if evaluated != len(tokens):
            raise EdgebenchError(f"llama.cpp evaluated {evaluated} of {len(tokens)} tokens")

    def decode(self, count: int) -> list[int]:
        """Evaluate `count` synthetic tokens one by one; return the time after each."""
        api, cell = self._api, self._one
        synchronize, context = api.llama_synchronize, self._context
        batch = api.llama_batch_get_one(cell, 1)
        times = []
        for token in self.synthetic(count):
            cell[0] = token
            self._decode(batch)
            synchronize(context)
            times.append(time.perf_counter_ns())
        return times

    def likeliest(self) -> int:
        """Return the likeliest token after what was evaluated last."""
        return int(self._api.llama_sampler_sample(self._greedy, self._context, -1))

    def _decode(self, batch: Any) -> None:
        code = self._api.llama_decode(self._context, batch)
        if code == 1:
            raise EdgebenchError("the KV cache is full", hint="ask for a larger context")
        if code != 0:
            raise EdgebenchError(f"llama_decode failed with code {code}")

    # scores

    def score(self, spans: Sequence[Span]) -> list[Score]:
        """Score spans: contexts that neighbours share, and a trunk shared by all, once each.

        Raises EdgebenchError where a span is longer than the context or a logit is not finite.
        """
        api = self._api
        trunk = trunk_length(spans)
        api.llama_memory_clear(self._memory, False)
        if trunk:
            self.prefill(spans[0].tokens[:trunk])
        room = self.info.context - trunk
        groups = group(spans, self._sequences - 1, trunk, room)
        budget = min(self.info.micro_batch, room)
        scores: list[Score] = []
        for batch in pack(groups, trunk, budget, self._sequences - 1):
            scores.extend(self._score_batch(batch, trunk))
        return scores

    def _score_batch(self, groups: Sequence[Group], trunk: int) -> list[Score]:
        api = self._api
        cost = sum(group.cost(trunk) for group in groups)
        if cost > min(self.info.batch, self.info.context - trunk):
            raise EdgebenchError(
                f"an item of {cost} tokens is longer than the context of {self.info.context}"
            )
        filler = Filler(api, cost, self._sequences)
        try:
            targets = [row for group in groups for row in filler.add(group, trunk)]
            if trunk:
                for sequence in range(1, filler.next_sequence):
                    api.llama_memory_seq_cp(self._memory, 0, sequence, 0, trunk)
            self._decode(filler.batch)
            scores = self._read(filler.rows, targets)
        finally:
            filler.free()
        for sequence in range(1, filler.next_sequence):
            api.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return scores

    def _read(self, rows: int, targets: Sequence[list[tuple[int, int]]]) -> list[Score]:
        import numpy as np

        pointer = self._api.llama_get_logits(self._context)
        logits = np.ctypeslib.as_array(pointer, shape=(rows, self.vocabulary))
        return scores_of(logits, targets, self.info.threads)

    def logits(self, tokens: Sequence[int], start: int) -> Any:
        """Evaluate tokens from an empty cache; return logits [len(tokens) - start, vocabulary].

        The array is llama.cpp's own and holds until the next evaluation. Raises EdgebenchError
        where the tokens are more than a batch.
        """
        import numpy as np

        if len(tokens) > min(self.info.batch, self.info.context):
            raise EdgebenchError(f"{len(tokens)} tokens are longer than a batch or the context")
        self._api.llama_memory_clear(self._memory, False)
        filler = Filler(self._api, len(tokens), 1)
        try:
            filler.add_rows(tokens, start)
            self._decode(filler.batch)
        finally:
            filler.free()
        pointer = self._api.llama_get_logits(self._context)
        return np.ctypeslib.as_array(pointer, shape=(len(tokens) - start, self.vocabulary))

    def close(self) -> None:
        """Free the sampler, the context and the model."""
        if getattr(self, "_greedy", None):
            self._api.llama_sampler_free(self._greedy)
            self._greedy = None
        if self._context:
            self._api.llama_free(self._context)
            self._context = None
        if getattr(self, "_model", None):
            self._api.llama_model_free(self._model)
            self._model = None


def _version(api: Any) -> str:
    from importlib.metadata import version

    own = api.llama_version().decode("utf-8", "replace") if hasattr(api, "llama_version") else ""
    return f"llama-cpp-python {version('llama-cpp-python')}, llama.cpp {own}".rstrip(", ")

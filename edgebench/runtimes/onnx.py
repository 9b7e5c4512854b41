"""onnxruntime with I/O binding: fused graphs share one KV buffer, standard ones hand theirs on.

Knows execution providers, session options and the two kinds of graph. Measures nothing itself.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from edgebench.errors import (
    BadFileError,
    EdgebenchError,
    MissingExtraError,
    OutOfMemoryError,
    UnsupportedError,
)
from edgebench.onnx_file import OnnxInfo, read_onnx
from edgebench.records import Artifact, RuntimeInfo, Settings
from edgebench.runtimes import Room, Score, Span
from edgebench.runtimes.common import Synthetic, Tokenizer, scores_of
from edgebench.system import compute_cores

LOGITS_START = "logits_start"  # an input that fused graphs of `edgebench export` have
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "qnn": "QNNExecutionProvider",
}
_PACKAGES = {"cuda": "onnxruntime-gpu", "tensorrt": "onnxruntime-gpu",
             "directml": "onnxruntime-directml", "qnn": "onnxruntime-qnn"}  # fmt: skip
_ON_GPU = {"cuda", "tensorrt"}  # where the KV cache stays on the device
_MEMORY_WORDS = ("failed to allocate", "out of memory", "bad_alloc", "bad allocation")
_NUMPY = {"tensor(float)": "float32", "tensor(float16)": "float16"}
_KV_NAMES = {"float32": "f32", "float16": "f16"}


class Onnx:
    """Loads ONNX artifacts."""

    def open(self, artifact: Artifact, settings: Settings, room: Room) -> OnnxSession:
        """Load a graph with the provider that the settings name.

        Raises BadFileError where the files are not as they should be, UnsupportedError where this
        onnxruntime has no such provider, OutOfMemoryError where the graph does not fit.
        """
        try:
            import onnxruntime as ort
        except ImportError:
            raise MissingExtraError("onnxruntime", "onnx") from None
        if settings.provider not in PROVIDERS:
            raise UnsupportedError(f"onnxruntime has no provider {settings.provider!r}")
        available = ort.get_available_providers()
        if PROVIDERS[settings.provider] not in available:
            package = _PACKAGES.get(settings.provider, "a build of onnxruntime with it")
            raise UnsupportedError(
                f"the installed onnxruntime has no provider {settings.provider}",
                hint=f"install {package}; this one has {', '.join(available)}",
            )
        info = read_onnx(Path(artifact.path))
        with _named_failures(artifact.name):
            return OnnxSession(ort, info, artifact, settings, room)


class Cache(Protocol):
    """How a graph's KV cache is kept between evaluations."""

    length: int

    def run(self, tokens: Sequence[int], rows: int) -> Any:
        """Evaluate tokens after `length` ones; return the last `rows` rows of logits or more."""
        ...

    def cut(self, length: int) -> None:
        """Forget what was evaluated after `length` tokens."""
        ...

    def step(self, token: int) -> Any:
        """Evaluate one token; return its logits [1, vocabulary]."""
        ...


class OnnxSession:
    """A graph in an onnxruntime session, with one sequence."""

    def __init__(
        self, ort: Any, graph: OnnxInfo, artifact: Artifact, settings: Settings, room: Room
    ) -> None:
        threads = settings.threads or compute_cores()
        options = _options(ort, threads, settings.provider)
        names = [PROVIDERS[settings.provider]]
        if settings.provider != "cpu":
            names.append(PROVIDERS["cpu"])
        self._ort: Any = ort.InferenceSession(str(graph.path), options, providers=names)
        shares = _node_shares(self._ort)
        self._tokenizer = Tokenizer(graph.path.parent)
        device = "cuda" if settings.provider in _ON_GPU else "cpu"
        self._cache = _cache(ort, self._ort, graph.fused, room.context, device)
        self._last: Any = None
        self._held: list[int] = []
        self.vocabulary = int(_outputs(self._ort)["logits"].shape[-1])
        self.weights_bytes: int | None = graph.size_bytes
        self.kv_cache_bytes = _kv_bytes(self._ort, room.context)
        self.warnings = _warnings(settings.provider, shares, graph.fused)
        self._synthetic = Synthetic(self.vocabulary)
        self.info = RuntimeInfo(
            name="onnxruntime",
            version=f"onnxruntime {ort.__version__}",
            build=ort.get_build_info().strip()[:500],
            provider=settings.provider,
            provider_nodes=shares,
            threads=threads,
            gpu_layers=0,
            kv_type=_KV_NAMES[_kv_type(self._ort)],
            flash_attention="fused" if graph.fused else "standard",
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
        if self._held[:depth] == wanted:
            self._cut(depth)
            return
        self._cut(0)
        if depth:
            self.prefill(wanted)

    def synthetic(self, count: int) -> list[int]:
        """Return `count` pseudo-random tokens, the same ones each time."""
        return self._synthetic.take(count)

    def prefill(self, tokens: Sequence[int]) -> None:
        """Evaluate tokens after what the cache holds; return when the last one is done."""
        self._need(len(tokens))
        self._last = self._cache.run(tokens, 1)[-1]
        self._held += tokens

    def decode(self, count: int) -> list[int]:
        """Evaluate `count` synthetic tokens one by one; return the time after each."""
        self._need(count)
        step, times = self._cache.step, []
        tokens = self.synthetic(count)
        logits = None
        for token in tokens:
            logits = step(token)
            times.append(time.perf_counter_ns())
        if logits is not None:
            self._last = logits[-1]
        self._held += tokens
        return times

    def first_token(self) -> int:
        """Return the likeliest token after what was evaluated last."""
        return int(self._last.argmax())

    def score(self, spans: Sequence[Span]) -> list[Score]:
        """Score spans in order; what a span shares with the one before is evaluated once."""
        scores = []
        for span in spans:
            tokens = list(span.tokens[:-1])
            shared = _shared(self._held, tokens[: span.start - 1])
            self._cut(shared)
            rest = tokens[shared:]
            self._need(len(rest))
            rows = len(span.tokens) - span.start
            logits = self._cache.run(rest, rows)[-rows:]
            self._held += rest
            scores += scores_of(logits, [list(enumerate(span.tokens[span.start :]))])
        return scores

    def logits(self, tokens: Sequence[int], start: int) -> Any:
        """Evaluate tokens from an empty cache; return logits [len(tokens) - start, vocabulary]."""
        self._cut(0)
        self._need(len(tokens))
        rows = len(tokens) - start
        found = self._cache.run(tokens, rows)[-rows:]
        self._held += tokens
        return found

    def close(self) -> None:
        """Free the graph."""
        self._cache = self._ort = self._last = None  # type: ignore[assignment]

    def _cut(self, length: int) -> None:
        self._cache.cut(length)
        del self._held[length:]

    def _need(self, count: int) -> None:
        if self._cache.length + count > self.info.context:
            raise EdgebenchError(
                f"{self._cache.length + count} tokens are longer than the context of "
                f"{self.info.context}"
            )


class SharedCache:
    """A fused graph's cache: past and present are one buffer [1, heads, room, head size].

    The attention mask's width is the total length, so a step binds shapes alone and copies nothing.
    """

    def __init__(self, ort: Any, session: Any, room: int, device: str) -> None:
        import numpy as np

        self.length = 0
        self._session = session
        self._inputs = _inputs(session)
        self._binding = session.io_binding()
        self._buffers = []  # onnxruntime keeps pointers; Python must keep what they point at
        for name, one in self._inputs.items():
            if name.startswith("past_key_values."):
                zeros = np.zeros([1, one.shape[1], room, one.shape[3]], _NUMPY[one.type])
                value = ort.OrtValue.ortvalue_from_numpy(zeros, device, 0)
                self._buffers.append(value)
                self._binding.bind_ortvalue_input(name, value)
                present = name.replace("past_key_values.", "present.")
                self._binding.bind_ortvalue_output(present, value)
        logits = _outputs(session)["logits"]
        self._type, self._vocabulary = _NUMPY[logits.type], int(logits.shape[-1])
        self._mask = np.ones(room, np.int64)
        self._positions = np.arange(room, dtype=np.int64)
        self._start = np.zeros(1, np.int64)
        self._one = np.zeros(1, np.int64)
        self._step_logits = np.zeros((1, self._vocabulary), self._type)
        self._stepping = False

    def cut(self, length: int) -> None:
        """Forget what was evaluated after `length` tokens: the buffer stays as it is."""
        self.length = length

    def run(self, tokens: Sequence[int], rows: int) -> Any:
        """Evaluate tokens; return the last `rows` rows of logits, or all that the graph gives."""
        import numpy as np

        self._stepping = False
        ids = np.asarray(tokens, np.int64)
        count = len(ids)
        kept = rows if LOGITS_START in self._inputs else count
        out = np.empty((kept, self._vocabulary), self._type)
        self._start[0] = count - kept
        self._bind_step(ids, out)
        self._bind_length(count)
        self._session.run_with_iobinding(self._binding)
        self.length += count
        return out

    def step(self, token: int) -> Any:
        """Evaluate one token; the logits' array is the same each time."""
        if not self._stepping:
            self._start[0] = 0
            self._bind_step(self._one, self._step_logits)
            self._stepping = True
        self._one[0] = token
        self._bind_length(1)
        self._session.run_with_iobinding(self._binding)
        self.length += 1
        return self._step_logits

    def _bind_step(self, ids: Any, out: Any) -> None:
        self._bind("input_ids", ids, (1, len(ids)))
        if LOGITS_START in self._inputs:
            self._bind(LOGITS_START, self._start, (1,))
        self._binding.bind_output(
            "logits", "cpu", 0, out.dtype.type, [1, *out.shape], out.ctypes.data
        )

    def _bind_length(self, count: int) -> None:
        self._bind("attention_mask", self._mask, (1, self.length + count))
        if "position_ids" in self._inputs:
            self._bind("position_ids", self._positions, (1, count), self.length)

    def _bind(self, name: str, array: Any, shape: tuple[int, ...], offset: int = 0) -> None:
        pointer = array.ctypes.data + offset * array.itemsize
        self._binding.bind_input(name, "cpu", 0, array.dtype.type, list(shape), pointer)


class GrowingCache:
    """A standard graph's cache: each evaluation's present is the next one's past."""

    def __init__(self, ort: Any, session: Any) -> None:
        self._ort, self._session = ort, session
        self._inputs = _inputs(session)
        self._past = [name for name in self._inputs if name.startswith("past_key_values.")]
        self._present = [name.replace("past_key_values.", "present.") for name in self._past]
        self._values: list[Any] = []
        self.length = 0
        self.cut(0)

    def cut(self, length: int) -> None:
        """Forget what was evaluated after `length` tokens, by a copy of what stays."""
        import numpy as np

        if length and length == self.length:
            return
        kept = []
        for index, name in enumerate(self._past):
            one = self._inputs[name]
            if length:
                part = np.ascontiguousarray(self._values[index].numpy()[:, :, :length])
            else:
                part = np.zeros([1, one.shape[1], 0, one.shape[3]], _NUMPY[one.type])
            kept.append(self._ort.OrtValue.ortvalue_from_numpy(part))
        self._values, self.length = kept, length

    def run(self, tokens: Sequence[int], rows: int) -> Any:
        """Evaluate tokens; return all rows of logits, which is what the graph gives."""
        import numpy as np

        binding = self._session.io_binding()
        count = len(tokens)
        binding.bind_cpu_input("input_ids", np.asarray([tokens], np.int64))
        if "attention_mask" in self._inputs:
            binding.bind_cpu_input("attention_mask", np.ones((1, self.length + count), np.int64))
        if "position_ids" in self._inputs:
            positions = np.arange(self.length, self.length + count, dtype=np.int64)[None]
            binding.bind_cpu_input("position_ids", positions)
        for name, value in zip(self._past, self._values, strict=True):
            binding.bind_ortvalue_input(name, value)
        for name in ("logits", *self._present):
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        logits, *self._values = binding.get_outputs()
        self.length += count
        return logits.numpy()[0]

    def step(self, token: int) -> Any:
        """Evaluate one token."""
        return self.run([token], 1)


def open_cache(ort: Any, graph: OnnxInfo, room: int) -> Cache:
    """Load a graph on the CPU with room for `room` tokens, without a tokenizer."""
    session = ort.InferenceSession(
        str(graph.path), _options(ort, compute_cores(), "cpu"), providers=[PROVIDERS["cpu"]]
    )
    return _cache(ort, session, graph.fused, room, "cpu")


def _cache(ort: Any, session: Any, fused: bool, room: int, device: str) -> Cache:
    return SharedCache(ort, session, room, device) if fused else GrowingCache(ort, session)


def _options(ort: Any, threads: int, provider: str) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    with contextlib.suppress(Exception):  # older versions do not know it
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if provider == "xnnpack":
        # Its own thread pool does the work; onnxruntime's would spin beside it.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _node_shares(session: Any) -> dict[str, float]:
    """Return the share of nodes that each provider took; empty where onnxruntime can't tell."""
    tell = getattr(session, "get_provider_graph_assignment_info", None)
    if tell is None:
        return {}
    try:
        counts: dict[str, int] = {}
        for part in tell():
            counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
    except Exception:  # noqa: BLE001 - a build without the record raises its own kinds
        return {}
    total = sum(counts.values())
    return {name: round(count / total, 4) for name, count in counts.items()} if total else {}


def _warnings(provider: str, shares: dict[str, float], fused: bool) -> tuple[str, ...]:
    found = []
    took = shares.get(PROVIDERS[provider], 0.0) if shares else None
    if provider != "cpu" and took is not None and took < 1:
        found.append(f"the provider {provider} took {took:.0%} of the nodes, the CPU the others")
    if provider != "cpu" and took is None:
        found.append(f"this onnxruntime does not tell how much the provider {provider} took")
    if not fused:
        found.append("a standard graph copies its KV cache at each token; fused ones do not")
    return tuple(found)


def _inputs(session: Any) -> dict[str, Any]:
    found = {one.name: one for one in session.get_inputs()}
    return found | {one.name: one for one in session.get_overridable_initializers()}


def _outputs(session: Any) -> dict[str, Any]:
    found = {one.name: one for one in session.get_outputs()}
    if "logits" not in found or not isinstance(found["logits"].shape[-1], int):
        raise BadFileError("the graph has no output 'logits' of a fixed vocabulary")
    if not any(one.name.startswith("past_key_values.") for one in session.get_inputs()):
        raise BadFileError(
            "the graph keeps no past_key_values, so each token would evaluate all before it",
            hint="export it with past: edgebench export DIR --format onnx",
        )
    return found


def _kv_type(session: Any) -> str:
    inputs = session.get_inputs()
    return next(_NUMPY[one.type] for one in inputs if one.name.startswith("past_key_values."))


def _kv_bytes(session: Any, room: int) -> int:
    total = 0
    for one in session.get_inputs():
        if one.name.startswith("past_key_values."):
            width = 2 if _NUMPY[one.type] == "float16" else 4
            total += int(one.shape[1]) * int(one.shape[3]) * room * width
    return total


def _shared(held: Sequence[int], tokens: Sequence[int]) -> int:
    """Return how many leading tokens are alike."""
    count = 0
    for a, b in zip(held, tokens, strict=False):
        if a != b:
            break
        count += 1
    return count


@contextlib.contextmanager
def _named_failures(name: str) -> Iterator[None]:
    """Give onnxruntime's failures our own kinds."""
    try:
        yield
    except (EdgebenchError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - onnxruntime raises a dozen kinds without a base
        said = " ".join(str(error).split())[:500]
        if any(word in said.lower() for word in _MEMORY_WORDS):
            raise OutOfMemoryError(f"onnxruntime can't load {name}: {said}") from None
        raise BadFileError(f"onnxruntime can't load {name}: {said}") from None

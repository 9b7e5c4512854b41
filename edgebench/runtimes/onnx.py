"""onnxruntime with I/O binding: fused graphs share one KV buffer, standard ones hand theirs on.

Knows execution providers, session options and the two kinds of graph. Measures nothing itself.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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
from edgebench.runtimes.onnx_cache import (
    NUMPY_TYPES,
    Cache,
    GrowingCache,
    SharedCache,
    outputs_of,
)
from edgebench.system import compute_cores

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
        self.vocabulary = int(outputs_of(self._ort)["logits"].shape[-1])
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


def _kv_type(session: Any) -> str:
    inputs = session.get_inputs()
    return next(NUMPY_TYPES[one.type] for one in inputs if one.name.startswith("past_key_values."))


def _kv_bytes(session: Any, room: int) -> int:
    total = 0
    for one in session.get_inputs():
        if one.name.startswith("past_key_values."):
            width = 2 if NUMPY_TYPES[one.type] == "float16" else 4
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

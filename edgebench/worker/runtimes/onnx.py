"""onnxruntime with I/O binding: fused graphs share one KV buffer, standard ones hand theirs on.

Knows execution providers, session options and the two kinds of graph. Measures nothing itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebench.device.system import compute_cores
from edgebench.errors import (
    BadFileError,
    EdgebenchError,
    MissingExtraError,
    OutOfMemoryError,
    UnsupportedError,
)
from edgebench.records.artifact import Artifact
from edgebench.records.device import RuntimeInfo
from edgebench.records.settings import Settings
from edgebench.records.spans import Score, Span
from edgebench.sources.onnx_file import OnnxInfo, read_onnx
from edgebench.sources.tokenizer import Tokenizer
from edgebench.worker.runtimes import Room
from edgebench.worker.runtimes.checkpoint_roles import CheckpointRoles
from edgebench.worker.runtimes.history import Cache, History
from edgebench.worker.runtimes.onnx_cache import NUMPY_TYPES, GrowingCache, SharedCache, outputs_of
from edgebench.worker.runtimes.onnx_tree import BUDGET, grow, tree_graph
from edgebench.worker.runtimes.packing import Group, group, pack, trunk_length
from edgebench.worker.runtimes.scores import scores_of, targets_of

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "qnn": "QNNExecutionProvider",
}
_PACKAGES = {
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu",
    "directml": "onnxruntime-directml",
    "qnn": "onnxruntime-qnn",
}
_ON_GPU = {"cuda", "tensorrt"}  # where the KV cache stays on the device
_MEMORY_WORDS = ("failed to allocate", "out of memory", "bad_alloc", "bad allocation")
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
# MatMulInteger's activations have one scale for all tokens of an evaluation, so that in a tree a
# neighbour would change an item's answer.
_ONE_BY_ONE = {"int8"}
_SAME = 0.02  # nats: float noise of halves is below
_KV_NAMES = {"float32": "f32", "float16": "f16"}


class Onnx:
    """Loads ONNX artifacts."""

    def open(self, artifact: Artifact, settings: Settings, room: Room) -> OnnxSession:
        """Load a graph with the provider that the settings name.

        Raises BadFileError where the files are not as they should be, UnsupportedError where this
        onnxruntime has no such provider, OutOfMemoryError where the graph doesn't fit.
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


class OnnxSession(CheckpointRoles):
    """A graph in an onnxruntime session, with one sequence."""

    def __init__(
        self, ort: Any, graph: OnnxInfo, artifact: Artifact, settings: Settings, room: Room
    ) -> None:
        threads = settings.threads or compute_cores()
        loaded = _load(ort, graph, settings, room)
        shares = _node_shares(loaded.session)
        super().__init__(
            Tokenizer(graph.path.parent),
            History(loaded.cache, room.context),
            int(outputs_of(loaded.session)["logits"].shape[-1]),
        )
        self._trees, self._tree_room = loaded.trees, loaded.tree_room
        self._sequences = room.sequences
        self.weights_bytes: int | None = graph.size_bytes
        self.kv_cache_bytes = _kv_bytes(loaded.session, room.context)
        self.warnings = _warnings(settings.provider, shares, graph.fused, loaded.no_trees)
        self.info = RuntimeInfo(
            name="onnxruntime",
            version=f"onnxruntime {ort.__version__}",
            build=ort.get_build_info().strip()[:500],
            provider=settings.provider,
            provider_nodes=shares,
            threads=threads,
            gpu_layers=0,
            kv_type=_KV_NAMES[_kv_type(loaded.session)],
            flash_attention="fused" if graph.fused else "standard",
            batch=room.context,
            micro_batch=room.context,
            context=room.context,
        )

    def score(self, spans: Sequence[Span]) -> list[Score]:
        """Score spans in order; a trunk that all share, and each context, are evaluated once.

        Where the graph takes trees (see `onnx_tree.py`), many spans are one evaluation. Elsewhere,
        and where a span is too long for that, each continuation is one, after its context.
        Singles and halves then score as one request at a time does, up to float noise. int4 rounds
        activations too, which makes that noise hundredths of a nat a token, as a step beside a
        prefill does; int8 graphs take no trees.
        Raises EdgebenchError where a span is longer than the context or a logit is not finite.
        """
        trunk, most = trunk_length(spans), max(1, self._sequences - 1)
        room = self._tree_room - trunk
        groups = group(spans, most, trunk, room if self._trees else None)
        self._history.keep(0)
        self._history.become(spans[0].tokens[:trunk] if trunk else ())
        scores: list[Score] = []
        for batch in pack(groups, trunk, min(BUDGET, room), most):
            self._history.keep(trunk)
            if self._trees and sum(group.cost(trunk) for group in batch) <= room:
                scores += _branch(self._trees, batch, trunk)
            else:
                scores += [score for group in batch for score in self._one_by_one(group)]
        return scores

    def _one_by_one(self, group: Group) -> list[Score]:
        # The context alone first, so that all continuations are treated alike: what an int8 graph
        # makes of a token depends on the tokens evaluated with it.
        self._history.become(group.spans[0].tokens[: group.shared - 1])
        scores = []
        for span in group.spans:
            scores += scores_of(self._history.scored(span), [targets_of(span)])
        return scores

    def logits(self, tokens: Sequence[int], start: int) -> Any:
        """Evaluate tokens from an empty cache; return logits [len(tokens) - start, vocabulary]."""
        self._history.keep(0)
        return self._history.extend(tokens, len(tokens) - start)

    def close(self) -> None:
        """Free the graph."""
        del self._history, self._trees


def open_cache(ort: Any, graph: OnnxInfo, room: int) -> Cache:
    """Load a graph on the CPU with room for `room` tokens, without a tokenizer."""
    session = ort.InferenceSession(
        str(graph.path), _options(ort, compute_cores(), "cpu"), providers=[PROVIDERS["cpu"]]
    )
    return _cache(ort, session, graph.fused, room, "cpu")


@dataclass(frozen=True)
class _Loaded:
    """A graph and its cache; `trees` is that cache where it takes trees of `tree_room` tokens.

    `no_trees` says why this onnxruntime can't evaluate them, where it was tried.
    """

    session: Any
    cache: Cache
    trees: SharedCache | None = None
    tree_room: int = 0
    no_trees: str = ""


def _load(ort: Any, graph: OnnxInfo, settings: Settings, room: Room) -> _Loaded:
    provider, threads, no_trees = settings.provider, settings.threads or compute_cores(), ""
    if room.sequences > 1 and graph.fused and provider == "cpu" and graph.level not in _ONE_BY_ONE:
        try:
            if with_trees := _load_with_trees(ort, graph, threads, room.context):
                return with_trees
        except _unknown_inputs(ort) as error:
            no_trees = " ".join(str(error).split())[:300]
            if any(word in no_trees.lower() for word in _MEMORY_WORDS):
                raise
    names = [PROVIDERS[provider]] if provider == "cpu" else [PROVIDERS[provider], PROVIDERS["cpu"]]
    options = _options(ort, threads, provider)
    session = ort.InferenceSession(str(graph.path), options, providers=names)
    device = "cuda" if provider in _ON_GPU else "cpu"
    cache = _cache(ort, session, graph.fused, room.context, device)
    return _Loaded(session, cache, no_trees=no_trees)


def _unknown_inputs(ort: Any) -> tuple[type[Exception], ...]:
    """Return what is raised where an operator hasn't the inputs of a tree, or ignores them."""
    kinds = ort.capi.onnxruntime_pybind11_state
    return (kinds.InvalidGraph, kinds.InvalidArgument, kinds.NotImplemented, kinds.Fail, _Blind)


class _Blind(Exception):
    """A kernel takes the inputs of a tree and ignores them."""


def _load_with_trees(ort: Any, graph: OnnxInfo, threads: int, room: int) -> _Loaded | None:
    """Load a graph with the inputs of a tree, its weights from their own file as ever.

    None where the graph itself can't have them. Raises _Blind and what `_unknown_inputs` names.
    """
    edited = tree_graph(graph.path)
    if not edited:
        return None
    options = _options(ort, threads, "cpu")
    options.add_session_config_entry(_WEIGHTS_FOLDER, str(graph.path.parent.resolve()))
    session = ort.InferenceSession(edited.model, options, providers=[PROVIDERS["cpu"]])
    cache = SharedCache(ort, session, room, "cpu")
    # A layer's window counts cells, whatever they hold: a tree has to fit in it.
    tree_room = min(room, edited.window or room)
    if not _sees_branches(cache):
        raise _Blind("attention_bias has no effect")
    return _Loaded(session, cache, cache, tree_room)


def _sees_branches(cache: SharedCache) -> bool:
    """Return whether a branch scores as it does alone: a kernel may ignore what hides the rest."""
    spans = (Span((1, 2, 3, 4), 2), Span((1, 2, 5, 6), 2))
    together = _branch(cache, [Group(0, spans, 2)], 0)
    alone = []
    for span in spans:
        alone += scores_of(cache.run(span.tokens[:-1], 2)[-2:], [targets_of(span)])
        cache.cut(0)
    pairs = zip(together, alone, strict=True)
    return all(abs(a.loglikelihood - b.loglikelihood) < _SAME for a, b in pairs)


def _branch(cache: SharedCache, groups: Sequence[Group], trunk: int) -> list[Score]:
    tree = grow(groups, trunk)
    return scores_of(cache.branch(tree), tree.targets)


def _cache(ort: Any, session: Any, fused: bool, room: int, device: str) -> Cache:
    return SharedCache(ort, session, room, device) if fused else GrowingCache(ort, session)


def _options(ort: Any, threads: int, provider: str) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
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


def _warnings(
    provider: str, shares: dict[str, float], fused: bool, no_trees: str
) -> tuple[str, ...]:
    warnings = []
    took = shares.get(PROVIDERS[provider], 0.0) if shares else None
    if provider != "cpu" and took is not None and took < 1:
        warnings.append(f"the provider {provider} took {took:.0%} of the nodes, the CPU the others")
    if provider != "cpu" and took is None:
        warnings.append(f"this onnxruntime doesn't tell how much the provider {provider} took")
    if not fused:
        warnings.append("a standard graph copies its KV cache at each token; fused ones don't")
    if no_trees:
        warnings.append(
            f"this onnxruntime can't score items side by side, only one by one, slower: {no_trees}"
        )
    return tuple(warnings)


def _kv_type(session: Any) -> str:
    inputs = session.get_inputs()
    return next(
        NUMPY_TYPES[value.type] for value in inputs if value.name.startswith("past_key_values.")
    )


def _kv_bytes(session: Any, room: int) -> int:
    total = 0
    for value in session.get_inputs():
        if value.name.startswith("past_key_values."):
            width = 2 if NUMPY_TYPES[value.type] == "float16" else 4
            total += int(value.shape[1]) * int(value.shape[3]) * room * width
    return total


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

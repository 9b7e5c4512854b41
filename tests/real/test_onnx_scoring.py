"""Scores of many spans at once are those of one request at a time, in ONNX graphs of both kinds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.shell import Family, Shell

from edgebench.errors import EdgebenchError
from edgebench.records.settings import Settings
from edgebench.records.spans import Span
from edgebench.sources.artifacts import find_artifacts
from edgebench.worker.runtimes import Room
from edgebench.worker.runtimes.onnx import Onnx, OnnxSession
from edgebench.worker.runtimes.onnx_tree import grow
from edgebench.worker.runtimes.packing import group

CONTEXT = 96
TRUNK = tuple(range(40, 60))
SHARED = (*range(100, 130),)
CASES = {
    "one context": [(SHARED, (7, 8, 9)), (SHARED, (7, 5)), (SHARED, (3, 4, 5, 6))],
    "unlike contexts": [((9, 8, 7), (1, 2)), ((6, 5), (4, 3, 2)), ((9, 8, 6), (1,))],
    "a trunk shared by all": [
        ((*TRUNK, 5), (6, 7)), ((*TRUNK, 5), (8, 9)), ((*TRUNK, 9, 9), (6,)), ((*TRUNK, 4), (1, 2)),
    ],
    "single tokens": [(SHARED, (7,)), (SHARED, (8,)), ((5, 6), (9,)), ((5, 7), (9,))],
    "only a start token": [((0,), (7, 8)), ((0,), (9,)), ((0,), (7, 9, 3))],
    "long and short": [(tuple(range(20, 80)), (7, 8)), ((5,), tuple(range(200, 250)))],
    "more than a tree holds": [(SHARED, tuple(range(n, n + 40))) for n in (30, 150, 250)],
    "none": [],
}  # fmt: skip

Open = Callable[..., OnnxSession]


@dataclass(frozen=True)
class Graphs:
    """Folders of one tiny model: fused in single precision, int8, and a standard graph."""

    fused: Path
    int8: Path
    standard: Path


@pytest.fixture(scope="module")
def graphs(families: dict[str, Family], converting: Shell) -> Graphs:
    """Take a checkpoint of random weights, exported both ways; what is there already is taken."""
    pytest.importorskip("onnxruntime")
    family = families["llama"]
    done = converting(
        "export", str(family.checkpoint), "--format", "onnx", "--graph", "standard",
        "--output", str(family.artifacts),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Graphs(family.path("fp32"), family.path("int8"), family.path("fp32-standard"))


@pytest.fixture(scope="module")
def opened() -> Iterator[Open]:
    """Open sessions once for each folder and room; close them at the end."""
    sessions: dict[tuple[Path, int, int], OnnxSession] = {}

    def open_once(folder: Path, sequences: int = 65, context: int = CONTEXT) -> OnnxSession:
        key = (folder, sequences, context)
        if key not in sessions:
            artifact = find_artifacts([folder])[0]
            sessions[key] = Onnx().open(artifact, Settings(threads=2), Room(context, sequences))
        return sessions[key]

    yield open_once
    for session in sessions.values():
        session.close()


def spans_of(case: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Span]:
    """Return a span for each context and continuation."""
    return [Span((*context, *own), len(context)) for context, own in case]


def check(session: OnnxSession, plain: OnnxSession, spans: Sequence[Span]) -> None:
    """Compare scores with what the graph as it stands gives for each span from an empty cache."""
    import numpy as np

    found = session.score(spans)
    assert len(found) == len(spans)
    for score, span in zip(found, spans, strict=True):
        rows = np.array(plain.logits(span.tokens[:-1], span.start - 1), np.float64)
        rows -= np.log(np.exp(rows).sum(1, keepdims=True))
        own = np.array(span.tokens[span.start :])
        alone = rows[np.arange(len(own)), own].sum()
        assert score.loglikelihood == pytest.approx(alone, abs=1e-3)
        assert score.greedy == bool((rows.argmax(1) == own).all())


@pytest.mark.parametrize("case", CASES)
def test_many_at_once_score_as_one_at_a_time(graphs: Graphs, opened: Open, case: str) -> None:
    """A fused graph scores trees; the same answers as the graph without, span by span."""
    session = opened(graphs.fused)
    assert session._trees is not None
    check(session, opened(graphs.fused, sequences=1), spans_of(CASES[case]))


@pytest.mark.parametrize("case", CASES)
def test_standard_graphs_score_the_same(graphs: Graphs, opened: Open, case: str) -> None:
    """A graph that takes no trees is asked for one continuation after the other."""
    session = opened(graphs.standard)
    assert session._trees is None
    check(session, opened(graphs.fused, sequences=1), spans_of(CASES[case]))


TOKENS = st.lists(st.integers(2, 300), min_size=1, max_size=9)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    preamble=st.sampled_from([(), TRUNK]),
    items=st.lists(st.tuples(TOKENS, st.lists(TOKENS, min_size=1, max_size=4)), max_size=5),
)
def test_any_spans_score_as_one_at_a_time(
    graphs: Graphs,
    opened: Open,
    preamble: tuple[int, ...],
    items: list[tuple[list[int], list[list[int]]]],
) -> None:
    """Whatever the contexts and continuations are, in a small room, four at most side by side."""
    case = [((*preamble, *context), own) for context, owns in items for own in owns]
    check(opened(graphs.fused, 5, 48), opened(graphs.fused, sequences=1), spans_of(case))


def test_most_likely_continuation_is_greedy(graphs: Graphs, opened: Open) -> None:
    """The tokens that the model itself would say are greedy, others beside them are not."""
    plain, said = opened(graphs.fused, sequences=1), list(SHARED)
    for _ in range(3):
        said.append(int(plain.logits(said, len(said) - 1)[0].argmax()))
    other = [*said[:-1], (said[-1] + 1) % 300]
    found = opened(graphs.fused).score([Span(tuple(one), len(SHARED)) for one in (said, other)])
    assert [score.greedy for score in found] == [True, False]


@pytest.mark.parametrize("graph", ["fused", "standard", "int8"])
def test_too_long_a_span_is_an_error(graphs: Graphs, opened: Open, graph: str) -> None:
    """The last token is not evaluated, so one more than the context fits; the next does not."""
    session = opened(getattr(graphs, graph))
    tokens = tuple(range(2, CONTEXT + 4))
    assert len(session.score([Span(tokens[: CONTEXT + 1], CONTEXT - 2)])) == 1
    with pytest.raises(EdgebenchError, match="longer than the context"):
        session.score([Span(tokens, CONTEXT - 2)])
    with pytest.raises(EdgebenchError, match="longer than the context"):
        session.score([Span(tokens, 1), Span((3, 4, 5), 1)])


def test_int8_scores_do_not_depend_on_company(graphs: Graphs, opened: Open) -> None:
    """Its activations have one scale an evaluation, so nothing else is evaluated with a span."""
    session = opened(graphs.int8)
    spans = spans_of([*CASES["one context"], *CASES["unlike contexts"]])
    alone = [session.score([span])[0] for span in spans]
    assert session.score(spans) == alone
    assert session.score(spans[::-1]) == alone[::-1]


def test_a_layers_window_limits_the_tree(graphs: Graphs, tmp_path: Path) -> None:
    """A sliding window counts cells: what does not fit in it is scored one by one, and right."""
    onnx = pytest.importorskip("onnx")
    path = Path(shutil.copytree(graphs.fused, tmp_path / "windowed")) / "model.onnx"
    model = onnx.load(str(path), load_external_data=False)
    node = next(one for one in model.graph.node if one.op_type == "GroupQueryAttention")
    next(one for one in node.attribute if one.name == "local_window_size").i = 24
    onnx.save(model, str(path))
    artifact = find_artifacts([graphs.fused])[0].model_copy(update={"path": str(path)})
    session, plain = (
        Onnx().open(artifact, Settings(threads=2), Room(CONTEXT, sequences))
        for sequences in (65, 1)
    )
    assert (session._trees is not None, session._tree_room) == (True, 24)
    for case in CASES.values():
        check(session, plain, spans_of(case))


def test_the_session_serves_all_else_too(graphs: Graphs, opened: Open) -> None:
    """Prefill, steps and logits of a session with trees are those of one without."""
    sessions = opened(graphs.fused), opened(graphs.fused, sequences=1)
    found = []
    for session in sessions:
        session.score(spans_of(CASES["a trunk shared by all"]))
        session.reset(10)
        session.prefill(SHARED)
        first = session.likeliest()
        assert len(session.decode(5)) == 5
        assert session.keep(12) == 12
        session.prefill((7, 8))
        found.append((first, session.likeliest(), session.logits(SHARED, 20)))
    assert found[0][:2] == found[1][:2]
    assert found[0][2] == pytest.approx(found[1][2], abs=1e-4)


def test_only_scoring_sessions_have_trees(graphs: Graphs, opened: Open) -> None:
    """A session for speed runs the graph as it stands on disk."""
    assert opened(graphs.fused, sequences=1)._trees is None
    assert opened(graphs.int8)._trees is None


def test_a_tree_evaluates_shared_tokens_once() -> None:
    """Contexts without their last tokens come first, then what needs logits; last tokens not."""
    spans = spans_of([((1, 2, 3), (4, 5)), ((1, 2, 3), (6,)), ((1, 9), (7, 8))])
    tree = grow(group(spans, 64), 0)
    assert tree.tokens == [1, 2, 1, 3, 4, 9, 7]
    assert tree.positions == [0, 1, 0, 2, 3, 1, 2]
    assert tree.parents == [-1, 0, -1, 1, 3, 2, 5]
    assert tree.tail == 3
    assert tree.targets == [[(0, 4), (1, 5)], [(0, 6)], [(2, 7), (3, 8)]]
    seen = [[int(cell) for cell in row] for row in tree.seen(1)]
    assert seen[4] == [0, 1, 1, 0, 1, 1, 0, 0]
    assert seen[6] == [0, 0, 0, 1, 0, 0, 1, 1]

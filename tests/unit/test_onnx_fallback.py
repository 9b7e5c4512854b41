"""What an onnxruntime can't do is told; what it has no memory for is an error."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgebench.records.settings import Settings
from edgebench.worker.runtimes import Room, onnx


class StubInvalidGraph(Exception):
    """An operator has no such inputs."""


class StubFail(Exception):
    """Whatever else."""


@pytest.fixture
def ort(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return an onnxruntime whose sessions are nothing, with its own kinds of failures."""
    monkeypatch.setattr(onnx, "_cache", lambda *_: "the cache of the graph as it stands")
    monkeypatch.setattr(onnx, "_options", lambda *_: None)
    kinds = SimpleNamespace(
        InvalidGraph=StubInvalidGraph,
        InvalidArgument=StubInvalidGraph,
        NotImplemented=StubInvalidGraph,
        Fail=StubFail,
    )
    return SimpleNamespace(
        capi=SimpleNamespace(onnxruntime_pybind11_state=kinds),
        InferenceSession=lambda *_, **__: None,
    )


def loaded(ort: Any, monkeypatch: pytest.MonkeyPatch, error: Exception) -> Any:
    """Load a fused graph for scoring where the inputs of a tree meet with an error."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(onnx, "_load_with_trees", fail)
    graph: Any = SimpleNamespace(path=Path("model.onnx"), fused=True, level="fp32")
    return onnx._load(ort, graph, Settings(threads=1), Room(64, 65))


def test_fall_back_is_told(ort: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is loaded as it stands, and the run's reader learns why it was slow."""
    found = loaded(ort, monkeypatch, StubInvalidGraph("input size 11 not in\nrange"))
    assert found.trees is None
    assert found.no_trees == "input size 11 not in range"
    told = onnx._warnings("cpu", {}, True, found.no_trees)
    assert len(told) == 1
    assert "one by one" in told[0]
    assert onnx._warnings("cpu", {}, True, "") == ()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("bad allocation"),
        StubFail("Failed to allocate memory for requested buffer of size 9"),
        ZeroDivisionError("a fault of ours"),
    ],
)
def test_other_errors_are_not_swallowed(
    ort: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A graph that doesn't fit isn't one that has no such inputs; nor is a fault of our own."""
    with pytest.raises(type(error), match=str(error)):
        loaded(ort, monkeypatch, error)


def test_a_real_onnxruntime_refuses_unknown_inputs_so() -> None:
    """Inputs that the operator doesn't have raise what the fall-back is made for."""
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    names = [f"input{n}" for n in range(20)]
    node = helper.make_node(
        "GroupQueryAttention", names, ["out"], domain="com.microsoft", num_heads=2, kv_num_heads=1
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 32]) for name in names],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=8).SerializeToString()
    with pytest.raises(onnx._unknown_inputs(ort)):
        ort.InferenceSession(model, providers=["CPUExecutionProvider"])

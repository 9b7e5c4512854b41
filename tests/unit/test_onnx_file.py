"""ONNX files are never trusted: paths, sizes and what is no model."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

onnx = pytest.importorskip("onnx")

import numpy as np  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edgebench.convert.onnx.graph import (  # noqa: E402
    Packing,
    add_logits_start,
    head_of,
    pack_weights,
)
from edgebench.convert.onnx.quantize import PACKINGS  # noqa: E402
from edgebench.errors import BadFileError  # noqa: E402
from edgebench.records.settings import Settings  # noqa: E402
from edgebench.sources.manifest import load_artifact  # noqa: E402
from edgebench.sources.onnx_artifact import describe_graph  # noqa: E402
from edgebench.sources.onnx_file import GRAPH, read_onnx  # noqa: E402
from edgebench.worker.runtimes import Room  # noqa: E402
from edgebench.worker.runtimes.onnx import Onnx  # noqa: E402

HIDDEN, VOCABULARY = 64, 96


def graph(folder: Path, shared: bool = True) -> Path:
    """Write a graph that gathers an embedding and multiplies by a head, with external data."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    table = rng.normal(size=(VOCABULARY, HIDDEN)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], name="embed"),
        helper.make_node("Transpose", ["table"], ["turned"], perm=[1, 0], name="turn"),
        helper.make_node("MatMul", ["rows", "turned" if shared else "head"], ["logits"], name="h"),
    ]
    tensors = [numpy_helper.from_array(table, "table")]
    if not shared:
        head = rng.normal(size=(HIDDEN, VOCABULARY)).astype(np.float32)
        tensors.append(numpy_helper.from_array(head, "head"))
        nodes.pop(1)
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "s"])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", "s", VOCABULARY])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [ids], [out], tensors),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    path = folder / "model.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="data", size_threshold=0)
    return path


def changed(path: Path, **entries: str) -> Path:
    """Write other external-data entries into every tensor of a graph."""
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for one in tensor.external_data:
            one.value = entries.get(one.key, one.value)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_good_graph_is_described(tmp_path: Path) -> None:
    """Files, types, parameters and level."""
    info = read_onnx(graph(tmp_path))
    assert info.data_files == (tmp_path / "data",)
    assert info.parameters == HIDDEN * VOCABULARY
    assert (info.level, info.fused) == ("fp32", False)
    assert info.size_bytes > 4 * HIDDEN * VOCABULARY


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "../secret"},
        {"location": "/etc/passwd"},
        {"location": ""},
        {"location": ".."},
        {"offset": "-1"},
        {"offset": "10000000"},
        {"offset": "x"},
        {"length": "17"},
        {"location": "missing"},
    ],
)
def test_data_outside_or_beyond_its_file_is_refused(
    tmp_path: Path, entries: dict[str, str]
) -> None:
    """Whatever a graph says of its data: nothing outside is read, nothing past the end."""
    (tmp_path / "secret").write_bytes(b"x" * 100_000)
    with pytest.raises(BadFileError):
        read_onnx(changed(graph(tmp_path / "m"), **entries))


def test_data_that_links_out_is_refused(tmp_path: Path) -> None:
    """A link inside the folder to a file outside it."""
    path = graph(tmp_path / "m")
    (tmp_path / "m/data").rename(tmp_path / "secret")
    (tmp_path / "m/data").symlink_to(tmp_path / "secret")
    with pytest.raises(BadFileError, match="is outside its folder"):
        read_onnx(path)


def test_data_of_a_constant_in_a_subgraph_is_checked(tmp_path: Path) -> None:
    """A constant's tensor in a branch is followed by a runtime as well."""
    path = graph(tmp_path)
    model = onnx.load(str(path), load_external_data=False)
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    branch = helper.make_graph([constant], "b", [], [])
    model.graph.node.append(
        helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    )
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadFileError, match="outside the folder"):
        read_onnx(path)


@pytest.mark.parametrize("raw", [b"", b"\x00" * 64, b"GGUF" + b"\xff" * 200, b"not a model"])
def test_what_is_no_model_is_a_bad_file(tmp_path: Path, raw: bytes) -> None:
    """One clear error."""
    path = tmp_path / "model.onnx"
    path.write_bytes(raw)
    with pytest.raises(BadFileError, match="isn't an ONNX model"):
        read_onnx(path)


def test_lies_of_operators_are_not_believed(tmp_path: Path) -> None:
    """A few packed weights don't make a level, nor K and N more weights than there are."""
    path = graph(tmp_path / "m", shared=False)
    model = onnx.load(str(path), load_external_data=False)
    packed = numpy_helper.from_array(np.zeros((4, 1, 16), np.uint8), "p")
    model.graph.initializer.append(packed)
    node = helper.make_node(
        "MatMulNBits", ["rows", "p", "s"], ["y"], K=1 << 40, N=1 << 40, bits=4, block_size=32
    )
    model.graph.node.insert(0, node)
    path.write_bytes(model.SerializeToString())
    info = read_onnx(path)
    assert (info.level, info.parameters) == ("fp32", 2 * HIDDEN * VOCABULARY + 4 * 32)


@pytest.mark.parametrize("level", ["int4", "int8_block", "int8"])
@pytest.mark.parametrize("shared", [True, False])
def test_levels_are_known_by_what_products_read(tmp_path: Path, level: str, shared: bool) -> None:
    """Packed graphs have their level, and as many weights as their source."""
    source = graph(tmp_path / "s", shared)
    target = tmp_path / "t"
    target.mkdir()
    pack_weights(source, target, PACKINGS[level], lambda done, total: None)
    info = read_onnx(target / GRAPH)
    assert info.level == level
    assert info.parameters == pytest.approx(read_onnx(source).parameters, rel=0.04)


def test_a_graph_is_held_against_its_description(tmp_path: Path) -> None:
    """Level, size, bits and kind of graph are the file's; weights that nobody named have a sum."""
    folder = graph(tmp_path / "m").parent
    honest = describe_graph(folder / "model.onnx", name="m", model="m")
    lies = {"level": "int4", "bits_per_weight": 4.5, "size_bytes": 1, "graph": "fused", "files": {}}
    text = json.dumps(honest.model_dump(mode="json") | lies)
    (folder / "artifact.json").write_text(text)
    told = load_artifact(folder)
    assert (told.level, told.graph) == ("fp32", "standard")
    assert (told.size_bytes, told.files) == (honest.size_bytes, honest.files)
    assert set(told.claims) == {"level", "bits_per_weight", "size_bytes", "graph"}


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "/dev/zero", "fifo", "folder"])
def test_data_that_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    """Names that no file has, a FIFO, a folder."""
    path = changed(graph(tmp_path), location=name)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadFileError) as caught:
        read_onnx(path)
    assert len(caught.value.message) < 1000


def test_mutants_of_a_graph_are_refused_or_described(tmp_path: Path) -> None:
    """Any bytes of a graph changed, cut or doubled: described, or one error."""
    path = graph(tmp_path, shared=False)
    good, draw = path.read_bytes(), random.Random(1)
    refused: list[BadFileError] = []
    for _ in range(300):
        raw = bytearray(good)
        for _ in range(draw.randint(1, 4)):
            raw[draw.randrange(len(raw))] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
        if draw.random() < 0.2:
            at = draw.randrange(len(raw))
            raw[at : at + draw.randrange(20)] = raw[: draw.randrange(20)]
        path.write_bytes(raw)
        try:
            describe_graph(path, name="m", model="m").model_dump_json()
        except BadFileError as error:
            refused.append(error)
    assert max(len(error.message) for error in refused) < 1000
    assert 50 < len(refused) < 300


def logits(path: Path, **inputs: Any) -> Any:
    """Run a graph with onnxruntime."""
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("packing", "error"),
    [(Packing(4), 0.25), (Packing(8), 0.02), (Packing(8, per_channel=True), 0.06)],
)
def test_packed_graphs_compute_nearly_the_same(
    tmp_path: Path, shared: bool, packing: Packing, error: float
) -> None:
    """Embedding and head, shared or apart: one copy of the weight, logits within its rounding."""
    source = graph(tmp_path / "s", shared)
    target = tmp_path / "t"
    target.mkdir()
    pack_weights(source, target, packing, lambda done, total: None)
    ids = np.arange(8, dtype=np.int64)[None]
    expected = logits(source, input_ids=ids)
    found = logits(target / "model.onnx", input_ids=ids)
    assert np.abs(found - expected).max() < error * np.abs(expected).max()
    copies = 1 if shared else 2
    assert (target / "model.onnx.data").stat().st_size < copies * 1.35 * (
        HIDDEN * VOCABULARY * packing.bits / 8 + 4 * VOCABULARY * HIDDEN / 32
    ) + 4096 * 2 * copies


def test_logits_start_leaves_rows_out_and_defaults_to_all(tmp_path: Path) -> None:
    """Who knows nothing of the input runs the graph as before."""
    path = graph(tmp_path)
    model = onnx.load(str(path), load_external_data=False)
    assert head_of(model.graph).name == "h"
    add_logits_start(model)
    onnx.save(model, str(path))
    ids = np.arange(8, dtype=np.int64)[None]
    whole = logits(path, input_ids=ids)
    assert whole.shape == (1, 8, VOCABULARY)
    last = logits(path, input_ids=ids, logits_start=np.array([5], np.int64))
    assert np.array_equal(last, whole[:, 5:])


def test_operators_of_another_library_are_not_loaded(tmp_path: Path) -> None:
    """A graph that wants an operator from elsewhere: one error, and no library is looked for."""
    pytest.importorskip("onnxruntime")
    path = graph(tmp_path)
    model = onnx.load(str(path), load_external_data=False)
    model.graph.node[0].domain = "./evil.so"
    model.opset_import.add(domain="./evil.so", version=1)
    path.write_bytes(model.SerializeToString())
    artifact = describe_graph(path, name="m", model="m", path=str(path))
    with pytest.raises(BadFileError, match="onnxruntime can't load m"):
        Onnx().open(artifact, Settings(), Room(64))

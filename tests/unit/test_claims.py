"""What a model's files claim: held against what they are, and never a way out of their folder."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")

from support.builders import make_artifact, make_run  # noqa: E402
from support.tiny_gguf import write_tiny_gguf  # noqa: E402

import edgebench  # noqa: E402
from edgebench.convert import folders  # noqa: E402
from edgebench.convert.gguf import quantize  # noqa: E402
from edgebench.convert.sources import open_sources  # noqa: E402
from edgebench.errors import BadFileError, EdgebenchError, UsageError  # noqa: E402
from edgebench.records.artifact import Artifact  # noqa: E402
from edgebench.records.formats import installed_runtimes  # noqa: E402
from edgebench.records.run import Run  # noqa: E402
from edgebench.report.artifacts import describe, untrue_claims  # noqa: E402
from edgebench.sources.artifacts import find_artifacts  # noqa: E402
from edgebench.sources.checkpoint import NOTHING  # noqa: E402
from edgebench.sources.gguf_file import read_gguf  # noqa: E402
from edgebench.sources.kv_cache import kv_table  # noqa: E402
from edgebench.sources.manifest import load_artifact, read_manifest  # noqa: E402
from edgebench.sources.models import describe_bare, describe_gguf, open_gguf  # noqa: E402
from edgebench.sources.named import resolve  # noqa: E402
from edgebench.worker.runtimes import get_runtime  # noqa: E402


def write_artifact(folder: Path, **claims: Any) -> Path:
    """Write an artifact around a tiny model in halves, with what its description is to claim."""
    path = write_tiny_gguf(folder / "model.gguf")
    artifact = describe_gguf(read_gguf(path), name="m", model="m").model_dump(mode="json")
    (folder / "artifact.json").write_text(json.dumps(artifact | claims))
    return folder


def test_lies_of_a_description_are_shown_and_not_believed(tmp_path: Path) -> None:
    """Level, bits, size, parameters and types are the file's; each lie is kept beside the truth."""
    honest = load_artifact(write_artifact(tmp_path / "honest"))
    lies = {
        "level": "q2_k", "bits_per_weight": 2.0, "size_bytes": 0, "parameters": 7_000_000_000,
        "tensor_types": {"q2_k": 30}, "context_length": 1 << 20, "architecture": "x",
        "fallback_tensors": {"output.weight": "q6_k"}, "claims": {"level": "f16"},
    }  # fmt: skip
    told = load_artifact(write_artifact(tmp_path / "told", **lies))
    for field in set(lies) - {"claims", "fallback_tensors", "size_bytes"}:
        assert getattr(told, field) == getattr(honest, field), field
        assert field in told.claims
    assert told.size_bytes == (tmp_path / "told/model.gguf").stat().st_size
    assert told.fallback_tensors == {}
    assert (honest.level, honest.claims) == ("f16", {})
    assert "says q2_k, is f16" in untrue_claims(told)
    assert "says q2_k, is f16" in describe(told)


def test_a_description_of_the_file_itself_is_a_claim_too(tmp_path: Path) -> None:
    """`general.file_type` says q2_k, the tensors are halves."""
    raw = write_tiny_gguf(tmp_path / "x.gguf").read_bytes()
    key = b"general.file_type" + struct.pack("<I", 4)
    at = raw.index(key) + len(key)
    (tmp_path / "x.gguf").write_bytes(raw[:at] + struct.pack("<I", 10) + raw[at + 4 :])
    (bare,) = find_artifacts([tmp_path / "x.gguf"])
    assert (bare.level, bare.claims) == ("f16", {"level": "q2_k"})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (6, struct.pack("<f", float("inf"))),
        (6, struct.pack("<f", float("nan"))),
        (4, struct.pack("<I", 2**32 - 1)),
        (5, struct.pack("<i", -1)),
    ],
)
def test_a_level_that_is_no_number_of_one_is_ignored(
    tmp_path: Path, kind: int, value: bytes
) -> None:
    """Infinite, not a number, too large, negative: the tensors tell."""
    raw = write_tiny_gguf(tmp_path / "x.gguf").read_bytes()
    at = raw.index(b"general.file_type") + len(b"general.file_type")
    path = tmp_path / "x.gguf"
    path.write_bytes(raw[:at] + struct.pack("<I", kind) + value + raw[at + 8 :])
    assert describe_bare(open_gguf(path)).level == "f16"


def test_counts_that_no_model_has_are_none(tmp_path: Path) -> None:
    """Context, layers and heads of 64 bits: described, without a table of the cache."""
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for name in ("context_length", "block_count", "attention.head_count", "embedding_length"):
        writer.add_uint64(f"llama.{name}", 2**64 - 1 if name == "context_length" else 2**61)
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((4, 64), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    artifact = describe_bare(open_gguf(path))
    assert (artifact.context_length, kv_table(artifact, "f16")) == (0, {})


def test_levels_are_made_of_the_true_reference(tmp_path: Path) -> None:
    """Of two artifacts of a model, claimed bits don't decide which one is the reference."""
    whole = write_artifact(tmp_path / "all/m-whole", bits_per_weight=2.0, level="q2_k")
    small = tmp_path / "all/m-small"
    small.mkdir()
    path = small / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("w", gguf.quantize(np.ones((4, 64), np.float32), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    artifact = describe_gguf(read_gguf(path), name="m-small", model="m")
    lie = artifact.model_dump(mode="json") | {"bits_per_weight": 32.0}
    (small / "artifact.json").write_text(json.dumps(lie))
    ((source,),) = open_sources(resolve(str(tmp_path / "all")), NOTHING)
    assert source.path == (whole / "model.gguf").resolve()  # type: ignore[union-attr]


# the fake runtime


def test_made_up_figures_need_the_tests_own_switch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it a fake artifact is a bad file, a fake run a bad line, its runtime unknown."""
    fake = make_artifact(path="truth.json", sha256=hashlib.sha256(b"{}").hexdigest())
    run = make_run().model_dump_json()
    (tmp_path / "truth.json").write_text("{}")
    (tmp_path / "artifact.json").write_text(fake.model_dump_json())
    load_artifact(tmp_path)
    Run.model_validate_json(run)
    for value in (None, "0", ""):
        monkeypatch.delenv("EDGEBENCH_FAKE_RUNTIME")
        if value is not None:
            monkeypatch.setenv("EDGEBENCH_FAKE_RUNTIME", value)
        with pytest.raises(BadFileError, match="field format: a format was expected: gguf, onnx"):
            load_artifact(tmp_path)
        with pytest.raises(ValueError, match="format"):
            Run.model_validate_json(run)
        with pytest.raises(UsageError, match="unknown runtime 'fake'") as caught:
            get_runtime("fake")
        assert "known: " not in caught.value.hint or "fake" not in caught.value.hint
        assert "fake" not in installed_runtimes()
        monkeypatch.setenv("EDGEBENCH_FAKE_RUNTIME", "1")


def test_the_schema_does_not_speak_of_it() -> None:
    """Nobody who reads the reference learns of a format that can't be had."""
    assert "fake" not in json.dumps(Artifact.model_json_schema())


# paths, devices, depths


def _link(folder: Path) -> None:
    (folder / "model.gguf").rename(folder.parent / "secret")
    (folder / "model.gguf").symlink_to(folder.parent / "secret")


def _fifo(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return make


def _manifest(raw: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "artifact.json").write_bytes(raw) and None


def _claim(**claims: Any) -> Callable[[Path], None]:
    return lambda folder: write_artifact(folder, **claims) and None


HOSTILE: dict[str, Callable[[Path], None]] = {
    "NUL": _claim(path="model\0.gguf"),
    "above": _claim(path="../secret"),
    "absolute": _claim(path="/etc/passwd"),
    "device": _claim(path="/dev/zero"),
    "nothing": _claim(path=""),
    "itself": _claim(path="."),
    "folder": _claim(path=".."),
    "long": _claim(path="x" * 5000),
    "another's NUL": _claim(files={"a\0b": "0"}),
    "another above": _claim(files={"../secret": "0"}),
    "another device": _claim(files={"/dev/zero": "0"}),
    "half a character": _claim(path="\ud800"),
    "name of 5 MB": _claim(requantized_from="x" * 5_000_000),
    "checkpoint": _claim(format="torch", path="config.json"),
    "graph": _claim(format="onnx"),
    "huge count": _claim(parameters=10**400),
    "huge bits": _manifest(b'{"bits_per_weight": 1e999}'),
    "deep": _manifest(b"[" * 100_000),
    "deep field": _manifest(b'{"notes": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "not UTF-8": _manifest(b'{"name": "\xff"}'),
    "not JSON": _manifest(b"\0"),
    "empty": _manifest(b""),
    "list": _manifest(b"[]"),
    "link": _link,
    "FIFO": _fifo("model.gguf"),
    "manifest FIFO": _fifo("artifact.json"),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_descriptions_are_one_line(tmp_path: Path, name: str) -> None:
    """Nothing outside the folder is read, nothing waited for; what is said is of limited length."""
    folder = write_artifact(tmp_path / "m")
    (tmp_path / "secret").write_bytes(b"x" * 1000)
    HOSTILE[name](folder)
    with pytest.raises(EdgebenchError) as caught:
        load_artifact(folder)
    assert (caught.value.exit_code, len(caught.value.message) < 700) == (4, True)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("name", ["x.gguf", "x.onnx"])
def test_what_is_no_file_is_not_waited_for(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    """A FIFO or a device under a model's name."""
    make(tmp_path / name)
    with pytest.raises(BadFileError, match=r"is a (FIFO|device), not a file"):
        find_artifacts([tmp_path / name])


def test_names_that_are_not_utf8_are_refused_with_what_to_do(tmp_path: Path) -> None:
    """A run is UTF-8 and could not name them."""
    path = tmp_path / os.fsdecode(b"x\xff.gguf")
    write_tiny_gguf(path)
    folder = write_artifact(tmp_path / "all" / os.fsdecode(b"m\xff"))
    for bad in (path, folder, tmp_path / "all"):
        with pytest.raises(BadFileError, match=r"\\xff.*isn't UTF-8") as caught:
            find_artifacts([bad])
        assert caught.value.hint == "rename it"


# mutants


def test_mutants_of_a_model_are_refused_or_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes changed in the head of a GGUF file: the whole way to its levels has no other end."""

    def convert(job: Any, level: str, target: Path, at: Any) -> dict[str, str]:
        target.write_bytes(job.model.path.read_bytes())
        return {}

    monkeypatch.setattr(quantize, "_quantize", convert)
    monkeypatch.setattr(folders.os, "fsync", lambda file: None)
    good = write_tiny_gguf(tmp_path / "good.gguf", 32, 32, layers=1).read_bytes()
    merges = good.index(b"tokenizer.ggml.merges")  # before it are tokens, none of which decides
    interesting = [*range(600), *range(merges, merges + 900)]
    draw, path = random.Random(1), tmp_path / "x.gguf"
    refused: list[EdgebenchError] = []
    for index in range(100):
        raw = bytearray(good)
        for at in draw.sample(interesting, draw.randint(1, 3)):
            raw[at] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
        path.write_bytes(raw)
        try:
            (artifact,) = find_artifacts([path])
            kv_table(artifact, "f16")
            describe(artifact)
            artifact.model_dump_json()
            job = quantize.GgufJob(open_gguf(path), tmp_path / f"out{index}", True)
            quantize.quantize_gguf(job, "q8_0", lambda level, done, total: None)
            read_manifest(next((tmp_path / f"out{index}").iterdir()))
        except EdgebenchError as error:
            refused.append(error)
    assert {error.exit_code for error in refused} <= {2, 4}
    assert max(len(error.message) for error in refused) < 1000
    assert 20 < len(refused) < 95


# no code out of a model


def _calls() -> list[tuple[str, ast.Call]]:
    """Return all calls in the package, each with its module's path."""
    root = Path(edgebench.__file__).parent
    return [
        (str(path.relative_to(root)), node)
        for path in sorted(root.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
    ]


OUR_PAGE = ("report/html.py", "Environment")  # of the page's own template, which comes with us


def test_nothing_in_the_package_runs_what_a_file_brings() -> None:
    """No pickle is loaded here, no operator's library, no text as code; code only by a flag."""
    forbidden = {
        "eval", "exec", "compile", "torch.load", "pickle.load", "pickle.loads", "marshal.loads",
        "onnx.load_model", "jinja2.Environment", "Environment", "yaml.load", "yaml.unsafe_load",
    }  # fmt: skip
    for path, call in _calls():
        name = ast.unparse(call.func)
        if (path, name) == OUR_PAGE:
            continue
        assert name not in forbidden, (path, name)
        assert not name.endswith((".register_custom_ops_library", ".enable_custom_ops")), path
        assert not (name.endswith(".apply_chat_template") and "lm_eval" not in path), path
        for keyword in call.keywords:
            value = ast.unparse(keyword.value)
            if keyword.arg == "trust_remote_code":
                typed = value in ("job.code", "trust_code") and path.startswith("convert/")
                assert typed or value == "False", (path, value)
            assert not (keyword.arg == "allow_pickle" and value == "True"), path


def test_templates_are_made_in_the_sandbox_alone() -> None:
    """One module renders what others wrote, without attributes of Python; the page is ours."""
    root = Path(edgebench.__file__).parent
    importing = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jinja2"
    }
    assert importing == {"sources/sandbox.py", OUR_PAGE[0]}

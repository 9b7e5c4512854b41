"""Artifact folders: read `artifact.json`, check the file beside it, find all below a path.

Knows what an artifact looks like on disk. Makes none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from edgebench.errors import BadFileError, UsageError
from edgebench.records.artifact import Artifact
from edgebench.records.base import safe_name
from edgebench.sources.checkpoint import (
    TORCH_LEVELS,
    describe_checkpoint,
    is_checkpoint,
    open_checkpoint,
)
from edgebench.sources.gguf_file import read_gguf
from edgebench.sources.models import Model, describe, resolve_model, sha256_of
from edgebench.sources.onnx_artifact import describe_graph

MANIFEST = "artifact.json"


def load_artifact(folder: Path) -> Artifact:
    """Read an artifact folder and check its file against the manifest's sum.

    Raises BadFileError where the manifest or the file is not as written.
    """
    manifest = folder / MANIFEST
    try:
        artifact = Artifact.model_validate_json(manifest.read_bytes())
    except OSError as error:
        raise BadFileError(f"can't read {manifest}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadFileError(f"{manifest}: field {where!r}: {first['msg']}") from None
    for name, digest in ({artifact.path: artifact.sha256} | artifact.files).items():
        _check_file(folder, name, digest)
    return artifact.model_copy(update={"path": str((folder / artifact.path).resolve())})


def _check_file(folder: Path, name: str, digest: str) -> None:
    manifest = folder / MANIFEST
    if Path(name).name != name:
        raise BadFileError(f"{manifest}: field 'path': {name!r} leaves the folder")
    path = (folder / name).resolve()
    if path.parent != folder.resolve():
        raise BadFileError(f"{manifest}: field 'path': {name!r} links out of the folder")
    if sha256_of(path) != digest:
        raise BadFileError(
            f"{path} has changed since {MANIFEST} was written",
            hint=f"remove {folder} and quantize again",
        )


def open_model(reference: str) -> Model:
    """Find a model to convert: any reference of `models.py`, or an artifact folder.

    An artifact that was made from an already quantized model stays marked as such.
    """
    folder = Path(reference)
    if not (folder / MANIFEST).is_file():
        return resolve_model(reference)
    artifact = load_artifact(folder)
    model = Model(artifact.model, read_gguf(Path(artifact.path)))
    return dataclasses.replace(model, requantized_from=artifact.requantized_from)


def find_artifacts(paths: Sequence[Path]) -> list[Artifact]:
    """Find artifacts: artifact folders, folders of them, bare .gguf or .onnx files, checkpoints.

    Raises UsageError where a path holds none.
    """
    found: list[Artifact] = []
    for path in paths:
        found += [one for one in _artifacts_at(path) if one not in found]
    return found


def _artifacts_at(path: Path) -> list[Artifact]:
    if (path / MANIFEST).is_file():
        return [load_artifact(path)]
    if checkpoint := _checkpoint_at(path):
        return [checkpoint]
    if path.is_dir():
        folders = sorted(child for child in path.iterdir() if (child / MANIFEST).is_file())
        artifacts = [load_artifact(folder) for folder in folders if folder.name[0] != "."]
        if artifacts:
            return artifacts
        raise UsageError(
            f"{path} holds no artifacts",
            hint=f"edgebench quantize MODEL --levels q8_0,q4_0 --output {path}",
        )
    if path.suffix == ".onnx":
        return [_bare_graph(path)]
    return [describe(resolve_model(str(path)))]


def _bare_graph(path: Path) -> Artifact:
    folder = path.resolve().parent
    artifact = describe_graph(path, name=safe_name(folder.name), model=safe_name(folder.name))
    return artifact.model_copy(update={"path": str(path.resolve())})


def _checkpoint_at(path: Path) -> Artifact | None:
    """Describe a checkpoint, typed DIR or DIR:bf16, as what torch runs; None where it is none."""
    folder, colon, level = str(path).rpartition(":")
    if not colon or not is_checkpoint(Path(folder)):
        folder, level = str(path), "fp32"
    if not is_checkpoint(Path(folder)):
        return None
    if level not in TORCH_LEVELS:
        raise UsageError(
            f"torch runs a checkpoint as {', '.join(TORCH_LEVELS)}, not as {level!r}",
            hint=f"write {folder}:bf16",
        )
    return describe_checkpoint(open_checkpoint(Path(folder)), level)

"""The artifacts that a person named, each once.

Knows which artifact each kind of reference is run as, and when two are the same. Makes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgebench.errors import UsageError
from edgebench.records.artifact import Artifact
from edgebench.records.base import safe_name
from edgebench.sources.checkpoint import describe_checkpoint, open_checkpoint
from edgebench.sources.manifest import load_artifact
from edgebench.sources.models import describe_bare, open_gguf
from edgebench.sources.named import (
    ArtifactFolder,
    ArtifactFolders,
    CheckpointFolder,
    GgufFile,
    OnnxFile,
    resolve,
)
from edgebench.sources.onnx_artifact import describe_graph


def find_artifacts(paths: Sequence[Path]) -> list[Artifact]:
    """Find artifacts: artifact folders, folders of them, bare .gguf or .onnx files, checkpoints.

    What is named twice, in whatever way, is there once; an artifact's folder, which says how it
    was made, stands for its bare file. Raises UsageError where a path holds none.
    """
    named = [artifact for path in paths for artifact in _artifacts_at(path)]
    made = {artifact.sha256 for artifact, bare in named if not bare}
    artifacts: dict[tuple[object, ...], Artifact] = {}
    for artifact, bare in named:
        if not (bare and artifact.sha256 in made):
            files = tuple(sorted(artifact.files.items()))
            key = (artifact.format, artifact.level, artifact.sha256, files)
            artifacts.setdefault(key, artifact)
    return list(artifacts.values())


def _artifacts_at(path: Path) -> list[tuple[Artifact, bool]]:
    """Return the artifacts at a path, and of each whether it is a bare GGUF file."""
    named = resolve(str(path))
    if isinstance(named, ArtifactFolder):
        return [(load_artifact(named.path), False)]
    if isinstance(named, ArtifactFolders):
        return [(load_artifact(folder), False) for folder in named.folders]
    if isinstance(named, CheckpointFolder):
        checkpoint = open_checkpoint(named.path)
        return [(describe_checkpoint(checkpoint, named.level or "fp32"), False)]
    if isinstance(named, OnnxFile):
        return [(bare_graph(named.path), False)]
    if isinstance(named, GgufFile):
        return [(describe_bare(open_gguf(named.path)), True)]
    raise UsageError(
        f"{path} holds no artifacts",
        hint=f"edgebench quantize MODEL --levels q8_0,q4_0 --output {path}",
    )


def bare_graph(path: Path) -> Artifact:
    """Return the artifact of a .onnx file and what lies beside it, named after its folder."""
    name = safe_name(path.resolve().parent.name)
    return describe_graph(path, name=name, model=name, path=str(path.resolve()))

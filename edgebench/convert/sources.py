"""What levels are made from: of each model that a person named, the artifact that is best for it.

Knows which of several artifacts of a model is taken. Converts nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgebench.errors import UsageError
from edgebench.records.artifact import Artifact
from edgebench.sources.artifacts import bare_graph
from edgebench.sources.checkpoint import Allowed, Checkpoint, open_checkpoint
from edgebench.sources.manifest import load_artifact, read_manifest
from edgebench.sources.models import Model, model_of, open_gguf
from edgebench.sources.named import (
    ArtifactFolder,
    ArtifactFolders,
    CheckpointFolder,
    GgufFile,
    Named,
    OnnxFile,
    not_a_model,
    whole_checkpoint,
)

Source = Checkpoint | Model | Artifact  # a Hugging Face folder, a GGUF file, an ONNX artifact


def open_source(named: Named, allowed: Allowed) -> Source:
    """Check and open what was named as one model.

    Raises UsageError where it is several or none, BadFileError where it can't be used.
    """
    if isinstance(named, CheckpointFolder):
        return open_checkpoint(whole_checkpoint(named), allowed)
    if isinstance(named, GgufFile):
        return open_gguf(named.path)
    if isinstance(named, OnnxFile):
        return bare_graph(named.path)
    if isinstance(named, ArtifactFolder):
        return _of_artifact(load_artifact(named.path))
    if isinstance(named, ArtifactFolders):
        raise UsageError(
            f"{named.path} holds {len(named.folders)} artifacts", hint=f"name {named.folders[0]}"
        )
    raise not_a_model(named)


def open_sources(named: Named, allowed: Allowed) -> list[list[Source]]:
    """Open what levels are made from: for each model, a source in each format that is there."""
    if not isinstance(named, ArtifactFolders):
        return [[open_source(named, allowed)]]
    models: dict[str, list[Path]] = {}
    manifests = {folder: read_manifest(folder) for folder in named.folders}
    for layout in ("gguf", "onnx"):
        for model in dict.fromkeys(artifact.model for artifact in manifests.values()):
            levels = {
                folder: artifact
                for folder, artifact in manifests.items()
                if (artifact.model, artifact.format) == (model, layout)
            }
            if levels:
                best = max(levels, key=lambda folder: _fitness(levels[folder]))
                models.setdefault(model, []).append(best)
    if not models:
        raise UsageError(
            f"{named.path} holds no GGUF or ONNX artifact to make levels of",
            hint=f"edgebench quantize MODEL --levels q8_0,q4_0 --output {named.path}",
        )
    return [[_of_artifact(load_artifact(folder)) for folder in best] for best in models.values()]


def format_of(source: Source) -> str:
    """Return the format of a source's levels where none was asked for."""
    return "onnx" if isinstance(source, Artifact) else "gguf"


def formats_of(models: Sequence[Sequence[Source]]) -> tuple[str, ...]:
    """Return the formats of levels of these models where none was asked for, GGUF first."""
    return tuple(sorted({format_of(source) for sources in models for source in sources}))


def source_for(layout: str, sources: Sequence[Source]) -> Source:
    """Return a model's source for a format: one that has it already, else the first."""
    return next((source for source in sources if format_of(source) == layout), sources[0])


def _of_artifact(artifact: Artifact) -> Source:
    if artifact.format == "gguf":
        return model_of(artifact)
    if artifact.format == "onnx":
        return artifact
    raise UsageError(
        f"levels can't be made of {artifact.name}, a {artifact.format} artifact",
        hint="name a checkpoint, a GGUF file or an ONNX artifact",
    )


def _fitness(artifact: Artifact) -> tuple[bool, float, bool]:
    whole = artifact.requantized_from is None
    return whole, artifact.bits_per_weight, artifact.graph == "fused"

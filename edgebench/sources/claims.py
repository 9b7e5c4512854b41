"""What an artifact's description claims, held against its files.

Level, bits, parameters, size and types are a file's own, from its header; what was claimed and
isn't so is kept beside the truth. On trust stays what no file shows: the model's name, what it was
made from (`origin`, `requantized_from`), its export's check, and of an ONNX graph the context and
the architecture, which config.json tells. Reads no weights; takes no sums.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgebench.errors import BadFileError
from edgebench.records.artifact import Artifact
from edgebench.sources.gguf_file import GgufInfo, read_gguf
from edgebench.sources.onnx_file import OnnxInfo, read_onnx

_ROUNDED = 1e-3  # bits per weight are written with four digits
_COUNTED = 0.02  # a packed graph's own count has its scales in it


def held_against_files(artifact: Artifact, path: Path) -> Artifact:
    """Return an artifact with its file's own figures, and the claims that are not so.

    Raises BadFileError where the file isn't of the format.
    """
    if artifact.format == "gguf":
        return _with(artifact, gguf_facts(read_gguf(path), artifact))
    if artifact.format == "onnx":
        return _with(artifact, onnx_facts(read_onnx(path), artifact))
    return artifact


def gguf_facts(info: GgufInfo, claimed: Artifact) -> dict[str, Any]:
    """Return field -> what a GGUF file is, under the level's claimed name where that is true."""
    types = {tensor.name: tensor.type for tensor in info.tensors}
    kept = claimed.fallback_tensors
    return {
        "level": info.level_called(claimed.level),
        "size_bytes": info.size_bytes,
        "parameters": info.parameters,
        "bits_per_weight": round(info.bits_per_weight, 4),
        "tensor_types": info.tensor_types,
        "architecture": info.architecture[:100],
        "context_length": info.integer("context_length"),
        "fallback_tensors": kept
        and {name: kind for name, kind in kept.items() if types.get(name) == kind},
    }


def onnx_facts(info: OnnxInfo, claimed: Artifact) -> dict[str, Any]:
    """Return field -> what an ONNX graph and its files of weights are."""
    same = abs(claimed.parameters - info.parameters) <= _COUNTED * info.parameters
    parameters = claimed.parameters if same else info.parameters
    bits = 8 * info.size_bytes / parameters if parameters else 0.0
    return {
        "level": info.level,
        "size_bytes": info.size_bytes,
        "parameters": parameters,
        "bits_per_weight": round(bits, 4),
        "tensor_types": info.tensor_types,
        "graph": "fused" if info.fused else "standard",
    }


def _with(artifact: Artifact, facts: dict[str, Any]) -> Artifact:
    claims = {
        name: _in_words(claim)
        for name, fact in facts.items()
        if (claim := getattr(artifact, name)) and not _same(claim, fact)
    }
    try:
        return Artifact.model_validate(artifact.model_dump() | facts | {"claims": claims})
    except ValueError as error:
        raise BadFileError(f"{artifact.path}: {str(error)[:200]}") from None


def _same(claim: Any, fact: Any) -> bool:
    if isinstance(claim, float):
        return bool(abs(claim - fact) <= _ROUNDED * max(1.0, abs(fact)))
    return bool(claim == fact)


def _in_words(claim: Any) -> str:
    if isinstance(claim, dict):
        return ", ".join(f"{key}: {value}" for key, value in list(claim.items())[:8])[:200]
    return str(claim)[:100]

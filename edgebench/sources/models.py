"""A GGUF file as a model to convert or to run: its name, its checked content, its sum.

Knows how a model is called after its file. Finds no files; loads no weights.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgebench.errors import BadFileError
from edgebench.records.artifact import Artifact
from edgebench.records.base import safe_name
from edgebench.records.faults import first_fault
from edgebench.sources.digests import sha256_of
from edgebench.sources.gguf_file import GgufInfo, read_gguf
from edgebench.sources.tokenizer import TOKENIZER

_LEVEL_SUFFIX = re.compile(
    r"[-._](f32|f16|bf16|fp16|q\d_[01]|q\d_k(_[sml])?|iq\d_\w{1,3}|tq\d_0|mxfp4\w*|nvfp4)$", re.I
)


@dataclass(frozen=True)
class Model:
    """A source model: a readable name and its checked GGUF file."""

    name: str
    info: GgufInfo
    requantized_from: str | None = None
    known_sha256: str | None = None  # where the file was checked against it already

    @property
    def path(self) -> Path:
        """Return the model's file."""
        return self.info.path

    @cached_property
    def sha256(self) -> str:
        """Return the file's sum, which is taken once."""
        return self.known_sha256 or sha256_of(self.path)


def open_gguf(path: Path) -> Model:
    """Check a .gguf file; return it under its own name.

    Raises BadFileError where it can't be used.
    """
    return Model(model_name(path), read_gguf(path))


def model_of(artifact: Artifact) -> Model:
    """Return a checked GGUF artifact as a model; one made by requantizing stays marked as such."""
    info = read_gguf(Path(artifact.path))
    return Model(artifact.model, info, artifact.requantized_from, artifact.sha256)


def model_name(path: Path) -> str:
    """Return a file's stem without its level, safe as a folder's name."""
    return safe_name(_LEVEL_SUFFIX.sub("", path.stem))


def describe_gguf(info: GgufInfo, *, name: str, model: str, **made: Any) -> Artifact:
    """Return the artifact of a GGUF file and the tokenizer beside it; `made` overrides and adds."""
    described = {
        "name": name,
        "model": model,
        "format": "gguf",
        "level": info.level,
        "claims": _untrue_level(info),
        "path": info.path.name,
        "size_bytes": info.size_bytes,
        "parameters": info.parameters,
        "bits_per_weight": round(info.bits_per_weight, 4),
        "tensor_types": info.tensor_types,
        "fallback_tensors": None,
        "architecture": info.architecture[:100],
        "context_length": info.integer("context_length"),
    } | made
    if "sha256" not in described:
        described["sha256"] = sha256_of(info.path)
    if "files" not in described:
        beside = info.path.parent.glob(TOKENIZER)
        described["files"] = {file.name: sha256_of(file) for file in beside}
    try:
        return Artifact.model_validate(described)
    except ValidationError as error:
        raise BadFileError(f"{info.path}: field {first_fault(error)}") from None


def _untrue_level(info: GgufInfo) -> dict[str, str]:
    claimed = info.claimed_level
    return {"level": claimed} if claimed and claimed != info.level else {}


def describe_bare(model: Model) -> Artifact:
    """Return the artifact of a .gguf file that stands alone."""
    return describe_gguf(
        model.info,
        name=safe_name(model.path.stem),
        model=model.name,
        path=str(model.path.resolve()),
        sha256=model.sha256,
        files={},
    )

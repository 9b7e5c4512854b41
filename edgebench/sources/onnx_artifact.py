"""What an ONNX artifact is on disk: a graph, its weights, the tokenizer and the configurations.

Knows which files belong to a graph. Makes none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgebench.errors import BadFileError
from edgebench.records.artifact import Artifact
from edgebench.records.faults import first_fault
from edgebench.sources.digests import sha256_of
from edgebench.sources.onnx_file import read_onnx

# What a runtime or a person wants beside the graph; nothing else of the source is copied.
COMPANIONS = (
    "config.json",
    "generation_config.json",
    "genai_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)


def describe_graph(file: Path, *, name: str, model: str, **made: Any) -> Artifact:
    """Return the artifact of a graph and the files beside it; `made` overrides and adds.

    Raises BadFileError where the graph can't be used.
    """
    info = read_onnx(file)
    companions = [path for name in COMPANIONS if (path := file.parent / name).is_file()]
    parameters = made.get("parameters", info.parameters)
    bits = 8 * info.size_bytes / parameters if parameters else 0.0
    described = {
        "name": name,
        "model": model,
        "format": "onnx",
        "level": info.level,
        "path": file.name,
        "sha256": sha256_of(file),
        "files": {path.name: sha256_of(path) for path in (*info.data_files, *companions)},
        "size_bytes": info.size_bytes,
        "parameters": parameters,
        "bits_per_weight": round(bits, 4),
        "tensor_types": info.tensor_types,
        "fallback_tensors": None,
        "graph": "fused" if info.fused else "standard",
    }
    try:
        return Artifact.model_validate(described | made)
    except ValidationError as error:
        raise BadFileError(f"{file}: field {first_fault(error)}") from None

"""What an ONNX artifact is on disk: a graph, its weights, the tokenizer and the configurations.

Knows which files belong to a graph. Makes none.
"""

from __future__ import annotations

from pathlib import Path

from edgebench.convert.onnx.graph import GRAPH
from edgebench.records.artifact import Artifact
from edgebench.sources.models import sha256_of
from edgebench.sources.onnx_file import read_onnx

# What a runtime or a person wants beside the graph; nothing else of the source is copied.
COMPANIONS = (
    "config.json", "generation_config.json", "genai_config.json", "tokenizer.json",
    "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "chat_template.jinja",
)  # fmt: skip


def describe_onnx(folder: Path, *, name: str, model: str, notes: tuple[str, ...] = ()) -> Artifact:
    """Describe a folder that holds model.onnx; raise BadFileError where it can't be used."""
    return describe_graph(folder / GRAPH, name=name, model=model, notes=notes)


def describe_graph(path: Path, *, name: str, model: str, notes: tuple[str, ...] = ()) -> Artifact:
    """Describe a graph and the files beside it that belong to it."""
    info = read_onnx(path)
    companions = [path.parent / one for one in COMPANIONS if (path.parent / one).is_file()]
    files = {one.name: sha256_of(one) for one in (*info.data_files, *companions)}
    return Artifact(
        name=name,
        model=model,
        format="onnx",
        level=info.level,
        path=path.name,
        sha256=sha256_of(path),
        files=files,
        size_bytes=info.size_bytes,
        parameters=info.parameters,
        bits_per_weight=round(info.bits_per_weight, 4),
        tensor_types=info.tensor_types,
        fallback_tensors=None,
        architecture="fused" if info.fused else "standard",
        notes=notes,
    )

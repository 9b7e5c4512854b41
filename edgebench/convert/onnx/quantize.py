"""Make ONNX artifacts of an ONNX artifact: fp16, int8 and int4, one folder a level.

Knows what each level's name stands for and what an ONNX folder holds. Graphs are rewritten by
`graph.py`.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgebench.convert.folders import existing, finish, make_folder, partial_folder
from edgebench.convert.onnx.graph import Packing, pack_weights, to_half
from edgebench.errors import UsageError
from edgebench.records.artifact import Artifact
from edgebench.records.base import safe_name
from edgebench.sources.onnx_artifact import COMPANIONS, describe_graph
from edgebench.sources.onnx_file import GRAPH

PACKINGS = {
    "int8": Packing(bits=8, per_channel=True),
    "int8_block": Packing(bits=8),
    "int4": Packing(bits=4),
}
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class OnnxJob:
    """What to make: the artifact in single precision, and where its levels go."""

    source: Artifact
    output: Path


def quantize_onnx(job: OnnxJob, level: str, progress: Progress) -> Artifact:
    """Make one level, or take it where the same one is there already.

    Raises UsageError where the source is packed already, BadFileError where its graph is not as
    it should be.
    """
    source = job.source
    if level == source.level:
        return source
    if source.level != "fp32":
        raise UsageError(
            f"{source.name} is {source.level} already; levels are made from fp32",
            hint="quantize the fp32 artifact, or export one",
        )
    graph = Path(source.path)
    suffix = "-standard" if source.graph == "standard" else ""
    name = safe_name(f"{source.model}-{level}{suffix}")
    origin = f"sha256 {source.sha256}"
    make_folder(job.output)
    if there := existing(job.output / name, origin, level):
        return there
    with partial_folder(job.output, name) as partial:
        if level == "fp16":
            to_half(graph, partial)
        else:
            pack_weights(
                graph, partial, PACKINGS[level], lambda done, total: progress(level, done, total)
            )
        for companion in COMPANIONS:
            if (graph.parent / companion).is_file():
                shutil.copyfile(graph.parent / companion, partial / companion)
        artifact = describe_graph(
            partial / GRAPH,
            name=name,
            model=source.model,
            level=level,
            parameters=source.parameters,
            architecture=source.architecture,
            context_length=source.context_length,
            origin=origin,
            notes=_how(level),
        )
        return finish(partial, job.output / name, artifact)


def _how(level: str) -> tuple[str, ...]:
    words = {
        "fp16": "weights, activations and cache in half precision",
        "int8": "weights int8 by output channel in the range of 7 bits, activations int8 by tensor",
        "int8_block": "MatMulNBits in 8 bits by blocks of 32, accuracy level 4",
        "int4": "MatMulNBits by blocks of 32, accuracy level 4; head and embedding too",
    }
    return (words[level], f"onnxruntime {importlib.metadata.version('onnxruntime')}")

"""Make levels of any source, a checkpoint, a GGUF file or an ONNX artifact, in both formats.

Knows which base each level is made from. Exports and quantizes through the files of each format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgebench.convert.gguf.export import TYPES, GgufExport, export_gguf
from edgebench.convert.gguf.imatrix import collect_imatrix
from edgebench.convert.gguf.quantize import Job, quantize
from edgebench.convert.levels import Wanted
from edgebench.convert.onnx.export import OnnxExport, checkpoint_of_gguf, export_onnx
from edgebench.convert.onnx.quantize import OnnxJob, quantize_onnx
from edgebench.errors import UsageError, nearest
from edgebench.records.artifact import Artifact
from edgebench.sources.artifacts import MANIFEST, load_artifact, open_model
from edgebench.sources.checkpoint import (
    NOTHING,
    Allowed,
    Checkpoint,
    find_checkpoint,
    open_checkpoint,
)
from edgebench.sources.models import Model

_TENSOR = re.compile(r"[A-Za-z0-9_.]{1,100}")


@dataclass(frozen=True)
class Choices:
    """How levels are made, beside their names."""

    output: Path
    threads: int = 0
    allow_requantize: bool = False
    imatrix: str = "none"  # auto, none or a file
    calibration: Path | None = None
    keep: tuple[tuple[str, str], ...] = ()
    pre_tokenizer: str | None = None
    converter: Path | None = None
    tokenizer: Path | None = None
    allowed: Allowed = NOTHING


@dataclass(frozen=True)
class Observer:
    """Who is told what happens: a line of text, and a level's progress."""

    say: Callable[[str], None]
    at: Callable[[str, int, int], None]


def parse_keep(text: str | None) -> tuple[tuple[str, str], ...]:
    """Read "output=q8_0,token_embd=q8_0"; raise UsageError on a type that ggml does not have."""
    if not text:
        return ()
    from gguf import GGMLQuantizationType

    types = [kind.name.lower() for kind in GGMLQuantizationType]
    pairs = []
    for word in text.split(","):
        tensor, equals, kind = word.strip().partition("=")
        if not equals or not _TENSOR.fullmatch(tensor):
            raise UsageError(
                f"--keep {word.strip()!r} is not TENSOR=TYPE", hint="--keep output=q8_0"
            )
        if kind not in types:
            raise UsageError(f"--keep: ggml has no type {kind!r}", hint=nearest(kind, types))
        pairs.append((tensor, kind))
    return tuple(pairs)


def source_format(reference: str) -> str:
    """Return the format that a source is in, or is made into first: gguf or onnx."""
    folder = Path(reference)
    if (folder / MANIFEST).is_file():
        return load_artifact(folder).format
    return "gguf"


def make_levels(
    reference: str, wanted: Sequence[Wanted], choices: Choices, observer: Observer
) -> Iterator[Artifact]:
    """Make levels one by one; what was finished stays where a later one fails.

    Raises UsageError where a source can't give a level, BadFileError where it is not usable.
    """
    onnx = [one.level for one in wanted if one.format == "onnx"]
    gguf = [one.level for one in wanted if one.format == "gguf"]
    artifact = (Path(reference) / MANIFEST).is_file()
    if not artifact and (folder := find_checkpoint(reference)):
        checkpoint = open_checkpoint(folder, choices.allowed)
        yield from _gguf_of_checkpoint(checkpoint, gguf, choices, observer)
        yield from _onnx_of_checkpoint(checkpoint, onnx, choices, observer)
        return
    if source_format(reference) == "onnx":
        if gguf:
            raise UsageError(
                f"{reference} is an ONNX artifact, from which no GGUF is made",
                hint="quantize the checkpoint that it was exported from",
            )
        yield from _onnx_levels(load_artifact(Path(reference)), onnx, choices, observer)
        return
    model = open_model(reference)
    if choices.imatrix == "auto":
        raise UsageError(
            "--imatrix auto runs the checkpoint, which a GGUF file is not",
            hint="quantize the Hugging Face folder, or give --imatrix FILE",
        )
    if gguf:
        job = _job(model, choices, None)
        for level in gguf:
            yield from quantize(job, [level], observer.at)
    if onnx:
        yield from _onnx_of_gguf(model, onnx, choices, observer)


def _job(model: Model, choices: Choices, imatrix: Path | None) -> Job:
    if choices.imatrix not in ("none", "auto"):
        imatrix = Path(choices.imatrix)
        if not imatrix.is_file():
            raise UsageError(f"no file {imatrix}", hint="--imatrix auto, none or a file")
    for tensor, _ in choices.keep:
        names = [one.name for one in model.info.tensors]
        if tensor not in ("output", "token_embd") and not any(tensor in name for name in names):
            parts = sorted({name.removesuffix(".weight").rpartition(".")[2] for name in names})
            raise UsageError(
                f"--keep: the model has no tensor {tensor!r}", hint=nearest(tensor, parts)
            )
    return Job(
        model, choices.output, choices.allow_requantize, choices.threads, imatrix, choices.keep
    )


def _gguf_of_checkpoint(
    checkpoint: Checkpoint, levels: Sequence[str], choices: Choices, observer: Observer
) -> Iterator[Artifact]:
    if not levels:
        return
    base_type = "bf16" if "bfloat16" in checkpoint.dtype else "f16"
    export = GgufExport(
        checkpoint, choices.output, base_type, choices.pre_tokenizer, choices.converter,
        choices.allowed,
    )  # fmt: skip
    imatrix = None
    if choices.imatrix == "auto":
        observer.say(f"collecting an importance matrix of {checkpoint.name}")
        imatrix = collect_imatrix(checkpoint, choices.calibration)
    observer.say(f"exporting {checkpoint.name} to GGUF {base_type}")
    base = export_gguf(export)
    job = _job(open_model(str(Path(base.path).parent)), choices, imatrix)
    for level in levels:
        if level == base_type:
            yield base
        elif level in TYPES:
            yield export_gguf(replace(export, type=level))
        else:
            yield from quantize(job, [level], observer.at)


def _onnx_of_checkpoint(
    checkpoint: Checkpoint, levels: Sequence[str], choices: Choices, observer: Observer
) -> Iterator[Artifact]:
    if levels:
        observer.say(f"exporting {checkpoint.name} to ONNX fp32")
        base = export_onnx(OnnxExport(checkpoint, choices.output, allowed=choices.allowed))
        yield from _onnx_levels(base, levels, choices, observer)


def _onnx_of_gguf(
    model: Model, levels: Sequence[str], choices: Choices, observer: Observer
) -> Iterator[Artifact]:
    observer.say(f"reading {model.name} back from GGUF {model.info.level}")
    with checkpoint_of_gguf(model, choices.tokenizer, choices.output) as checkpoint:
        yield from _onnx_of_checkpoint(checkpoint, levels, choices, observer)


def _onnx_levels(
    base: Artifact, levels: Sequence[str], choices: Choices, observer: Observer
) -> Iterator[Artifact]:
    for level in levels:
        yield quantize_onnx(OnnxJob(base, choices.output), level, observer.at)

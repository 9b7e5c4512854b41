"""Ladders: levels of any source, a checkpoint, a GGUF file or an ONNX artifact, in both formats.

Knows which levels a ladder has and which base each is made from. Exports and quantizes through the
files of each format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebench.convert.gguf.dequantize import checkpoint_of_gguf
from edgebench.convert.gguf.export import TYPES, GgufExport, export_gguf
from edgebench.convert.gguf.imatrix import collect_imatrix
from edgebench.convert.gguf.quantize import GgufJob, quantize_gguf
from edgebench.convert.levels import ONNX_LEVELS, Wanted, parse_levels
from edgebench.convert.onnx.export import OnnxExport, export_onnx
from edgebench.convert.onnx.quantize import OnnxJob, quantize_onnx
from edgebench.convert.sources import Source, source_for
from edgebench.errors import UsageError, nearest
from edgebench.records.artifact import Artifact
from edgebench.sources.checkpoint import NOTHING, Allowed, Checkpoint
from edgebench.sources.models import Model, model_of

# The ladder of the first run: reference, near-lossless, and the cheap ones.
LADDER = ("f16", "q8_0", "q4_1", "q4_0", "q3_k_m")
LADDERS = {
    "gguf": ("f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0", "q3_k_m"),
    "onnx": ONNX_LEVELS,
}
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


def wanted_levels(text: str, formats: Sequence[str], imatrix: bool = False) -> list[Wanted]:
    """Read "ladder,q4_1" into levels of the formats; raise UsageError as `parse_levels` does."""
    names: list[str] = []
    for word in text.split(","):
        ladder = word.strip().lower() == "ladder"
        names += [level for layout in formats for level in LADDERS[layout]] if ladder else [word]
    return parse_levels(",".join(names), formats, imatrix)


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
                f"--keep {word.strip()!r} isn't TENSOR=TYPE", hint="--keep output=q8_0"
            )
        if kind not in types:
            raise UsageError(f"--keep: ggml has no type {kind!r}", hint=nearest(kind, types))
        pairs.append((tensor, kind))
    return tuple(pairs)


def make_levels(
    sources: Sequence[Source], wanted: Sequence[Wanted], choices: Choices, observer: Observer
) -> Iterator[Artifact]:
    """Make levels of one model one by one; what was finished stays where a later one fails.

    `sources` are the model's, one a format. Raises UsageError where a source can't give a level,
    BadFileError where it can't be used.
    """
    for layout in ("gguf", "onnx"):
        levels = [made.level for made in wanted if made.format == layout]
        if levels:
            source = source_for(layout, sources)
            make = _gguf_levels if layout == "gguf" else _onnx_levels
            yield from make(source, levels, choices, observer)


def _gguf_levels(
    source: Source, levels: Sequence[str], choices: Choices, observer: Observer
) -> Iterator[Artifact]:
    if isinstance(source, Checkpoint):
        yield from _gguf_of_checkpoint(source, levels, choices, observer)
        return
    if isinstance(source, Artifact):
        raise UsageError(
            f"GGUF can't be made of {source.name}, which is an ONNX artifact",
            hint="quantize the checkpoint that it was exported from",
        )
    if choices.imatrix == "auto":
        raise UsageError(
            "--imatrix auto needs a checkpoint to run, not a GGUF file",
            hint="quantize the Hugging Face folder, or give --imatrix FILE",
        )
    job = _gguf_job(source, choices, None)
    for level in levels:
        yield quantize_gguf(job, level, observer.at)


def _gguf_job(model: Model, choices: Choices, imatrix: Path | None) -> GgufJob:
    if choices.imatrix not in ("none", "auto"):
        imatrix = Path(choices.imatrix)
        if not imatrix.is_file():
            raise UsageError(f"there is no file {imatrix}", hint="--imatrix auto, none or a file")
    names = [tensor.name for tensor in model.info.tensors]
    for tensor, _ in choices.keep:
        if tensor not in ("output", "token_embd") and not any(tensor in name for name in names):
            parts = sorted({name.removesuffix(".weight").rpartition(".")[2] for name in names})
            raise UsageError(
                f"--keep: the model has no tensor {tensor!r}", hint=nearest(tensor, parts)
            )
    return GgufJob(
        model, choices.output, choices.allow_requantize, choices.threads, imatrix, choices.keep
    )


def _gguf_of_checkpoint(
    checkpoint: Checkpoint, levels: Sequence[str], choices: Choices, observer: Observer
) -> Iterator[Artifact]:
    """Export the types that were asked for; quantize the other levels from a base.

    Only those need the base, the checkpoint's own type in 16 bits, which stays as their reference.
    """
    base_type = "bf16" if "bfloat16" in checkpoint.dtype else "f16"
    job: GgufJob | None = None
    for level in levels:
        if level in TYPES:
            yield _export_gguf(checkpoint, level, choices, observer)
            continue
        if job is None:
            imatrix = _collected_imatrix(checkpoint, choices, observer)
            base = _export_gguf(checkpoint, base_type, choices, observer)
            job = _gguf_job(model_of(base), choices, imatrix)
        yield quantize_gguf(job, level, observer.at)


def _collected_imatrix(checkpoint: Checkpoint, choices: Choices, observer: Observer) -> Path | None:
    if choices.imatrix != "auto":
        return None
    observer.say(f"collecting an importance matrix of {checkpoint.name}")
    return collect_imatrix(checkpoint, choices.calibration)


def _export_gguf(
    checkpoint: Checkpoint, type_: str, choices: Choices, observer: Observer
) -> Artifact:
    observer.say(f"exporting {checkpoint.name} to GGUF {type_}")
    return export_gguf(
        GgufExport(
            checkpoint,
            choices.output,
            type_,
            choices.pre_tokenizer,
            choices.converter,
            choices.allowed,
        )
    )


def _onnx_levels(
    source: Source, levels: Sequence[str], choices: Choices, observer: Observer
) -> Iterator[Artifact]:
    if isinstance(source, Model):
        observer.say(f"reading {source.name} back from GGUF {source.info.level}")
        with checkpoint_of_gguf(source, choices.tokenizer, choices.output) as checkpoint:
            yield from _onnx_levels(checkpoint, levels, choices, observer)
        return
    if isinstance(source, Checkpoint):
        observer.say(f"exporting {source.name} to ONNX fp32")
        source = export_onnx(
            OnnxExport(source, choices.output, allowed=choices.allowed), observer.say
        )
    for level in levels:
        yield quantize_onnx(OnnxJob(source, choices.output), level, observer.at)

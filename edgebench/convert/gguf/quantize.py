"""Make GGUF artifacts of a GGUF model: one folder a level, complete or not there at all.

Knows folders, names and what an artifact says of itself. llama.cpp's quantizer itself runs in
`quantize_process.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from edgebench.convert.child import Done, run_step
from edgebench.convert.folders import existing, finish, make_folder, partial_folder
from edgebench.convert.gguf.imatrix import describe_imatrix
from edgebench.convert.jobs import QuantizeJob
from edgebench.convert.levels import known_levels
from edgebench.errors import BadFileError, EdgebenchError, UsageError
from edgebench.records.artifact import Artifact
from edgebench.records.base import safe_name
from edgebench.sources.gguf_file import read_gguf
from edgebench.sources.models import Model, describe_gguf
from edgebench.sources.tokenizer import TOKENIZER

LOG = "quantize.log"
LevelProgress = Callable[[str, int, int], None]  # level, parts done, parts in all


@dataclass(frozen=True)
class GgufJob:
    """What levels are made of, where they go, and whether loss may be compounded."""

    model: Model
    output: Path
    allow_requantize: bool = False
    threads: int = 0
    imatrix: Path | None = None
    keep: tuple[tuple[str, str], ...] = ()  # tensor's name or a part of it, and its type

    @property
    def choices(self) -> tuple[str, ...]:
        """Name what was chosen beside the level, for the artifact's name."""
        kept = tuple(f"{tensor}={kind}" for tensor, kind in self.keep)
        return (*(("imatrix",) if self.imatrix else ()), *kept)

    @cached_property
    def origin(self) -> str:
        """Name the source by its sum, and what was chosen beside the level."""
        words = [f"sha256 {self.model.sha256}"]
        if self.imatrix:
            words.append(describe_imatrix(self.imatrix))
        return ", ".join([*words, *(f"{tensor}={kind}" for tensor, kind in self.keep)])


def quantize_gguf(job: GgufJob, level: str, progress: LevelProgress) -> Artifact:
    """Make one level, or take it as it is where the same one is there already.

    A level that the model already has is copied as shipped. Raises UsageError where the model
    is quantized and `allow_requantize` is not set, or where the folder holds something else;
    BadFileError where llama.cpp fails.
    """
    shipped = job.model.info.level
    if job.model.info.quantized and level != shipped and not job.allow_requantize:
        raise UsageError(
            f"{job.model.path.name} is already quantized ({shipped}); "
            "quantizing it again adds to its loss",
            hint="start from an f16 or f32 file, or add --allow-requantize",
        )
    make_folder(job.output)
    name = safe_name("-".join((job.model.name, level, *job.choices)))
    folder = job.output / name
    copied = job.model.sha256 if level == shipped else ""
    if there := existing(folder, job.origin, level, copied):
        return there
    with partial_folder(job.output, name) as partial:
        target = partial / f"{name}.gguf"
        fallbacks = None
        if level == shipped:
            shutil.copyfile(job.model.path, target)
        else:
            fallbacks = _quantize(job, level, target, progress)
        tokenizer = job.model.path.parent / TOKENIZER  # the checkpoint's own goes with each level
        if tokenizer.is_file():
            shutil.copyfile(tokenizer, partial / TOKENIZER)
        return finish(partial, folder, _describe(job, level, target, fallbacks))


def _describe(job: GgufJob, level: str, target: Path, fallbacks: dict[str, str] | None) -> Artifact:
    model = job.model
    again = model.info.level if model.info.quantized and level != model.info.level else None
    return describe_gguf(
        read_gguf(target),
        name=target.stem,
        model=model.name,
        level=level,
        fallback_tensors=fallbacks,
        requantized_from=again or model.requantized_from,
        origin=job.origin,
        notes=(f"llama-cpp-python {version('llama-cpp-python')}",),
    )


def _quantize(
    job: GgufJob, level: str, target: Path, progress: LevelProgress
) -> dict[str, str] | None:
    step = QuantizeJob(
        source=str(job.model.path),
        target=str(target),
        ftype=known_levels()[level],
        threads=job.threads,
        allow_requantize=job.allow_requantize,
        imatrix=str(job.imatrix) if job.imatrix else None,
        keep=job.keep,
    )
    done = run_step(
        "edgebench.convert.gguf.quantize_process",
        step,
        target.parent / LOG,
        lambda parts, total: progress(level, parts, total),
    )
    if done.code or not done.quantized:
        raise _failure(job, level, target, done)
    return done.quantized.fallback_tensors


def _failure(job: GgufJob, level: str, target: Path, done: Done) -> EdgebenchError:
    free = shutil.disk_usage(target.parent).free
    if "iostream error" in done.reason or free < (1 << 20):
        return EdgebenchError(
            f"can't write {level} below {job.output}: {free / 2**20:.0f} MiB are free there",
            hint="free some space, or give another --output",
        )
    return BadFileError(
        f"llama.cpp's conversion of {job.model.path.name} to {level} {done.how}: {done.reason}",
        hint="check the model file, or take another level",
    )

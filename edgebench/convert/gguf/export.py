"""Export a checkpoint to GGUF with llama.cpp's own converter, and check its tokenizer.

Knows what people do where the converter fails. The converter itself runs
in `converter_process.py`; where it comes from is known to `converter.py`.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgebench.convert.child import Done, run_step
from edgebench.convert.folders import existing, finish, make_folder, partial_folder
from edgebench.convert.gguf.converter import find_converter
from edgebench.convert.jobs import ConvertJob, TokenizerJob
from edgebench.convert.origin import checkpoint_origin, peak_note
from edgebench.convert.tokens import CheckpointTokenizer, disagreements
from edgebench.errors import BadFileError
from edgebench.records.artifact import Artifact
from edgebench.records.base import safe_name
from edgebench.sources.checkpoint import NOTHING, Allowed, Checkpoint
from edgebench.sources.gguf_file import read_gguf
from edgebench.sources.models import describe_gguf
from edgebench.sources.tokenizer import TOKENIZER

LOG = "export.log"
TYPES = ("f32", "f16", "bf16")


@dataclass(frozen=True)
class GgufExport:
    """What to make of a checkpoint."""

    checkpoint: Checkpoint
    output: Path
    type: str = "f16"
    pre_tokenizer: str | None = None
    converter: Path | None = None
    allowed: Allowed = NOTHING


def export_gguf(job: GgufExport) -> Artifact:
    """Make the artifact `<model>-<type>`, or take it where the same one is there already.

    Raises BadFileError where the converter fails, or where the file's tokenizer does not agree
    with the checkpoint's; then nothing is left behind.
    """
    converter = find_converter(job.converter)
    name = safe_name(f"{job.checkpoint.name}-{job.type}")
    folder = job.output / name
    origin = checkpoint_origin(job.checkpoint, pre_tokenizer=job.pre_tokenizer)
    make_folder(job.output)
    if there := existing(folder, origin, job.type):
        return there
    with partial_folder(job.output, name) as partial:
        target = partial / f"{name}.gguf"
        done = _convert(job, converter, target, partial / LOG)
        _check_tokenizer(job, target)
        _save_tokenizer(job, partial)
        return finish(partial, folder, _describe(job, target, origin, done))


def _convert(job: GgufExport, converter: Path, target: Path, log: Path) -> Done:
    step = ConvertJob(
        converter=str(converter),
        checkpoint=str(job.checkpoint.path.resolve()),
        target=str(target),
        type=job.type,
        pre_tokenizer=job.pre_tokenizer,
    )
    done = run_step("edgebench.convert.gguf.converter_process", step, log)
    if done.code or not target.is_file():
        raise _failure(job, done)
    return done


def _failure(job: GgufExport, done: Done) -> BadFileError:
    where = job.checkpoint.path
    if done.failed_with("tokenizer"):
        return BadFileError(
            f"llama.cpp's converter doesn't recognise the tokenizer of {where}",
            hint="name the one that it was made from: --pre-tokenizer qwen2, llama-bpe, gpt-2, "
            "smollm, ...; the result is compared with the checkpoint's own",
        )
    if done.failed_with("architecture"):
        return BadFileError(
            f"the installed llama.cpp doesn't know the architecture {job.checkpoint.architecture}",
            hint="a newer llama-cpp-python may; or give --converter a newer checkout",
        )
    return BadFileError(
        f"llama.cpp's converter {done.how} on {where}: {done.reason}",
        hint="check that the folder is a complete checkpoint",
    )


def _check_tokenizer(job: GgufExport, target: Path) -> None:
    tokenizer = CheckpointTokenizer(job.checkpoint.path, job.allowed.code)
    parted = disagreements(tokenizer, target)
    if parted:
        raise BadFileError(
            f"the export's tokenizer disagrees with the checkpoint's on {len(parted)} texts: "
            f"{parted[0]}",
            hint="another --pre-tokenizer may fit; figures of a model that reads other tokens "
            "are worth nothing",
        )


def _save_tokenizer(job: GgufExport, partial: Path) -> None:
    """Put the checkpoint's own tokenizer beside the file, so that levels share one tokenization."""
    with tempfile.TemporaryDirectory(dir=partial) as work:
        checkpoint = str(job.checkpoint.path.resolve())
        step = TokenizerJob(checkpoint=checkpoint, target=work, code=job.allowed.code)
        done = run_step("edgebench.convert.tokenizer_process", step, partial / LOG)
        saved = Path(work) / TOKENIZER
        if done.code == 0 and saved.is_file():
            saved.rename(partial / TOKENIZER)


def _describe(job: GgufExport, target: Path, origin: str, done: Done) -> Artifact:
    version = importlib.metadata.version("llama-cpp-python")
    notes = [f"converter of llama-cpp-python {version}, checkpoint {job.checkpoint.dtype}"]
    notes.append(peak_note(done, job.checkpoint))
    if job.pre_tokenizer:
        notes.append(f"pre-tokenizer {job.pre_tokenizer} by --pre-tokenizer")
    return describe_gguf(
        read_gguf(target),
        name=target.stem,
        model=job.checkpoint.name,
        level=job.type,
        fallback_tensors={},
        origin=origin,
        notes=tuple(notes),
    )

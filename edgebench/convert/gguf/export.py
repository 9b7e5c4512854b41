"""Export a checkpoint to GGUF with llama.cpp's own converter, and check its tokenizer.

Knows what the converter says when it fails, and what people do then. The converter itself runs
in `converter_process.py`; where it comes from is known to `converter.py`.
"""

from __future__ import annotations

import importlib.metadata
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgebench.convert.child import Done, run_step
from edgebench.convert.folders import existing, finish, make_folder, partial_folder
from edgebench.convert.gguf.converter import find_converter
from edgebench.convert.gguf.quantize import TOKENIZER
from edgebench.convert.origin import checkpoint_origin, peak_note
from edgebench.convert.tokens import CheckpointTokenizer, disagreements
from edgebench.errors import BadFileError
from edgebench.records.artifact import Artifact
from edgebench.records.base import safe_name
from edgebench.sources.checkpoint import NOTHING, Allowed, Checkpoint
from edgebench.sources.gguf_file import read_gguf
from edgebench.sources.models import sha256_of

LOG = "export.log"
TYPES = ("f32", "f16", "bf16")
_UNKNOWN_TOKENIZER = "BPE pre-tokenizer was not recognized"
_UNKNOWN_MODEL = re.compile(r"Model (\S+) is not supported")


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
    if found := existing(folder, origin, job.type):
        return found
    with partial_folder(job.output, name) as partial:
        target = partial / f"{name}.gguf"
        done = _convert(job, converter, target, partial / LOG)
        _check_tokenizer(job, target)
        _save_tokenizer(job, partial)
        return finish(partial, folder, _describe(job, target, origin, done))


def _convert(job: GgufExport, converter: Path, target: Path, log: Path) -> Done:
    message = {
        "converter": str(converter),
        "checkpoint": str(job.checkpoint.path.resolve()),
        "target": str(target),
        "type": job.type,
        "pre_tokenizer": job.pre_tokenizer,
    }
    done = run_step("edgebench.convert.gguf.converter_process", message, log)
    if done.code or not target.is_file():
        raise _failure(job, done)
    return done


def _failure(job: GgufExport, done: Done) -> BadFileError:
    where, said = job.checkpoint.path, done.said
    if _UNKNOWN_TOKENIZER in said:
        return BadFileError(
            f"llama.cpp's converter does not recognise the tokenizer of {where}",
            hint="name the one that it was made from: --pre-tokenizer qwen2, llama-bpe, gpt-2, "
            "smollm, ...; the result is compared with the checkpoint's own",
        )
    if unknown := _UNKNOWN_MODEL.search(said):
        return BadFileError(
            f"the installed llama.cpp does not know the architecture {unknown[1]}",
            hint="a newer llama-cpp-python may; or give --converter a newer checkout",
        )
    return BadFileError(
        f"llama.cpp's converter {done.how} on {where}: {done.last_line}",
        hint="check that the folder is a complete checkpoint",
    )


def _check_tokenizer(job: GgufExport, target: Path) -> None:
    tokenizer = CheckpointTokenizer(job.checkpoint.path, job.allowed.code)
    found = disagreements(tokenizer, target)
    if found:
        raise BadFileError(
            f"the export's tokenizer does not agree with the checkpoint's on {len(found)} texts: "
            f"{found[0]}",
            hint="another --pre-tokenizer may fit; figures of a model that reads other tokens "
            "are worth nothing",
        )


def _save_tokenizer(job: GgufExport, partial: Path) -> None:
    """Put the checkpoint's own tokenizer beside the file, so that levels share one tokenization."""
    with tempfile.TemporaryDirectory(dir=partial) as work:
        step = {
            "step": "tokenizer", "checkpoint": str(job.checkpoint.path.resolve()), "target": work,
            "code": job.allowed.code,
        }  # fmt: skip
        done = run_step("edgebench.convert.onnx.process", step, partial / LOG)
        saved = Path(work) / TOKENIZER
        if done.code == 0 and saved.is_file():
            saved.rename(partial / TOKENIZER)


def _describe(job: GgufExport, target: Path, origin: str, done: Done) -> Artifact:
    info = read_gguf(target)
    version = importlib.metadata.version("llama-cpp-python")
    notes = [origin, f"converter of llama-cpp-python {version}, checkpoint {job.checkpoint.dtype}"]
    notes.append(peak_note(done, job.checkpoint))
    if job.pre_tokenizer:
        notes.append(f"pre-tokenizer {job.pre_tokenizer} by --pre-tokenizer")
    return Artifact(
        name=target.stem,
        model=job.checkpoint.name,
        format="gguf",
        level=job.type,
        path=target.name,
        sha256=sha256_of(target),
        files={one.name: sha256_of(one) for one in target.parent.glob(TOKENIZER)},
        size_bytes=info.size_bytes,
        parameters=info.parameters,
        bits_per_weight=round(info.bits_per_weight, 4),
        tensor_types=info.tensor_types,
        fallback_tensors={},
        architecture=info.architecture[:100],
        context_length=max(0, info.integer("context_length")),
        notes=tuple(notes),
    )

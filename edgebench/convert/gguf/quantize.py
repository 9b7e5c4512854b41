"""Make GGUF artifacts from a GGUF model: one folder a level, complete or not there at all.

Knows folders, names, `artifact.json` and what llama.cpp's log says of tensors that fell back.
The conversion itself runs in `gguf_process.py`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgebench.convert.folders import existing, finish, make_folder, partial_folder
from edgebench.convert.gguf.imatrix import describe_imatrix
from edgebench.convert.levels import known_levels
from edgebench.errors import BadFileError, EdgebenchError, UsageError
from edgebench.processes import python_module
from edgebench.records.artifact import Artifact
from edgebench.records.base import safe_name
from edgebench.sources.gguf_file import read_gguf
from edgebench.sources.models import Model, sha256_of

LOG = "quantize.log"
TOKENIZER = "tokenizer.json"  # the checkpoint's own goes with each level
Progress = Callable[[str, int, int], None]  # level, tensors done, tensors in all

_FALLBACK = re.compile(r"warning: (\S+)\s+- ncols .* -> falling back to\s+(\w+)")
_FALLBACK_COUNT = re.compile(r"WARNING: (\d+) of \d+ tensor\(s\) required fallback")


@dataclass(frozen=True)
class Job:
    """What to make: the model, where to put artifacts, and whether loss may be compounded."""

    model: Model
    output: Path
    allow_requantize: bool = False
    threads: int = 0
    imatrix: Path | None = None
    keep: tuple[tuple[str, str], ...] = ()  # tensor's name or a part of it, and its type

    @property
    def choices(self) -> tuple[str, ...]:
        """Name what was chosen beside the level, for the artifact's name and notes."""
        kept = tuple(f"{tensor}={kind}" for tensor, kind in self.keep)
        return (*(("imatrix",) if self.imatrix else ()), *kept)


def quantize(job: Job, levels: list[str], progress: Progress) -> list[Artifact]:
    """Make one artifact a level, or take it as it is where the same one is there already.

    A level that the model already has is copied as shipped. Raises UsageError where the model
    is quantized and `allow_requantize` is not set, or where the folder holds something else;
    EdgebenchError where llama.cpp fails. What was finished before stays.
    """
    source_sha256 = sha256_of(job.model.path)
    shipped = job.model.info.level
    needed = [level for level in levels if level != shipped]
    if job.model.info.quantized and needed and not job.allow_requantize:
        raise UsageError(
            f"{job.model.path.name} is already quantized ({shipped}); "
            "quantizing it again adds to its loss",
            hint="start from an f16 or f32 file, or add --allow-requantize",
        )
    make_folder(job.output)
    return [_one(job, level, source_sha256, progress) for level in levels]


def _one(job: Job, level: str, source_sha256: str, progress: Progress) -> Artifact:
    name = safe_name("-".join((job.model.name, level, *job.choices)))
    folder = job.output / name
    origin = _origin(job, source_sha256)
    if found := existing(folder, origin, level):
        return found
    with partial_folder(job.output, name) as partial:
        target = partial / f"{name}.gguf"
        if level == job.model.info.level:
            shutil.copyfile(job.model.path, target)
            fallbacks: dict[str, str] | None = None
        else:
            _convert(job, level, target, progress)
            fallbacks = _fallbacks(partial / LOG)
        tokenizer = job.model.path.parent / TOKENIZER
        if tokenizer.is_file():
            shutil.copyfile(tokenizer, partial / TOKENIZER)
        artifact = _describe(job, level, target, fallbacks, origin)
        return finish(partial, folder, artifact)


def _origin(job: Job, source_sha256: str) -> str:
    words = [f"source sha256 {source_sha256}"]
    if job.imatrix:
        words.append(describe_imatrix(job.imatrix))
    return ", ".join([*words, *(f"{tensor}={kind}" for tensor, kind in job.keep)])


def _describe(
    job: Job, level: str, target: Path, fallbacks: dict[str, str] | None, origin: str
) -> Artifact:
    info = read_gguf(target)
    model = job.model
    again = model.info.level if model.info.quantized and level != model.info.level else None
    return Artifact(
        name=target.stem,
        model=job.model.name,
        format="gguf",
        level=level,
        path=target.name,
        sha256=sha256_of(target),
        files={one.name: sha256_of(one) for one in target.parent.glob(TOKENIZER)},
        size_bytes=info.size_bytes,
        parameters=info.parameters,
        bits_per_weight=round(info.bits_per_weight, 4),
        tensor_types=info.tensor_types,
        fallback_tensors=fallbacks,
        requantized_from=again or model.requantized_from,
        architecture=info.architecture[:100],
        context_length=max(0, info.integer("context_length")),
        notes=(origin, f"llama-cpp-python {_version()}"),
    )


def _convert(job: Job, level: str, target: Path, progress: Progress) -> None:
    message = {
        "source": str(job.model.path),
        "target": str(target),
        "log": str(target.parent / LOG),
        "ftype": known_levels()[level],
        "threads": job.threads,
        "allow_requantize": job.allow_requantize,
        "imatrix": str(job.imatrix) if job.imatrix else None,
        "keep": list(job.keep),
    }
    process = subprocess.Popen(
        python_module("edgebench.convert.gguf.quantize_process"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the child
    )
    assert process.stdin is not None
    assert process.stdout is not None
    last: dict[str, object] = {}
    with process:
        try:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.close()
            for line in process.stdout:
                last = json.loads(line)
                if "done" in last:
                    progress(level, int(str(last["done"])), int(str(last["total"])))
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise _failure(job, level, target, process.returncode, str(last.get("error", "")))


def _failure(job: Job, level: str, target: Path, code: int, error: str) -> EdgebenchError:
    free = shutil.disk_usage(target.parent).free
    if "iostream error" in error or free < (1 << 20):
        return EdgebenchError(
            f"can't write {level} below {job.output}: {free / 2**20:.0f} MiB are free there",
            hint="free some space, or give another --output",
        )
    how = f"was ended by signal {-code}" if code < 0 else "failed"
    return BadFileError(
        f"llama.cpp's conversion of {job.model.path.name} to {level} {how}: "
        f"{error or 'it gave no reason'}",
        hint="check the model file, or take another level",
    )


def _fallbacks(log: Path) -> dict[str, str] | None:
    """Read which tensors llama.cpp could not give the level's type; None where it's unclear."""
    text = log.read_text(encoding="utf-8", errors="replace")
    found = {match[1]: match[2].lower() for match in _FALLBACK.finditer(text)}
    counted = _FALLBACK_COUNT.search(text)
    return found if len(found) == (int(counted[1]) if counted else 0) else None


def _version() -> str:
    from importlib.metadata import version

    return version("llama-cpp-python")

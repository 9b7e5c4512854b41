"""Make GGUF artifacts from a GGUF model: one folder a level, complete or not there at all.

Knows folders, names, `artifact.json` and what llama.cpp's log says of tensors that fell back.
The conversion itself runs in `gguf_process.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgebench.convert.artifacts import MANIFEST, load_artifact
from edgebench.convert.levels import known_levels
from edgebench.errors import BadFileError, EdgebenchError, UsageError
from edgebench.gguf_file import read_gguf
from edgebench.models import Model, sha256_of
from edgebench.records import Artifact, safe_name

LOG = "quantize.log"
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
    _make_folder(job.output)
    return [_one(job, level, source_sha256, progress) for level in levels]


def _one(job: Job, level: str, source_sha256: str, progress: Progress) -> Artifact:
    name = safe_name(f"{job.model.name}-{level}")
    folder = job.output / name
    if folder.exists():
        return _existing(folder, source_sha256, level)
    with _partial_folder(job.output, name) as partial:
        target = partial / f"{name}.gguf"
        if level == job.model.info.level:
            shutil.copyfile(job.model.path, target)
            fallbacks: dict[str, str] | None = None
        else:
            _convert(job, level, target, progress)
            fallbacks = _fallbacks(partial / LOG)
        artifact = _describe(job, level, target, fallbacks, source_sha256)
        _write_synced(partial / MANIFEST, artifact)
        _sync(target)
        os.rename(partial, folder)
    return artifact.model_copy(update={"path": str((folder / artifact.path).resolve())})


def _existing(folder: Path, source_sha256: str, level: str) -> Artifact:
    artifact = load_artifact(folder)
    if f"source sha256 {source_sha256}" not in artifact.notes or artifact.level != level:
        raise UsageError(
            f"{folder} holds an artifact of another source",
            hint=f"remove {folder}, or give another --output",
        )
    return artifact


def _describe(
    job: Job, level: str, target: Path, fallbacks: dict[str, str] | None, source_sha256: str
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
        size_bytes=info.size_bytes,
        parameters=info.parameters,
        bits_per_weight=round(info.bits_per_weight, 4),
        tensor_types=info.tensor_types,
        fallback_tensors=fallbacks,
        requantized_from=again or model.requantized_from,
        architecture=info.architecture[:100],
        context_length=max(0, info.integer("context_length")),
        notes=(f"source sha256 {source_sha256}", f"llama-cpp-python {_version()}"),
    )


def _convert(job: Job, level: str, target: Path, progress: Progress) -> None:
    message = {
        "source": str(job.model.path),
        "target": str(target),
        "log": str(target.parent / LOG),
        "ftype": known_levels()[level],
        "threads": job.threads,
        "allow_requantize": job.allow_requantize,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "edgebench.convert.gguf_process"],
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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"can't write to {folder}: {error.strerror}",
            hint="give another --output, or change the folder's rights",
        ) from None


@contextlib.contextmanager
def _partial_folder(output: Path, name: str) -> Iterator[Path]:
    """Give a hidden folder to fill; what is still in it at the end was not finished and goes."""
    partial = Path(tempfile.mkdtemp(prefix=f".{name}.partial-", dir=output))
    try:
        partial.chmod(0o755)
        yield partial
    except OSError as error:
        raise EdgebenchError(
            f"can't write {name} below {output}: {error.strerror}",
            hint="free some space, or give another --output",
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_synced(path: Path, artifact: Artifact) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(artifact.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())

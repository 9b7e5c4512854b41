"""An importance matrix of a checkpoint: collected once, then taken from the cache.

Knows which calibration text is taken and where the result is kept. `imatrix_process.py` collects;
the file's format is known to `imatrix_file.py`.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from platformdirs import user_cache_path

from edgebench.convert.child import run_step
from edgebench.convert.gguf.imatrix_process import CHUNKS
from edgebench.convert.jobs import ImatrixJob
from edgebench.convert.origin import checkpoint_origin
from edgebench.errors import BadFileError, UsageError
from edgebench.sources.checkpoint import Checkpoint
from edgebench.sources.digests import sha256_of

MAX_TEXT_BYTES = 8 << 20


def calibration_text(file: Path | None) -> tuple[str, str]:
    """Return a calibration text and its name: a file, or the reference manual in Python itself.

    Python's manual (`pydoc_data.topics`) is English prose with code, in every installation, and
    part of no evaluation. Raises UsageError where the file can't be read.
    """
    if file is None:
        from pydoc_data.topics import topics

        text = "\n\n".join(topics[name] for name in sorted(topics))
        return text, f"Python {sys.version_info.major}.{sys.version_info.minor} manual"
    try:
        raw = file.read_bytes()[:MAX_TEXT_BYTES]
        return raw.decode("utf-8", "ignore"), file.name
    except OSError as error:
        raise UsageError(
            f"can't read {file}: {error.strerror}", hint="give a plain text to --calibration"
        ) from None


def collect_imatrix(checkpoint: Checkpoint, calibration: Path | None) -> Path:
    """Return an importance matrix of the checkpoint, from the cache or collected now.

    Raises BadFileError where the checkpoint can't be run, or the text is too short.
    """
    text, name = calibration_text(calibration)
    # "source " as 0.1.0 wrote it, so that what is in the cache stays good.
    what = f"source {checkpoint_origin(checkpoint)}{hashlib.sha256(text.encode()).hexdigest()}"
    what += str(CHUNKS)
    digest = hashlib.sha256(what.encode()).hexdigest()[:24]
    target = user_cache_path("edgebench") / "imatrix" / f"{checkpoint.name}-{digest}.gguf"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.partial")
    source = target.with_suffix(f".{os.getpid()}.txt")
    try:
        source.write_text(text, encoding="utf-8")
        job = ImatrixJob(
            checkpoint=str(checkpoint.path.resolve()),
            text=str(source),
            name=name,
            target=str(partial),
        )
        done = run_step("edgebench.convert.gguf.imatrix_process", job, target.with_suffix(".log"))
        if done.code:
            raise BadFileError(
                f"collecting an importance matrix of {checkpoint.path} {done.how}: {done.reason}"
            )
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
        source.unlink(missing_ok=True)
    return target


def describe_imatrix(path: Path) -> str:
    """Name an importance matrix in an artifact's notes."""
    return f"importance matrix {path.name}, sha256 {sha256_of(path)}"

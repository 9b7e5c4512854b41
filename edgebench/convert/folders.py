"""Artifact folders being made: hidden until they are complete, and gone if they never are.

Knows temporary names, renaming and syncing. Knows no format.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgebench.errors import EdgebenchError, UsageError
from edgebench.records.artifact import Artifact
from edgebench.sources.manifest import MANIFEST, load_artifact


def make_folder(folder: Path) -> None:
    """Make a folder that can be written; raise UsageError where that is not possible."""
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
def partial_folder(output: Path, name: str) -> Iterator[Path]:
    """Give a hidden folder to fill; what is still in it at the end was not finished and goes.

    Raises EdgebenchError where the disk doesn't take it.
    """
    partial = None
    try:
        partial = Path(tempfile.mkdtemp(prefix=f".{name}.partial-", dir=output))
        partial.chmod(0o755)
        yield partial
    except OSError as error:
        raise EdgebenchError(
            f"can't write {name} below {output}: {error.strerror}",
            hint="free some space, or give another --output",
        ) from None
    finally:
        if partial:
            shutil.rmtree(partial, ignore_errors=True)


def finish(partial: Path, folder: Path, artifact: Artifact) -> Artifact:
    """Write `artifact.json`, sync what was written, and give the folder its name.

    Where another command has given it to the same artifact meanwhile, that one is taken.
    """
    with (partial / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(artifact.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    for path in partial.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    try:
        os.rename(partial, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        # Another command was faster: what it made of the same is as good.
        if there := existing(folder, artifact.origin, artifact.level):
            return there
        raise
    return artifact.model_copy(update={"path": str((folder / artifact.path).resolve())})


def existing(folder: Path, origin: str, level: str, source_sha256: str = "") -> Artifact | None:
    """Return the artifact that is there already, made from the same origin; None where none is.

    The source itself counts as made from it. Raises UsageError where the folder holds another one.
    """
    if not folder.exists():
        return None
    artifact = load_artifact(folder)
    same = artifact.origin == origin or artifact.sha256 == source_sha256
    if not same or artifact.claims.get("level", artifact.level) != level:
        raise UsageError(
            f"{folder} holds an artifact of another source",
            hint=f"remove {folder}, or give another --output",
        )
    return artifact

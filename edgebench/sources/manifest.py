"""An artifact's folder: `artifact.json`, and the files beside it that it vouches for.

Knows how a manifest is read and its files are checked. Finds no folders and makes none.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from edgebench.errors import BadFileError
from edgebench.records.artifact import Artifact
from edgebench.records.faults import first_fault
from edgebench.sources.digests import sha256_of

MANIFEST = "artifact.json"


def read_manifest(folder: Path) -> Artifact:
    """Read what a folder's manifest says; its files are not checked, its path is as written.

    Raises BadFileError where the manifest isn't one.
    """
    manifest = folder / MANIFEST
    try:
        return Artifact.model_validate_json(manifest.read_bytes())
    except OSError as error:
        raise BadFileError(f"can't read {manifest}: {error.strerror}") from None
    except ValidationError as error:
        raise BadFileError(f"{manifest}: field {first_fault(error)}") from None


def load_artifact(folder: Path) -> Artifact:
    """Read an artifact folder and check its files against the manifest's sums.

    Raises BadFileError where the manifest or a file is not as written.
    """
    artifact = read_manifest(folder)
    for name, digest in ({artifact.path: artifact.sha256} | artifact.files).items():
        _check_file(folder, name, digest)
    return artifact.model_copy(update={"path": str((folder / artifact.path).resolve())})


def _check_file(folder: Path, name: str, digest: str) -> None:
    manifest = folder / MANIFEST
    if Path(name).name != name:
        raise BadFileError(f"{manifest}: field 'path': {name!r} leaves the folder")
    path = (folder / name).resolve()
    if path.parent != folder.resolve():
        raise BadFileError(f"{manifest}: field 'path': {name!r} links out of the folder")
    if sha256_of(path) != digest:
        raise BadFileError(
            f"{path} has changed since {MANIFEST} was written",
            hint=f"remove {folder} and quantize again",
        )

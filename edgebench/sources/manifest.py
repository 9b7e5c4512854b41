"""An artifact's folder: `artifact.json`, and the files beside it that it vouches for.

Knows how a manifest is read and its files are checked. Finds no folders and makes none.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from edgebench.errors import BadFileError
from edgebench.records.artifact import Artifact
from edgebench.records.faults import first_fault
from edgebench.records.limits import MANIFEST_BYTES
from edgebench.sources.claims import held_against_files
from edgebench.sources.digests import sha256_of
from edgebench.sources.files import NAME_LENGTH, read_json, within
from edgebench.sources.onnx_file import read_onnx

MANIFEST = "artifact.json"


def read_manifest(folder: Path) -> Artifact:
    """Read what a folder holds: what its manifest says, held against the header of its file.

    The sums aren't taken; the path is as written. Raises BadFileError where the manifest isn't
    one, or the file not of its format.
    """
    manifest = folder / MANIFEST
    try:
        artifact = Artifact.model_validate(read_json(manifest, MANIFEST_BYTES))
    except ValidationError as error:
        raise BadFileError(f"{manifest}: field {first_fault(error)}") from None
    if artifact.format == "torch":
        raise BadFileError(
            f"{manifest}: field format: a checkpoint has no {MANIFEST}",
            hint=f"remove it, and name {folder}",
        )
    return held_against_files(artifact, _beside(folder, artifact.path))


def load_artifact(folder: Path) -> Artifact:
    """Read an artifact folder and check its files against the manifest's sums.

    Raises BadFileError where the manifest or a file is not as written.
    """
    artifact = read_manifest(folder)
    for name, digest in ({artifact.path: artifact.sha256} | artifact.files).items():
        _check_file(_beside(folder, name), digest)
    path = _beside(folder, artifact.path).resolve()
    return artifact.model_copy(
        update={"path": str(path), "files": artifact.files | _unnamed(folder, artifact)}
    )


def _beside(folder: Path, name: str) -> Path:
    manifest = folder / MANIFEST
    if Path(name).name != name or len(name) > NAME_LENGTH:
        raise BadFileError(f"{manifest}: field 'path': {name[:200]!r} leaves the folder")
    return within(folder, name)


def _check_file(path: Path, digest: str) -> None:
    if sha256_of(path) != digest:
        raise BadFileError(
            f"{path} has changed since {MANIFEST} was written",
            hint=f"remove {path.parent} and quantize again",
        )


def _unnamed(folder: Path, artifact: Artifact) -> dict[str, str]:
    """Return the sums of files of weights that the manifest doesn't name, and the graph does."""
    if artifact.format != "onnx":
        return {}
    files = read_onnx(folder / artifact.path).data_files
    return {file.name: sha256_of(file) for file in files if file.name not in artifact.files}

"""Keep what a verdict rests on in one folder, and tell later whether it is still all there.

The folder holds the contract as it was written, the runs, the artifacts' sums, the result, and a
manifest with the sum of each file. A manifest can be made anew by whoever changes a file: its own
sum, which is printed, is to be kept elsewhere. Knows files and sums; judges nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from edgebench import __version__
from edgebench.analyze.verdict import Result
from edgebench.convert.folders import partial_folder
from edgebench.errors import BadFileError, UsageError
from edgebench.records.base import Record, Text
from edgebench.records.faults import first_fault
from edgebench.records.run import Run
from edgebench.sources.digests import sha256_of

MANIFEST = "manifest.json"
CONTRACT, RUNS, ARTIFACTS, RESULT = "contract.yaml", "runs.jsonl", "artifacts.json", "result.json"
LARGEST_BYTES = 1 << 20  # of a manifest; the result of 1,000 candidates has 10 MB
LARGEST_RESULT_BYTES = 64 << 20


class Manifest(Record):
    """The files of a folder of evidence, each with its sum, and what the contract was about."""

    schema_: Literal["edgebench.evidence/1"] = Field(default="edgebench.evidence/1", alias="schema")
    version: Text
    subject: Text = Field(description="what the contract's artifact was looked up as")
    files: dict[Text, Text]


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on."""

    contract: bytes
    runs: Sequence[Run]
    subject: str
    result: Result


def write_evidence(folder: Path, evidence: Evidence) -> str:
    """Write a new folder, whole or not at all; return the sum of its manifest.

    Raises UsageError where something of that name is there.
    """
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} is there already", hint="give --evidence a new name")
    parent = folder.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"can't write to {parent}: {error.strerror}") from None
    with partial_folder(parent, folder.name) as partial:
        contents = _contents(evidence)
        for name, raw in contents.items():
            _write(partial / name, raw)
        sums = {name: hashlib.sha256(raw).hexdigest() for name, raw in contents.items()}
        manifest = Manifest(version=__version__, subject=evidence.subject, files=sums)
        raw = manifest.model_dump_json(by_alias=True, indent=2).encode() + b"\n"
        _write(partial / MANIFEST, raw)
        os.rename(partial, folder)
    return hashlib.sha256(raw).hexdigest()


def _contents(evidence: Evidence) -> dict[str, bytes]:
    artifacts = {
        run.artifact.name: {"sha256": run.artifact.sha256, "files": run.artifact.files}
        for run in evidence.runs
    }
    lines = "".join(run.to_line() + "\n" for run in evidence.runs)
    return {
        CONTRACT: evidence.contract,
        RUNS: lines.encode(),
        ARTIFACTS: json.dumps(artifacts, indent=2, sort_keys=True).encode() + b"\n",
        RESULT: evidence.result.model_dump_json(by_alias=True, indent=2).encode() + b"\n",
    }


def _write(path: Path, raw: bytes) -> None:
    with path.open("xb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def verified(folder: Path) -> tuple[Manifest, str]:
    """Return a folder's manifest and its sum, after checking that every file is as it was written.

    Raises BadFileError on a file that is missing, was changed, or was added.
    """
    raw = _read(folder / MANIFEST, LARGEST_BYTES)
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise BadFileError(f"{folder / MANIFEST}: {first_fault(error)}") from None
    wanted = {CONTRACT, RUNS, ARTIFACTS, RESULT}
    if set(manifest.files) != wanted:
        raise BadFileError(f"{folder / MANIFEST} doesn't name the files of evidence")
    there = {path.name for path in folder.iterdir()} - {MANIFEST}
    for name in sorted(wanted | there):
        path = folder / name
        if name not in wanted:
            raise BadFileError(f"{path} isn't in the manifest: it was added later")
        if not path.is_file() or path.is_symlink():
            raise BadFileError(f"{path} is missing, or isn't a file")
        if sha256_of(path) != manifest.files[name]:
            raise BadFileError(f"{path} was changed: its sum isn't the manifest's")
    return manifest, hashlib.sha256(raw).hexdigest()


def stored_result(folder: Path) -> Result:
    """Return the result that a folder of evidence holds."""
    raw = _read(folder / RESULT, LARGEST_RESULT_BYTES)
    try:
        return Result.model_validate_json(raw)
    except ValidationError as error:
        raise BadFileError(f"{folder / RESULT}: {first_fault(error)}") from None


def _read(path: Path, largest_bytes: int) -> bytes:
    if not path.is_file():
        raise BadFileError(f"no {path.name} in {path.parent}", hint="is it a folder of --evidence?")
    try:
        with path.open("rb") as file:
            raw = file.read(largest_bytes + 1)
    except OSError as error:
        raise BadFileError(f"can't read {path}: {error.strerror}") from None
    if len(raw) > largest_bytes:
        raise BadFileError(f"{path} has more than {largest_bytes >> 20} MiB")
    return raw

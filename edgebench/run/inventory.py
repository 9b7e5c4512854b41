"""What lies here: artifacts, stored runs and the caches, each with its size and age.

Knows folders. A folder that can't be read, or a file that isn't what its name says, is named with
the reason and passed over. Removes a cache only where it is told to.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from edgebench.errors import EdgebenchError, UsageError, nearest
from edgebench.records.base import Record, Text

DEEPEST = 4  # folders below the one that is listed
MOST_FILES = 20_000
# cache -> what it holds; a cache of another name in the folder is listed, too.
CACHES = {
    "artifacts": "levels of the bundled model",
    "converter": "llama.cpp's converter for the installed version",
    "divergence": "a reference's distributions",
    "imatrix": "importance matrices",
    "index": "what stored runs say, for reading them again",
    "logs": "what workers printed",
    "models": "checkpoints in progress",
    "tasks": "tasks built of lm-evaluation-harness",
}


class ArtifactSeen(Record):
    """An artifact that lies here."""

    name: Text
    model: Text
    level: Text
    format: Text
    path: Text
    size_bytes: int
    changed_s: float


class RunsSeen(Record):
    """A file of stored runs."""

    device: Text
    model: Text
    path: Text
    runs: int
    size_bytes: int
    changed_s: float


class CacheSeen(Record):
    """A folder of the cache, which may be removed at any time."""

    name: Text
    holds: Text
    path: Text
    files: int
    size_bytes: int
    changed_s: float


class Inventory(Record):
    """Everything that lies in a folder and in the cache; times in seconds since 1970."""

    artifacts: tuple[ArtifactSeen, ...]
    runs: tuple[RunsSeen, ...]
    caches: tuple[CacheSeen, ...]
    passed_over: tuple[Text, ...] = ()


def look_around(folder: Path, cache: Path) -> Inventory:
    """List what lies below a folder and in the cache; raise UsageError where there is no folder."""
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}", hint="edgebench list")
    artifacts, refused = _artifacts(folder)
    return Inventory(
        artifacts=tuple(artifacts),
        runs=tuple(_runs(folder)),
        caches=tuple(_caches(cache)),
        passed_over=tuple(refused),
    )


def clean(cache: Path, name: str) -> int:
    """Remove one cache, or `all`; return the bytes that are free again.

    Raises UsageError on a name that no cache has, EdgebenchError where it can't be removed.
    """
    seen = {found.name: found for found in _caches(cache)}
    if name != "all" and name not in seen:
        hint = nearest(name, [*seen, "all"]) if seen else "nothing is cached"
        raise UsageError(f"no cache {name!r}", hint=hint)
    freed = 0
    for found in seen.values() if name == "all" else [seen[name]]:
        path = Path(found.path)
        try:
            if path.is_symlink():
                path.unlink()
            else:
                shutil.rmtree(path)
        except OSError as error:
            raise EdgebenchError(f"can't remove {path}: {error.strerror}") from None
        freed += found.size_bytes
    return freed


def _files(folder: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """Yield the files below a folder, a bounded number of them; links are not followed."""
    left = [(folder, 0)]
    count = 0
    while left:
        place, level = left.pop()
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                hidden = entry.name.startswith(".") or entry.name == "node_modules"
                if level < depth and not hidden:
                    left.append((Path(entry.path), level + 1))
            elif entry.is_file(follow_symlinks=False):
                count += 1
                if count > MOST_FILES:
                    return
                yield Path(entry.path)


def _artifacts(folder: Path) -> tuple[list[ArtifactSeen], list[str]]:
    from edgebench.sources.manifest import load_artifact
    from edgebench.sources.models import describe_bare, open_gguf

    files = list(_files(folder))
    folders = {path.parent for path in files if path.name == "artifact.json"}
    seen: list[ArtifactSeen] = []
    refused: list[str] = []
    for path in files:
        bare = path.suffix == ".gguf" and path.parent not in folders
        if path.name != "artifact.json" and not bare:
            continue
        try:
            artifact = describe_bare(open_gguf(path)) if bare else load_artifact(path.parent)
        except EdgebenchError as error:
            refused.append(f"{path}: {error.message}"[:1000])
            continue
        seen.append(
            ArtifactSeen(
                name=artifact.name,
                model=artifact.model,
                level=artifact.level,
                format=artifact.format,
                path=str(path if bare else path.parent),
                size_bytes=artifact.size_bytes,
                changed_s=path.stat().st_mtime,
            )
        )
    return sorted(seen, key=lambda one: (one.model, one.format, -one.size_bytes)), refused


def _runs(folder: Path) -> Iterator[RunsSeen]:
    """Yield the files of runs below a folder: `<device>/<model>.jsonl`, whose lines say a schema.

    Lines are counted, not read.
    """
    for path in _files(folder):
        if path.suffix != ".jsonl":
            continue
        try:
            state = path.stat()
            with path.open("rb") as file:
                if b'"edgebench.run/' not in file.read(1 << 16):
                    continue
                file.seek(0)
                lines = sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
        except OSError:
            continue
        yield RunsSeen(
            device=path.parent.name,
            model=path.stem,
            path=str(path),
            runs=lines,
            size_bytes=state.st_size,
            changed_s=state.st_mtime,
        )


def _caches(cache: Path) -> Iterator[CacheSeen]:
    if not cache.is_dir():
        return
    for folder in sorted(path for path in cache.iterdir() if path.is_dir()):
        states = [path.stat() for path in _files(folder, depth=12)]
        yield CacheSeen(
            name=folder.name,
            holds=CACHES.get(folder.name, ""),
            path=str(folder),
            files=len(states),
            size_bytes=sum(state.st_size for state in states),
            changed_s=max((state.st_mtime for state in states), default=folder.stat().st_mtime),
        )

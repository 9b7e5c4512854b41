"""A Hugging Face folder: what it holds, and whether it may be loaded.

Knows config.json and the files beside it. Refuses pickled weights and checkpoints that bring code
of their own, unless that was allowed by name. Loads no weights.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgebench.errors import BadFileError, MissingExtraError, UsageError
from edgebench.records.artifact import Artifact
from edgebench.records.base import safe_name
from edgebench.records.limits import CONFIG_BYTES, LARGEST_WHOLE
from edgebench.sources import files
from edgebench.sources.digests import sha256_of
from edgebench.sources.gguf_file import PICKLE_SUFFIXES

TORCH_LEVELS = ("fp32", "bf16", "fp16")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
# Settings of a tokenizer in which transformers follows a path, wherever it leads.
_PATHS = ("tokenizer_file", "vocab_file", "merges_file", "fast_tokenizer_files")


@dataclass(frozen=True)
class Allowed:
    """What a person has allowed a checkpoint to do."""

    pickle: bool = False
    code: bool = False


NOTHING = Allowed()


@dataclass(frozen=True)
class Checkpoint:
    """A folder with config.json and weights, checked."""

    path: Path
    architecture: str
    dtype: str
    weights: tuple[Path, ...]
    context_length: int

    @property
    def name(self) -> str:
        """Return the folder's name, safe in a path."""
        return safe_name(self.path.resolve().name)

    @property
    def weights_bytes(self) -> int:
        """Return the bytes of all files of weights."""
        return sum(files.check_regular(path) for path in self.weights)

    @cached_property
    def sums(self) -> dict[str, str]:
        """Return file -> SHA-256 of all that decides what is made of it, taken once."""
        deciding = [*self.weights, *sorted(self.path.glob("*.json"))]
        deciding += self.path.glob("tokenizer.model")
        return {file.name: sha256_of(file) for file in deciding}


def is_checkpoint(path: Path) -> bool:
    """Return whether a folder looks like a checkpoint."""
    return (path / "config.json").is_file()


def open_checkpoint(path: Path, allowed: Allowed = NOTHING) -> Checkpoint:
    """Check a folder; return what it holds.

    Raises UsageError where it isn't a folder, BadFileError where it can't be used as it is.
    """
    if not path.is_dir():
        raise UsageError(
            f"no folder {path}", hint="give a Hugging Face folder: config.json and .safetensors"
        )
    if not is_checkpoint(path):
        raise BadFileError(
            f"{path} has no config.json", hint="give a Hugging Face folder with .safetensors"
        )
    config = read_json(path / "config.json")
    if not allowed.code:
        _refuse_code(path, config)
    _refuse_ways_out(path)
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures:
        raise BadFileError(
            f"{path / 'config.json'}: field 'architectures': a list of one name was expected"
        )
    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        raise BadFileError(
            f"{path} has no tokenizer",
            hint=f"copy the checkpoint's own there: {', '.join(TOKENIZER_FILES)}",
        )
    return Checkpoint(
        path=path,
        architecture=str(architectures[0]),
        dtype=str(config.get("dtype") or config.get("torch_dtype") or "unknown")[:100],
        weights=_weights(path, allowed),
        context_length=_integer(config.get("max_position_embeddings")),
    )


def describe_checkpoint(checkpoint: Checkpoint, level: str) -> Artifact:
    """Return the artifact that torch runs: the checkpoint itself, loaded as `level`.

    Raises BadFileError where a file of weights is broken.
    """
    sizes = [size for file in checkpoint.weights for size in _tensor_sizes(file)]
    sums = {file.name: checkpoint.sums[file.name] for file in checkpoint.weights}
    digest = hashlib.sha256(json.dumps([level, sums], sort_keys=True).encode()).hexdigest()
    return Artifact(
        name=f"{checkpoint.name}-torch-{level}",
        model=checkpoint.name,
        format="torch",
        level=level,
        path=str(checkpoint.path.resolve()),
        sha256=digest,
        size_bytes=checkpoint.weights_bytes,
        parameters=sum(sizes),
        bits_per_weight=32 if level == "fp32" else 16,
        tensor_types={level: len(sizes)},
        fallback_tensors={},
        architecture=checkpoint.architecture[:100],
        context_length=checkpoint.context_length,
        notes=(f"the checkpoint itself, stored as {checkpoint.dtype}",),
    )


def _tensor_sizes(file: Path) -> list[int]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise MissingExtraError("safetensors", "export") from None
    try:
        with safe_open(str(file), "np") as opened:
            names = list(opened.keys())
            return [math.prod(opened.get_slice(name).get_shape()) for name in names]
    except (SafetensorError, OSError) as error:
        raise BadFileError(f"{file} isn't a whole safetensors file: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of limited size; raise BadFileError where it isn't one."""
    value = files.read_json(path, CONFIG_BYTES)
    if not isinstance(value, dict):
        raise BadFileError(f"{path} doesn't hold a JSON object")
    return value


def _integer(value: Any) -> int:
    return value if isinstance(value, int) and 0 < value <= LARGEST_WHOLE else 0


def _refuse_code(path: Path, config: dict[str, Any]) -> None:
    code = [file.name for file in sorted(path.glob("*.py"))]
    if "auto_map" in config:
        code.append("auto_map in config.json")
    tokenizer = path / "tokenizer_config.json"
    if tokenizer.is_file() and "auto_map" in read_json(tokenizer):
        code.append("auto_map in tokenizer_config.json")
    if code:
        raise BadFileError(
            f"{path} brings code of its own: {', '.join(code[:5])}",
            hint="read that code; if you trust it, add --allow-code",
        )


def _weights(path: Path, allowed: Allowed) -> tuple[Path, ...]:
    weights = tuple(sorted(path.glob("*.safetensors")))
    for file in weights:
        _refuse_link_out(file)
    if weights:
        return weights
    pickles = tuple(
        file
        for file in sorted(path.iterdir())
        if file.suffix.lower() in PICKLE_SUFFIXES and file.name != "training_args.bin"
    )
    if not pickles:
        raise BadFileError(
            f"{path} has no weights", hint="a checkpoint has .safetensors files beside config.json"
        )
    if not allowed.pickle:
        raise BadFileError(
            f"{pickles[0]} is a pickle, which can run code when it is loaded",
            hint="save the model as safetensors; if you trust its source, add --allow-pickle",
        )
    for file in pickles:
        _refuse_link_out(file)
    return pickles


def _refuse_link_out(file: Path) -> None:
    files.check_regular(file)
    if file.resolve().parent != file.parent.resolve() and not _in_hub_cache(file):
        raise BadFileError(f"{file} links out of the folder")


def _refuse_ways_out(path: Path) -> None:
    """Raise BadFileError where a file that transformers would follow leads out of the folder."""
    for pattern in ("*.json", "*.jinja", "*.model", "*.txt"):
        for file in sorted(path.glob(pattern)):
            _refuse_link_out(file)
    for index in sorted(path.glob("*.index.json")):
        shards = read_json(index).get("weight_map")
        if not isinstance(shards, dict):
            raise BadFileError(f"{index}: field 'weight_map': an object was expected")
        for name in sorted({str(shard) for shard in shards.values()}):
            files.check_regular(path / _beside(index, name))
    settings = path / "tokenizer_config.json"
    if settings.is_file():
        told = read_json(settings)
        for key in _PATHS:
            named = told.get(key) or []
            for name in named if isinstance(named, list) else [named]:
                _beside(settings, str(name))


def _beside(file: Path, name: str) -> str:
    """Return a name that a file gives to one beside it; raise BadFileError where it leads out."""
    if Path(name).name != name or name in ("", "..") or "\0" in name:
        raise BadFileError(f"{file} names a file outside its folder: {name[:200]!r}")
    return name


def _in_hub_cache(path: Path) -> bool:
    # The hub's own cache keeps a snapshot's files as links to ../../blobs/<hash>.
    real = path.resolve()
    return real.parent.name == "blobs" and path.parent.parent.name == "snapshots"

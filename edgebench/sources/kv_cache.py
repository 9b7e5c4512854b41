"""The KV cache's bytes by context, before anything is loaded: from a model's own description.

Knows GGUF's keys and config.json. Sliding windows are counted as full attention, so the figure is
the most that the cache can take.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgebench.errors import BadFileError
from edgebench.records.artifact import Artifact
from edgebench.records.limits import LARGEST_WHOLE
from edgebench.sources.files import read_json
from edgebench.sources.gguf_file import read_gguf

CONTEXTS = (512, 2048, 8192, 32768, 131072)
# Bytes of a value; blocks of 32 with their scales.
VALUE_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32}
VALUE_BYTES |= {"q5_0": 22 / 32, "q4_1": 20 / 32, "q4_0": 18 / 32}


def values_a_token(artifact: Artifact) -> int | None:
    """Return the numbers that the cache keeps for a token; None where the model does not tell."""
    if artifact.format == "gguf":
        return _of_gguf(Path(artifact.path))
    if artifact.format == "fake":
        return None
    folder = Path(artifact.path)
    return _of_config((folder if folder.is_dir() else folder.parent) / "config.json")


def kv_table(artifact: Artifact, kv_type: str) -> dict[int, int]:
    """Return context -> bytes, up to the model's own context; empty where it does not tell."""
    values = values_a_token(artifact)
    if not values:
        return {}
    limit = artifact.context_length or CONTEXTS[-1]
    contexts = [tokens for tokens in CONTEXTS if tokens < limit] + [limit]
    return {tokens: round(tokens * values * VALUE_BYTES[kv_type]) for tokens in contexts}


def _of_gguf(path: Path) -> int | None:
    info = read_gguf(path)
    layers, heads = info.integer("block_count"), info.integer("attention.head_count_kv")
    queries = info.integer("attention.head_count")
    size = info.integer("embedding_length") // queries if queries else 0
    key = info.integer("attention.key_length") or size
    value = info.integer("attention.value_length") or size
    return _possible(layers * (heads or queries) * (key + value))


def _of_config(path: Path) -> int | None:
    try:
        config: dict[str, Any] = read_json(path)
        config = config.get("text_config") or config
        queries = int(config["num_attention_heads"])
        heads = int(config.get("num_key_value_heads") or queries)
        size = int(config.get("head_dim") or config["hidden_size"] // queries)
        return _possible(2 * int(config["num_hidden_layers"]) * heads * size)
    except (BadFileError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError):
        return None


def _possible(values: int) -> int | None:
    """Return the numbers of a token; None where no machine holds the cache of a context."""
    return values if 0 < values <= LARGEST_WHOLE >> 32 else None

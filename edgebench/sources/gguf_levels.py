"""A GGUF level by the types that its tensors have, whatever the file says of itself.

Knows which type the bulk of a level's weights has, and what llama.cpp writes where rows don't
divide into that type's blocks. Source: llama.cpp's src/llama-quant.cpp. Reads no file.

A level's bulk is the type that most weights of its layers have; the embedding and the head, which
llama.cpp keeps larger, don't count: of a small model they are half. Levels of one bulk (q4_k_s and
q4_k_m) can't be told apart so, and there a file's own word is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edgebench.sources.tensors import Tensor

# Where the bulk isn't the level's own name without its size.
_BULKS = {
    "iq3_xs": ("iq3_xxs", "iq3_s"),
    "iq3_m": ("iq3_s",),
    "iq2_s": ("iq2_xs",),
    "iq2_m": ("iq2_s",),
    "mxfp4_moe": ("mxfp4", "q8_0"),  # of a model without experts, all is q8_0
    "fp16": ("f16",),
    "fp32": ("f32",),
}
_BLOCKS = {"q1_0": 128, "q2_0": 64, "iq4_nl": 32}
_FALLBACKS = {"q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0"}
_LOW_FALLBACKS = ("q4_0", "iq4_nl")  # of all others; which of the two, versions differ in
_LARGE = ("token_embd", "output", "per_layer_token_embd", "position_embd", "token_types")


def bulk_type(tensors: Sequence[Tensor]) -> str:
    """Return the type that most weights of the layers have."""
    weights = Counter[str]()
    for tensor in _layers(tensors):
        weights[tensor.type] += tensor.elements
    return weights.most_common(1)[0][0]


def is_level(level: str, tensors: Sequence[Tensor]) -> bool:
    """Return whether the tensors' bulk is what a level of this name has."""
    bulk, bulks = bulk_type(tensors), _bulks(level)
    if bulk in bulks:
        return True
    own = [tensor for tensor in _layers(tensors) if tensor.type == bulk]
    excused = sum(
        tensor.elements for tensor in own if any(_falls_back(tensor, kind) for kind in bulks)
    )
    return 2 * excused > sum(tensor.elements for tensor in own)


def _bulks(level: str) -> tuple[str, ...]:
    stem, _, size = level.rpartition("_")
    own = stem if stem.endswith("_k") and size in ("s", "m", "l") else level
    return _BULKS.get(level, (own,))


def _layers(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    matrices = [tensor for tensor in tensors if len(tensor.shape) > 1]
    layers = [tensor for tensor in matrices if not tensor.name.startswith(_LARGE)]
    return layers or matrices or tensors


def _falls_back(tensor: Tensor, kind: str) -> bool:
    """Return whether a tensor has its type because its rows can't be cut into blocks of another."""
    instead = (_FALLBACKS[kind],) if kind in _FALLBACKS else _LOW_FALLBACKS
    return tensor.type in instead and tensor.shape[0] % _block(kind) > 0


def _block(kind: str) -> int:
    large = kind.endswith("_k") or kind.startswith(("iq", "tq"))
    return _BLOCKS.get(kind, 256 if large else 1)  # 1: it never falls back

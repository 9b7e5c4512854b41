"""The GGUF levels by their usual names, as the installed llama.cpp knows them.

Knows names, llama.cpp's numbers for them, the aliases of llama-quantize, and which levels need an
importance matrix. Does not convert.
"""

from __future__ import annotations

from edgebench.errors import UsageError, nearest
from edgebench.llama_library import llama_api

ALIASES = {"q3_k": "q3_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m", "fp16": "f16", "fp32": "f32"}
# By llama-quantize's own check (src/llama-quant.cpp, tensor_requires_imatrix); the others may
# still refuse a tensor, and llama.cpp's message is then passed on.
NEED_IMATRIX = {"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m", "iq3_xxs", "q2_k_s"}
# The ladder of the first run: reference, near-lossless, and the cheap ones.
LADDER = ("f16", "q8_0", "q4_1", "q4_0", "q3_k_m")


def known_levels() -> dict[str, int]:
    """Return level -> `llama_ftype` for all that the installed llama.cpp knows.

    Raises MissingExtraError where llama-cpp-python is not installed.
    """
    levels = {}
    for constant, number in vars(llama_api()).items():
        for prefix in ("LLAMA_FTYPE_MOSTLY_", "LLAMA_FTYPE_ALL_"):
            if constant.startswith(prefix):
                levels[constant.removeprefix(prefix).lower()] = int(number)
    return levels


def parse_levels(text: str) -> list[str]:
    """Split "q8_0,q4_k_m" into known levels, in order, each once.

    Raises UsageError on an unknown level, with the nearest name.
    """
    known = known_levels()
    levels: list[str] = []
    for word in text.split(","):
        name = word.strip().lower()
        name = ALIASES.get(name, name)
        if name not in known:
            raise UsageError(
                f"unknown level {word.strip()!r}", hint=nearest(name, [*known, *ALIASES])
            )
        if name in NEED_IMATRIX:
            raise UsageError(
                f"level {name} needs an importance matrix, which edgebench does not make yet",
                hint="take q2_k, q3_k_m or a level above them",
            )
        if name not in levels:
            levels.append(name)
    return levels

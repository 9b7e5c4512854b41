"""Levels by their usual names: GGUF's as the installed llama.cpp knows them, and ONNX's.

Knows names, llama.cpp's numbers for them, the aliases of llama-quantize, and which levels need an
importance matrix. Does not convert; ladders of levels are known to `ladder.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgebench.errors import UsageError, nearest
from edgebench.sources.llama_library import llama_api

ALIASES = {"q3_k": "q3_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m", "fp16": "f16", "fp32": "f32"}
# By llama-quantize's own check (src/llama-quant.cpp, tensor_requires_imatrix); the others may
# still refuse a tensor, and llama.cpp's message is then passed on.
NEED_IMATRIX = {"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m", "iq3_xxs", "q2_k_s"}
ONNX_LEVELS = ("fp32", "fp16", "int8_block", "int8", "int4")


@dataclass(frozen=True)
class Wanted:
    """One level in one format."""

    format: str
    level: str


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


def parse_levels(
    text: str, formats: Sequence[str] = ("gguf",), imatrix: bool = False
) -> list[Wanted]:
    """Split "q8_0,int4" into levels of the formats, in order, each once.

    Raises UsageError on an unknown level, with the nearest name, and on one that needs an
    importance matrix where there is none.
    """
    known = {layout: _known(layout) for layout in formats}
    levels: list[Wanted] = []
    for word in text.split(","):
        for wanted in _wanted(word.strip().lower(), known):
            if wanted.level in NEED_IMATRIX and wanted.format == "gguf" and not imatrix:
                raise UsageError(
                    f"level {wanted.level} needs an importance matrix",
                    hint="add --imatrix auto, or --imatrix FILE as llama-imatrix writes it",
                )
            if wanted not in levels:
                levels.append(wanted)
    return levels


def _known(layout: str) -> list[str]:
    return list(known_levels()) if layout == "gguf" else list(ONNX_LEVELS)


def _wanted(name: str, known: Mapping[str, Sequence[str]]) -> list[Wanted]:
    exact = [Wanted(layout, name) for layout, levels in known.items() if name in levels]
    if exact:
        return exact
    alias = ALIASES.get(name)
    if alias and alias in known.get("gguf", ()):
        return [Wanted("gguf", alias)]
    if "onnx" not in known and name in ONNX_LEVELS:
        raise UsageError(
            f"unknown level {name!r} of a GGUF file; ONNX has it", hint="add --format gguf,onnx"
        )
    names = ["ladder", *(level for levels in known.values() for level in levels), *ALIASES]
    raise UsageError(f"unknown level {name!r}", hint=nearest(name, names))

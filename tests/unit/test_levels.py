"""Levels of both formats by their names, and choices of single tensors."""

from __future__ import annotations

import pytest

pytest.importorskip("llama_cpp")
pytest.importorskip("gguf")

from edgebench.convert.ladder import LADDERS, wanted_levels
from edgebench.convert.levels import Wanted
from edgebench.errors import UsageError

BOTH = ("gguf", "onnx")


@pytest.mark.parametrize(
    ("text", "formats", "expected"),
    [
        ("q8_0, Q4_K", ("gguf",), [("gguf", "q8_0"), ("gguf", "q4_k_m")]),
        ("fp16", ("gguf",), [("gguf", "f16")]),
        ("fp16", BOTH, [("onnx", "fp16")]),
        ("f16,int4", BOTH, [("gguf", "f16"), ("onnx", "int4")]),
        ("int8,int8", ("onnx",), [("onnx", "int8")]),
        ("ladder", BOTH, [(one, level) for one in BOTH for level in LADDERS[one]]),
    ],
)
def test_names_are_found_in_their_format(
    text: str, formats: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    """Usual names, aliases, both formats, each once."""
    assert wanted_levels(text, formats) == [Wanted(*one) for one in expected]


@pytest.mark.parametrize(
    ("text", "formats", "hint"),
    [
        ("int4", ("gguf",), "--format gguf,onnx"),
        ("q4_9", ("gguf",), "q4_k"),
        ("int5", ("onnx",), "int8"),
        ("iq2_xxs", ("gguf",), "--imatrix auto"),
    ],
)
def test_what_is_no_level_is_named_with_what_to_type(
    text: str, formats: tuple[str, ...], hint: str
) -> None:
    """The nearest name, the other format, or the importance matrix that it needs."""
    with pytest.raises(UsageError) as caught:
        wanted_levels(text, formats)
    assert hint in caught.value.hint


def test_keep_names_tensors_and_types() -> None:
    """Pairs in order; what is no pair or no type is refused."""
    from edgebench.convert.ladder import parse_keep

    assert parse_keep("output=q8_0,attn_v=q6_k") == (("output", "q8_0"), ("attn_v", "q6_k"))
    assert parse_keep(None) == ()
    for text in ("output", "out put=q8_0", "output=q9", "=q8_0", "a|b=q8_0"):
        with pytest.raises(UsageError):
            parse_keep(text)

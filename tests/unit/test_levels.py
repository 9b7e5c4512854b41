"""Levels of both formats by their names, and choices of single tensors."""

from __future__ import annotations

import pytest

pytest.importorskip("llama_cpp")
pytest.importorskip("gguf")

from edgebench.convert.ladder import LADDERS, wanted_levels
from edgebench.convert.levels import Wanted
from edgebench.errors import UsageError
from edgebench.sources.gguf_levels import bulk_type, is_level
from edgebench.sources.tensors import Tensor

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


# What llama.cpp 0.3.36 wrote of a llama of 4 layers: type and percent of the layers' weights, for
# rows of 256 and 512, and for rows of 288 (which no block of 256 divides) and 512.
WRITTEN = """
f32       f32 100                          | f32 100
f16       f16 100                          | f16 100
bf16      bf16 100                         | bf16 100
q8_0      q8_0 100                         | q8_0 100
q4_0      q4_0 97 q4_1 3                   | q4_0 100
q4_1      q4_1 100                         | q4_1 100
q5_0      q5_0 97 q5_1 3                   | q5_0 100
q5_1      q5_1 100                         | q5_1 100
q2_k      q2_k 61 q3_k 39                  | q4_0 79 q3_k 21
q2_k_s    q2_k 98 q4_k 2                   | q4_0 79 q2_k 21
q3_k_s    q3_k 100                         | q4_0 79 q3_k 21
q3_k_m    q3_k 61 q4_k 36 q5_k 3           | q4_0 61 q4_k 21 q5_0 15 q5_1 3
q3_k_l    q3_k 61 q5_k 39                  | q4_0 61 q5_k 21 q5_1 18
q4_k_s    q4_k 94 q5_k 6                   | q5_0 73 q4_k 21 q5_1 6
q4_k_m    q4_k 86 q6_k 14                  | q5_0 76 q4_k 11 q6_k 11 q8_0 3
q5_k_s    q5_k 100                         | q5_1 79 q5_k 21
q5_k_m    q5_k 86 q6_k 14                  | q5_1 76 q5_k 11 q6_k 11 q8_0 3
q6_k      q6_k 100                         | q8_0 79 q6_k 21
iq1_s     iq1_s 83 iq2_xxs 11 q2_k 6       | iq4_nl 73 iq1_s 21 q4_0 6
iq1_m     iq1_m 83 iq2_xxs 11 q2_k 6       | iq4_nl 73 iq1_m 21 q4_0 6
iq2_xxs   iq2_xxs 94 q2_k 6                | iq4_nl 73 iq2_xxs 21 q4_0 6
iq2_xs    iq2_xs 94 q2_k 6                 | iq4_nl 73 iq2_xs 21 q4_0 6
iq2_s     iq2_xs 83 iq3_s 17               | iq4_nl 79 iq2_xs 21
iq2_m     iq2_s 83 iq3_s 17                | iq4_nl 79 iq2_s 21
iq3_xxs   iq3_xxs 72 iq2_s 17 iq3_s 11     | iq4_nl 79 iq3_xxs 21
iq3_xs    iq3_xxs 50 iq3_s 48 q4_k 2       | iq4_nl 79 iq3_s 21
iq3_s     iq3_s 98 q4_k 2                  | iq4_nl 79 iq3_s 21
iq3_m     iq3_s 83 q4_k 17                 | iq4_nl 61 iq3_s 21 q5_0 18
iq4_xs    iq4_xs 98 q5_k 2                 | iq4_nl 79 iq4_xs 21
iq4_nl    iq4_nl 98 q5_k 2                 | iq4_nl 100
tq1_0     tq1_0 100                        | q4_0 79 tq1_0 21
tq2_0     tq2_0 100                        | q4_0 79 tq2_0 21
mxfp4_moe q8_0 100                         | q8_0 100
q2_0      q2_0 100                         | q4_0 79 q2_0 21
"""


def tensors(shares: str, row: int) -> list[Tensor]:
    """Return layers with these types and shares, beside an embedding that is larger than all."""
    words = shares.split()
    made = [Tensor("token_embd.weight", "q6_k", (row, 1000), 1000 * row, 1)]
    for kind, share in zip(words[::2], words[1::2], strict=True):
        # A type of large blocks is there for rows that they divide alone.
        whole = kind.endswith("_k") or (kind.startswith(("iq", "tq", "q2_0")) and kind != "iq4_nl")
        shape = (512 if whole else row, int(share))
        made.append(Tensor(f"blk.0.{kind}.weight", kind, shape, int(share) * 1000, 1))
    return made


@pytest.mark.parametrize("line", WRITTEN.strip().splitlines())
def test_levels_are_known_by_their_layers(line: str) -> None:
    """Each level's own tensors pass under its name, those of full precision never."""
    level, rest = line.split(maxsplit=1)
    for shares, row in zip(rest.split("|"), (256, 288), strict=True):
        layers = tensors(shares, row)
        assert is_level(level, layers)
        assert [other for other in ("f16", "f32", "bf16") if is_level(other, layers)] == (
            [level] if level in ("f16", "f32", "bf16") else []
        )
    assert not is_level(level, tensors("f16 100" if level != "f16" else "q8_0 100", 256))
    assert bulk_type(tensors(rest.split("|")[0], 256)) == rest.split()[0]


def test_a_wrong_name_is_known() -> None:
    """Names that belong to other types, near ones too."""
    for name, shares in (
        ("q2_k", "f16 100"), ("q4_k_m", "q3_k 61 q4_k 39"), ("q8_0", "q6_k 100"),
        ("q4_0", "q4_1 100"), ("f16", "bf16 100"), ("q5_k_m", "q4_k 86 q6_k 14"), ("", "f16 100"),
        ("_s", "f16 100"), ("iq4_xs", "q4_k 100"),
    ):  # fmt: skip
        assert not is_level(name, tensors(shares, 256)), name

"""Change files and documents into what a stranger might send: each change drawn from a generator.

Knows bytes, JSON trees, YAML and where a GGUF file has its numbers. The same generator makes the
same mutant. Knows no command, and nothing of what is right.
"""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

WHOLE = [0, 1, 2, 3, 7, 13, 0x7F, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40]
WHOLE += [2**62, 2**63 - 1, 2**63, 2**64 - 1]
REAL = (float("nan"), float("inf"), -float("inf"), -0.0, 1e-320, 1e308, -1e308)
_RAW = "@@{}@@"  # stands in a tree for what json.dumps would not write

# Written as they are where a value stands: numbers and depths that Python could not hold.
_PLAIN_JSON = "1e400 -1e400 NaN Infinity -0 0.1e-400 1e308 tru 1_0 0x10 'a' [1,]"
RAW_JSON = _PLAIN_JSON.split()
RAW_JSON += ["9" * 400, "1" + "0" * 5000, "[" * 1000 + "]" * 1000, "[" * 200_000]
RAW_JSON += ['{"a":' * 500 + "1" + "}" * 500, '{"a":1,"a":2}', '"\\ud800"', '"\\u0000"']
RAW_YAML = (
    RAW_JSON
    + r"""
2000-99-99|0b_|0o9|0x_|1:99:99|!!timestamp x|!!float x|!!int y|!!bool zz|!!binary '*'|!!omap [a]
!!python/object/apply:os.system [id]|!!set {a, b}|*nobody|&a [*a]|&x [a, a]|<<|{<<: 1}|? [a]|- - -
>+9|@a|%|`|'|"|~|null|.inf|-.inf|.nan|yes|2001-12-14t21:59:43.10-05:00|=|[a: b: c|{? {a: 1} : 2}
!<tag:yaml.org,2002:str> 1|!x y|--- a|...
""".strip()
    .replace("\n", "|")
    .split("|")
)
RAW_YAML += ["|", "\t- a"]
TEXTS = ["", " ", "\0", "a\0b", "\r", "\u2028", "\ud800", "\ufeff", "\n" * 50, "é" * 100, "🙂" * 30]
TEXTS += ["\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u202eabc\u2066", "a" * 255, "9" * 5000]
TEXTS += ["x" * 400, "x" * 10_001, "x" * 300_000, "(" * 300 + ")" * 300]
_PLAIN_TEXTS = r"""
../../etc/passwd /dev/zero /dev/stdin /proc/self/mem . .. / ~ a/b =1+1 +1 @x nan inf 1e999 -1 {{ [
(a|aa)+$ (?P<n>.)(?P=n) (.*)*x [bold]x[/bold] [/] [link=file:///etc/passwd]x[/link] %s%n CON
fake gguf onnx q8_0 pip:__main__ hf:x/y {{lipsum()}} {{''.__class__.__mro__}} {{x|batch(1)|list}}
{{'a'.ljust(3000000000)}}
"""
TEXTS += _PLAIN_TEXTS.split()
TEXTS += ["{% for i in range(10**9) %}x{% endfor %}", "{{ 7 * 7 }}"]


def mutated_bytes(rng: random.Random, raw: bytes) -> bytes:
    """Flip, cut, double, overwrite or insert some bytes, once to four times."""
    changed = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(changed)) if changed else 0
        length = min(len(changed) - place, 1 << rng.randrange(10))
        how = rng.randrange(7)
        if how == 0 and changed:
            changed[place] ^= 1 << rng.randrange(8)
        elif how == 1 and changed:
            changed[place] = rng.randrange(256)
        elif how == 2:
            del changed[place:]
        elif how == 3:
            del changed[place : place + length]
        elif how == 4:
            changed[place:place] = changed[place : place + length]
        elif how == 5:
            changed[place : place + length] = rng.randbytes(length)
        else:
            changed[place:place] = rng.choice((b"\0", b"\xff", b"\n", b'"', b"{", b"\xed\xa0\x80"))
    return bytes(changed)


def mutated_numbers(
    rng: random.Random, raw: bytes, places: Sequence[tuple[int, str]], most: int = 3
) -> bytes:
    """Overwrite some of the numbers that lie at `places`, with their struct formats."""
    changed = bytearray(raw)
    for offset, kind in rng.sample(places, rng.randint(1, most)):
        now = struct.unpack_from(kind, changed, offset)[0]
        if kind in ("<f", "<d"):
            struct.pack_into("<f", changed, offset, rng.choice((0.0, -1.0, *REAL[:4])))
            continue
        size = struct.calcsize(kind)
        near = (now + 1, now - 1, now * 2, now // 2, now << 8, now << 24, -now)
        value = rng.choice((*WHOLE, *near)) % (1 << 8 * size)
        changed[offset : offset + size] = value.to_bytes(size, "little")
    return bytes(changed)


_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q"}
_SCALARS |= {11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9


def gguf_numbers(raw: bytes) -> list[tuple[int, str]]:
    """Return where a whole GGUF file has its counts, lengths, types, values, sizes and offsets."""
    places: list[tuple[int, str]] = []
    at = 4

    def number(kind: str) -> int:
        nonlocal at
        places.append((at, kind))
        value = struct.unpack_from(kind, raw, at)[0]
        at += struct.calcsize(kind)
        return int(value) if value == value else 0

    def text() -> None:
        nonlocal at
        length = number("<Q")
        at += length

    def value(kind: int) -> None:
        if kind == _STRING:
            text()
        elif kind == _ARRAY:
            inner = number("<I")
            for index in range(number("<Q")):
                before = len(places)
                value(inner)
                if index >= 2:
                    del places[before:]  # a few of each array are enough
        else:
            number(_SCALARS[kind])

    number("<I")  # version
    tensors, pairs = number("<Q"), number("<Q")
    for _ in range(pairs):
        text()
        value(number("<I"))
    for _ in range(tensors):
        text()
        for _ in range(number("<I")):
            number("<Q")
        number("<I")
        number("<Q")
    return places


def mutated_tree(
    rng: random.Random, tree: Any, pool: Sequence[Any], raw: Sequence[str] = RAW_JSON
) -> str:
    """Change one to three values, keys or lists of a JSON tree; return it as JSON, or nearly so."""
    changed = copy.deepcopy(tree)
    written: list[str] = []
    for _ in range(rng.randint(1, 3)):
        places = list(_places(changed))
        if not places:
            break
        holder, key = rng.choice(places)
        _change(rng, holder, key, pool, raw, written)
    text = json.dumps(changed)
    for index, piece in enumerate(written):
        text = text.replace(json.dumps(_RAW.format(index)), piece)
    return text


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each value's holder and its key there."""
    keys = tree.keys() if isinstance(tree, dict) else range(len(tree))
    for key in list(keys):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _places(tree[key])


def _change(
    rng: random.Random, holder: Any, key: Any, pool: Sequence[Any], raw: Sequence[str], written: Any
) -> None:
    now = holder[key]
    how = rng.randrange(10)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[rng.choice(("x", "", "__class__", "a\0", "\u202e", "x" * 500))] = holder.pop(key)
    elif how == 2 and isinstance(now, list) and now:
        holder[key] = now * rng.choice((2, 7, 500))
    elif how in (3, 4):
        holder[key] = _RAW.format(len(written))
        written.append(rng.choice(raw))
    elif how == 5:
        holder[key] = rng.choice(([now], {"x": now}, [], {}, None, str(now)[:50]))
    elif isinstance(now, bool) or (isinstance(now, int | float) and how < 9):
        holder[key] = _other_number(rng, now)
    elif isinstance(now, str) and how < 9:
        texts = (now[: len(now) // 2], now + rng.choice(TEXTS), rng.choice(TEXTS))
        holder[key] = rng.choice(texts)
    else:
        holder[key] = copy.deepcopy(rng.choice(pool))


def _other_number(rng: random.Random, now: float) -> Any:
    near: tuple[Any, ...] = (-now, 0, -1, 0.5, True, None, str(now), now + 1)
    if now == now and abs(now) < 1e300:
        near += (now * 1e30, now * -1e9, now / 1e30, now * 1e-300, now * 1.5)
    return rng.choice((*near, *WHOLE[-6:], *REAL, 10**18, 1e60, 1e-60, 10**40, -(10**40)))


def mutated_yaml(rng: random.Random, tree: Any, pool: Sequence[Any]) -> bytes:
    """Change a document as a tree of YAML's own oddities, as bytes, or into a known bomb."""
    how = rng.randrange(10)
    text = mutated_tree(rng, tree, pool, RAW_YAML)
    if how < 6:
        return _as_block(text, rng).encode("utf-8", "surrogatepass")
    if how < 9:
        return mutated_bytes(rng, json.dumps(tree, indent=1).encode())
    return rng.choice(BOMBS)(rng, json.dumps(tree)).encode("utf-8", "surrogatepass")


def _as_block(text: str, rng: random.Random) -> str:
    """Write the outermost level of a flow document as a block, as people do, half of the time."""
    if rng.random() < 0.5:
        return text
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(fields, dict):
        return text
    return "".join(f"{json.dumps(key)}: {json.dumps(value)}\n" for key, value in fields.items())


def _aliases(rng: random.Random, text: str) -> str:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for index in range(1, rng.randint(3, 30)):
        rows.append(f"a{index}: &a{index} [{', '.join([f'*a{index - 1}'] * 9)}]")
    return "\n".join(rows) + "\n"


BOMBS: tuple[Callable[[random.Random, str], str], ...] = (
    _aliases,
    lambda rng, text: "- " * rng.choice((50, 1000, 100_000)) + "a",
    lambda rng, text: "[" * rng.choice((100, 10_000, 500_000)),
    lambda rng, text: "a: 1\n" * rng.choice((2, 100_000)),
    lambda rng, text: text + "\n---\n" + text,
    lambda rng, text: "&a {x: *a}",
    lambda rng, text: "\ufeff" + text,
    lambda rng, text: "- a\n" * 600_000,
    lambda rng, text: "x: |\n" + "  " + "y" * 3_000_000,
    lambda rng, text: "%YAML 9.9\n---\n" + text,
)


def mutated_json(rng: random.Random, tree: Any, pool: Sequence[Any]) -> bytes:
    """Change a JSON document as a tree, or now and then as bytes."""
    if rng.random() < 0.75:
        return mutated_tree(rng, tree, pool).encode("utf-8", "surrogatepass")
    return mutated_bytes(rng, json.dumps(tree).encode())


def value_pool(seed: int, count: int = 60) -> list[Any]:
    """Return JSON values of any shape, drawn by hypothesis, the same for the same seed."""
    import hypothesis
    from hypothesis import strategies as st

    numbers = st.booleans() | st.integers() | st.floats()
    leaves = st.none() | numbers | st.text() | st.sampled_from(TEXTS)
    values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
    pool: list[Any] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(values)
    def gather(value: Any) -> None:
        pool.append(value)

    gather()
    return pool

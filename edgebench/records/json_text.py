"""JSON that comes from elsewhere, of limited depth and digits. Knows no field and no file."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json

from edgebench.records.limits import (
    DEPTH,
    DIGITS,
    LINE_LISTS,
    LINE_VALUES,
    MESSAGE_CHARACTERS,
)


def read_values(line: bytes) -> Any:
    """Parse a line of JSON that a record will be made of; raise ValueError where it isn't any.

    Records are validated against these values: against the line itself, each fault would hold a
    copy of what it is about, and a large line fill the memory.
    """
    if has_too_many_values(line):
        raise ValueError("it holds more values than any that edgebench writes")
    return from_json(line, allow_inf_nan=False)


def has_too_many_values(line: bytes) -> bool:
    """Return whether a line of JSON holds so much that parsing it would fill the memory.

    Counted without parsing, and so with what stands in texts: an empty list of 3 bytes takes 64.
    """
    lists = line.count(b"[") + line.count(b"{")
    return lists > LINE_LISTS or line.count(b",") > LINE_VALUES


def parse_json(raw: bytes | str) -> Any:
    """Parse JSON; raise ValueError with one clear line where it isn't any, or out of bounds.

    Numbers that no double can hold (1e400, NaN, Infinity) are refused.
    """
    try:
        value = json.loads(raw, parse_int=_integer, parse_float=_real, parse_constant=_constant)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEPTH} deep") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} isn't UTF-8") from None
    if _is_deeper(value, DEPTH):
        raise ValueError(f"it is nested more than {DEPTH} deep")
    return value


def _integer(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a number has more than {DIGITS} digits")
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{digits[:40]} is larger than any number can be")
    return value


def _constant(name: str) -> Any:
    raise ValueError(f"{name} isn't a number")


def _is_deeper(value: Any, depth: int) -> bool:
    """Return whether lists and objects nest deeper; without recursion, a level at a time."""
    level = [value]
    for _ in range(depth + 1):
        if not level:
            return False
        level = [
            child
            for parent in level
            if isinstance(parent, (dict, list))
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
    return bool(level)


def shortened(error: ValueError) -> str:
    """Return what a parser said in one line of limited length."""
    return " ".join(str(error).split())[:MESSAGE_CHARACTERS]

"""The first fault that a validation found. Knows pydantic's errors and no record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from edgebench.records.base import clean
from edgebench.records.limits import MESSAGE_CHARACTERS

UNKNOWN_FIELD = "extra_forbidden"
FIELD_CHARACTERS = 120  # of a field's path, which holds keys of somebody else's


@dataclass(frozen=True)
class Fault:
    """Where a fault lies, its kind by pydantic's name, what was expected and what was there."""

    keys: tuple[str | int, ...]
    kind: str
    expected: str
    value: Any

    @property
    def field(self) -> str:
        """Return the field's path; empty where no single field is at fault."""
        return clean(".".join(str(key)[:FIELD_CHARACTERS] for key in self.keys), FIELD_CHARACTERS)

    @classmethod
    def of(cls, error: ValidationError) -> Fault:
        """Return the first fault of a validation."""
        first = error.errors(include_url=False)[0]
        keys = tuple(key for key in first["loc"] if key != "[key]")
        expected = clean(first["msg"].removeprefix("Value error, "), MESSAGE_CHARACTERS)
        return cls(keys, first["type"], expected, first["input"])


def first_fault(error: ValidationError, whole: str = "the whole") -> str:
    """Return `field: what was expected`; `whole` stands where no single field is at fault."""
    fault = Fault.of(error)
    return f"{fault.field or whole}: {fault.expected}"

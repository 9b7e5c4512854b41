"""The first fault that a validation found. Knows pydantic's errors and no record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from edgebench.records.base import clean
from edgebench.records.limits import MESSAGE_CHARACTERS

UNKNOWN_FIELD = "extra_forbidden"
MANY_FAULTS = 1000  # a list of them takes more memory than the line they are in
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
        return cls._of(error, with_value=True)

    @classmethod
    def _of(cls, error: ValidationError, with_value: bool) -> Fault:
        first = error.errors(include_url=False, include_context=False, include_input=with_value)[0]
        keys = tuple(key for key in first["loc"] if key != "[key]")
        expected = clean(first["msg"].removeprefix("Value error, "), MESSAGE_CHARACTERS)
        return cls(keys, first["type"], expected, first.get("input"))


def first_fault(error: ValidationError, whole: str = "the whole") -> str:
    """Return `field: what was expected`; `whole` stands where no single field is at fault.

    The value itself is not looked at: of a large line each fault may hold a copy of all of it.
    """
    if error.error_count() > MANY_FAULTS:
        return f"{whole}: {error.error_count()} values aren't what they should be"
    fault = Fault._of(error, with_value=False)
    return f"{fault.field or whole}: {fault.expected}"

"""The first fault that a validation found, as one line. Knows pydantic's errors and no record."""

from __future__ import annotations

from pydantic import ValidationError


def first_fault(error: ValidationError, whole: str = "the whole") -> str:
    """Return `field: what was expected`; `whole` stands where no single field is at fault."""
    fault = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in fault["loc"]) or whole
    return f"{field}: {fault['msg'].removeprefix('Value error, ')}"

"""Rows of a task's JSONL: the five schemas, each line checked. Knows no prompts and no scoring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from edgebench.errors import BadFileError
from edgebench.records.base import LongText

Schema = Literal["multiple_choice", "partial", "completion", "generation", "text"]
LONGEST_LINE = 4_000_000  # bytes

R = TypeVar("R", bound="Row")


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


Plain = Annotated[LongText, BeforeValidator(_as_text)]  # a number is as good as its digits
Filled = Annotated[LongText, Field(min_length=1), BeforeValidator(_as_text)]
Choices = Annotated[tuple[Filled, ...], Field(min_length=2, max_length=1000)]


class Row(BaseModel):
    """A line; fields beyond the schema are kept for templates."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: Annotated[str, Field(min_length=1, max_length=1000), BeforeValidator(_as_text)]


class MultipleChoiceRow(Row):
    """A context and the choices that may follow it."""

    context: Plain = ""
    choices: Choices
    gold: Annotated[int, Field(ge=0)]


class PartialRow(Row):
    """Contexts that may come before one continuation."""

    context_options: Choices
    continuation: Filled
    gold: Annotated[int, Field(ge=0)]


class CompletionRow(Row):
    """A context and the one continuation that is right."""

    context: Plain
    continuation: Filled


class GenerationRow(Row):
    """A question, and its answer or answers."""

    question: Filled
    answer: Filled | None = None
    answers: Annotated[tuple[Filled, ...], Field(min_length=1)] | None = None


class TextRow(Row):
    """A part of a text."""

    text: Plain


SCHEMAS: dict[str, type[Row]] = {
    "multiple_choice": MultipleChoiceRow,
    "partial": PartialRow,
    "completion": CompletionRow,
    "generation": GenerationRow,
    "text": TextRow,
}


def read_rows(where: str, raw: bytes, kind: type[R]) -> list[tuple[int, R]]:
    """Parse JSONL into rows with their line numbers.

    Raises BadFileError with line and field where a line is not UTF-8, no row of this schema, or
    has an id that stood before.
    """
    rows: list[tuple[int, R]] = []
    seen: dict[str, int] = {}
    for number, line in _lines(where, raw):
        try:
            row = kind.model_validate_json(line)
        except ValidationError as error:
            raise BadFileError(f"{where}, line {number}, {first_fault(error)}") from None
        if row.id in seen:
            raise BadFileError(
                f"{where}, line {number}, id: {row.id!r} stands on line {seen[row.id]} already"
            )
        seen[row.id] = number
        rows.append((number, row))
    if not rows:
        raise BadFileError(f"{where} has no items")
    return rows


def _lines(where: str, raw: bytes) -> Iterator[tuple[int, str]]:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BadFileError(f"{where} is UTF-16", hint="save it as UTF-8")
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if len(line) > LONGEST_LINE:
            raise BadFileError(f"{where}, line {number} has more than {LONGEST_LINE} bytes")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadFileError(
                f"{where}, line {number}, byte {error.start + 1}: "
                f"0x{line[error.start]:02x} is not UTF-8",
                hint="save the whole file as UTF-8; lines of another encoding stand in it",
            ) from None
        if text.strip():
            yield number, text


def first_fault(error: ValidationError) -> str:
    """Return the first fault's field and what was expected there."""
    first: Any = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "the item"
    return f"{field}: {first['msg']}"

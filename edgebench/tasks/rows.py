"""Rows of a task's JSONL: the five schemas, each line checked. Knows no prompts and no scoring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from edgebench.errors import BadFileError
from edgebench.records.base import LongText
from edgebench.records.faults import first_fault
from edgebench.records.limits import DATA_ROWS, DATA_VALUES, LINE_BYTES

Schema = Literal["multiple_choice", "partial", "completion", "generation", "text"]

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

    @property
    def values(self) -> dict[str, Any]:
        """Return the row as JSON has it: what templates see."""
        return self.model_dump(mode="json")


class ItemRow(Row):
    """A line that becomes an item: contexts, and what may follow them."""

    @property
    def renderings(self) -> list[dict[str, Any]]:
        """Return the values to render a prompt of, one for each context."""
        return [self.values]

    @property
    def options(self) -> tuple[str, ...]:
        """Return what may follow a context: choices, the one continuation, or the answers."""
        raise NotImplementedError

    @property
    def right(self) -> int:
        """Return the place of what is right, among the contexts or the options."""
        return 0

    @property
    def unusable(self) -> str | None:
        """Return why this row can't be scored fairly, or None."""
        return None


class MultipleChoiceRow(ItemRow):
    """A context and the choices that may follow it."""

    context: Plain = ""
    choices: Choices
    gold: Annotated[int, Field(ge=0)]

    @property
    def options(self) -> tuple[str, ...]:
        """Return the choices."""
        return self.choices

    @property
    def right(self) -> int:
        """Return the right choice's place."""
        return self.gold

    @property
    def unusable(self) -> str | None:
        """Tell of a choice that stands twice."""
        return "a choice stands twice" if len(set(self.choices)) < len(self.choices) else None


class PartialRow(ItemRow):
    """Contexts that may come before one continuation."""

    context_options: Choices
    continuation: Filled
    gold: Annotated[int, Field(ge=0)]

    @property
    def renderings(self) -> list[dict[str, Any]]:
        """Return the row's values with each context in turn."""
        values = self.values
        return [values | {"context": option} for option in self.context_options]

    @property
    def options(self) -> tuple[str, ...]:
        """Return the continuation."""
        return (self.continuation,)

    @property
    def right(self) -> int:
        """Return the right context's place."""
        return self.gold

    @property
    def unusable(self) -> str | None:
        """Tell of a context that stands twice."""
        listed = self.context_options
        return "a context stands twice" if len(set(listed)) < len(listed) else None


class CompletionRow(ItemRow):
    """A context and the one continuation that is right."""

    context: Plain
    continuation: Filled

    @property
    def options(self) -> tuple[str, ...]:
        """Return the continuation."""
        return (self.continuation,)


class GenerationRow(ItemRow):
    """A question, and its answer or answers."""

    question: Filled
    answer: Filled | None = None
    answers: Annotated[tuple[Filled, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _has_an_answer(self) -> GenerationRow:
        if not self.options:
            raise ValueError("it has neither answer nor answers")
        return self

    @property
    def options(self) -> tuple[str, ...]:
        """Return the answers that count."""
        return self.answers or ((self.answer,) if self.answer else ())


class TextRow(Row):
    """A part of a text."""

    text: Plain


ITEM_ROWS: dict[str, type[ItemRow]] = {
    "multiple_choice": MultipleChoiceRow,
    "partial": PartialRow,
    "completion": CompletionRow,
    "generation": GenerationRow,
}


def read_rows(where: str, raw: bytes, kind: type[R]) -> list[tuple[int, R]]:
    """Parse JSONL into rows with their line numbers.

    Raises BadFileError with line and field where a line is not UTF-8, no row of this schema, or
    has an id that stood before.
    """
    rows: list[tuple[int, R]] = []
    seen: dict[str, int] = {}
    count = 0
    for number, line in _lines(where, raw):
        try:
            row = kind.model_validate_json(line)
            count += _count(dict(row))
        except ValidationError as error:
            raise BadFileError(
                f"{where}, line {number}, {first_fault(error, 'the item')}"
            ) from None
        if row.id in seen:
            raise BadFileError(
                f"{where}, line {number}, id: {row.id!r} stands on line {seen[row.id]} already"
            )
        if len(rows) == DATA_ROWS or count > DATA_VALUES:
            most = f"{DATA_ROWS} rows" if len(rows) == DATA_ROWS else f"{DATA_VALUES} values"
            raise BadFileError(f"{where}, line {number}: more than {most}", hint="cut the file")
        seen[row.id] = number
        rows.append((number, row))
    if not rows:
        raise BadFileError(f"{where} has no items")
    return rows


def _count(value: Any) -> int:
    """Count the values in JSON, itself included; rows nest 200 deep at most."""
    if isinstance(value, dict):
        return 1 + sum(map(_count, value.values()))
    return 1 + sum(map(_count, value)) if isinstance(value, (list, tuple)) else 1


def _lines(where: str, raw: bytes) -> Iterator[tuple[int, str]]:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BadFileError(f"{where} is UTF-16", hint="save it as UTF-8")
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if len(line) > LINE_BYTES:
            raise BadFileError(f"{where}, line {number} has more than {LINE_BYTES} bytes")
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

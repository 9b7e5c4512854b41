"""The YAML header of a task file: its fields, checked, with the line of what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgebench.errors import BadFileError, nearest
from edgebench.records.answers import PATTERNS, check_pattern
from edgebench.records.base import LongText, Text
from edgebench.records.faults import UNKNOWN_FIELD, Fault, first_fault
from edgebench.records.task import Generation, Metric
from edgebench.sources.yaml_lines import LinedYaml, load_yaml
from edgebench.tasks.rows import Schema

METRICS: dict[str, tuple[Metric, ...]] = {  # the first is the default
    "multiple_choice": ("acc_norm", "acc", "acc_token"),
    "partial": ("acc", "acc_norm", "acc_token"),
    "completion": ("greedy_match", "exact_match"),
    "generation": ("exact_match",),
    "text": (),
}


class Fewshot(BaseModel):
    """Examples before each item: `count` of them, from a file of their own or the first items.

    With `match`, only examples that have the item's own value in that field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: Annotated[int, Field(ge=1, le=100)]
    data: Text | None = None
    match: Text | None = None


class Header(BaseModel):
    """What a task file says of its rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")]
    data: Annotated[Text, Field(min_length=1)]
    kind: Schema = Field(alias="schema")
    prompt: Annotated[LongText, Field(min_length=1)] | None = None
    delimiter: Text = " "
    fewshot: Fewshot | None = None
    metric: Metric | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    stop: Annotated[tuple[Annotated[Text, Field(min_length=1)], ...], Field(max_length=50)] = ()
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] = 256
    answer_pattern: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    normalise: Literal["none", "squad"] = "none"
    end_of_thought: Annotated[tuple[Text, ...], Field(max_length=10)] = ("</think>",)
    chat: bool = False
    cluster: LongText | None = None
    chunks: Annotated[int, Field(ge=2, le=100_000)] = 64

    @property
    def chosen_metric(self) -> Metric:
        """Return the metric, or the schema's default."""
        return self.metric or METRICS[self.kind][0]

    @property
    def generation(self) -> Generation:
        """Return how answers are generated and read."""
        pattern = self.answer_pattern
        return Generation(
            stop=self.stop,
            max_tokens=self.max_tokens,
            answer_pattern=PATTERNS.get(pattern, pattern) if pattern else None,
            normalise=self.normalise,
            end_of_thought=self.end_of_thought,
        )

    @model_validator(mode="before")
    @classmethod
    def _simple_forms(cls, value: Any) -> Any:
        """Let `fewshot: 3` and `stop: TEXT` stand for their long forms."""
        if not isinstance(value, dict):
            return value
        value = dict(value)
        if isinstance(value.get("fewshot"), int):
            value["fewshot"] = {"count": value["fewshot"]}
        for name in ("stop", "end_of_thought"):
            if isinstance(value.get(name), str):
                value[name] = (value[name],)
        return value


def read_header(path: Path) -> Header:
    """Read a task file's header; raise BadFileError with the line and field of what is wrong."""
    lined = load_yaml(path)
    if not isinstance(lined.data, dict):
        raise BadFileError(
            f"{path} isn't a task's header", hint="write name:, data: and schema: there"
        )
    try:
        header = Header.model_validate(lined.data)
    except ValidationError as error:
        raise _fault(path, error, lined) from None
    return _checked(path, header, lined)


def _fault(path: Path, error: ValidationError, lined: LinedYaml) -> BadFileError:
    fault = Fault.of(error)
    place = f"{path}, line {lined.line(*fault.keys)}"
    if fault.kind == UNKNOWN_FIELD and len(fault.keys) == 1:
        known = [info.alias or name for name, info in Header.model_fields.items()]
        hint = nearest(fault.field, known)
        return BadFileError(f"{place}, {fault.field}: no such field", hint=hint)
    return BadFileError(f"{place}, {first_fault(error)}")


def _checked(path: Path, header: Header, lined: LinedYaml) -> Header:
    if header.metric and header.metric not in METRICS[header.kind]:
        wanted = ", ".join(METRICS[header.kind]) or "none"
        raise BadFileError(
            f"{_place(path, 'metric', lined)}: {header.metric} doesn't go with the schema "
            f"{header.kind}",
            hint=f"known there: {wanted}",
        )
    if header.answer_pattern and header.answer_pattern not in PATTERNS:
        try:
            check_pattern(header.answer_pattern)
        except BadFileError as error:
            raise BadFileError(
                f"{_place(path, 'answer_pattern', lined)}: {error.message}",
                hint=f"or one of {', '.join(PATTERNS)}",
            ) from None
    return header


def _place(path: Path, field: str, lined: LinedYaml) -> str:
    return f"{path}, line {lined.line(field)}, {field}"

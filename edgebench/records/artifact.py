"""An artifact: one model at one level in one format, and how its export was checked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from edgebench.records.base import Amount, Count, Real, Record, Share, Text, Told
from edgebench.records.formats import REAL_FORMATS, is_runnable


def _runnable(name: str) -> str:
    if not is_runnable(name):
        raise ValueError(f"a format was expected: {', '.join(REAL_FORMATS)}")
    return name


Format = Annotated[
    Literal["gguf", "onnx", "torch", "fake"],
    AfterValidator(_runnable),
    WithJsonSchema({"type": "string", "maxLength": 10, "description": " or ".join(REAL_FORMATS)}),
]


class ExportCheck(Record):
    """How far an export's log-probabilities lie from the reference's, on a few prompts."""

    reference: Text
    prompts: Count
    tokens: Count
    max_logprob_difference: Amount
    same_top: Share
    tolerance: Real


class Artifact(Record):
    """One model at one level in one format."""

    name: Text
    model: Text
    format: Format
    level: Text
    path: Text
    sha256: Text
    files: dict[Text, Text] = Field(
        default={}, description="other files of the artifact -> their sha256"
    )
    size_bytes: Count
    parameters: Count
    bits_per_weight: Amount
    tensor_types: dict[Text, Count] = Field(description="tensor type -> number of tensors")
    fallback_tensors: dict[Text, Text] | None = Field(
        description="tensor -> type written in place of the one the level's name promises; "
        "None where the artifact was not made here, so that nobody counted"
    )
    requantized_from: Text | None = Field(
        default=None, description="level of the already quantized model it was made from"
    )
    origin: Text = Field(
        default="",
        description="what it was made from: the source's sum, and choices beside the level; "
        "empty where it was not made here",
    )
    architecture: Text = ""
    graph: Literal["fused", "standard"] | None = Field(
        default=None, description="how an ONNX graph keeps its cache"
    )
    context_length: Count = 0
    export_check: ExportCheck | None = None
    claims: dict[Text, Text] = Field(
        default={},
        description="field -> what its description said of it, where its file says otherwise",
    )
    notes: tuple[Told, ...] = ()

    @property
    def content(self) -> str:
        """Tell it by its bytes: a file that was made again is another one of the same name."""
        return "+".join([self.sha256, *sorted(self.files.values())]) if self.files else self.sha256

    @model_validator(mode="before")
    @classmethod
    def _as_of_0_1_0(cls, value: Any) -> Any:
        """Read an artifact of 0.1.0, which kept its origin in a note and its graph elsewhere."""
        if not isinstance(value, dict) or value.get("origin"):
            return value
        value = dict(value)
        notes = value.get("notes")
        first = notes[0] if isinstance(notes, (list, tuple)) and notes else None
        if isinstance(first, str) and first.startswith("source "):
            value["origin"] = first.removeprefix("source ")
        if value.get("format") == "onnx" and value.get("architecture") in ("fused", "standard"):
            value["graph"], value["architecture"] = value["architecture"], ""
        return value

"""An artifact: one model at one level in one format, and how its export was checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgebench.records.base import Count, Real, Record, Text


class ExportCheck(Record):
    """How far an export's log-probabilities lie from the reference's, on a few prompts."""

    reference: Text
    prompts: Count
    tokens: Count
    max_logprob_difference: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    same_top: Annotated[float, Field(ge=0, le=1)]
    tolerance: Real


class Artifact(Record):
    """One model at one level in one format."""

    name: Text
    model: Text
    format: Literal["gguf", "onnx", "torch", "fake"]
    level: Text
    path: Text
    sha256: Text
    files: dict[str, Text] = Field(
        default={}, description="other files of the artifact -> their sha256"
    )
    size_bytes: Count
    parameters: Count
    bits_per_weight: Real
    tensor_types: dict[str, Count] = Field(description="tensor type -> number of tensors")
    fallback_tensors: dict[str, str] | None = Field(
        description="tensor -> type written in place of the one the level's name promises; "
        "None where the artifact was not made here, so that nobody counted"
    )
    requantized_from: str | None = Field(
        default=None, description="level of the already quantized model it was made from"
    )
    architecture: Text = ""
    context_length: Count = 0
    export_check: ExportCheck | None = None
    notes: tuple[Text, ...] = ()

"""What crosses between a command and a step of its conversion in a process of its own.

A step gets its job as one line of JSON on stdin and writes messages on stdout; what libraries
print goes to stderr, the log. Knows the messages and the step's end. `child.py` is the other end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from pydantic import Field, TypeAdapter

from edgebench.records.base import Count, LongText, Real, Record, Text


class Progress(Record):
    """How far a step is."""

    kind: Literal["progress"] = "progress"
    done: Count
    total: Count


class Fault(Record):
    """Why a step failed: a kind that the command knows what to say of, and a library's words."""

    kind: Literal["fault"] = "fault"
    fault: Literal["architecture", "tokenizer", "package", "failed"]
    package: Text = ""
    detail: LongText = ""


class Quantized(Record):
    """What llama.cpp did: tensors and the types they got in place of the level's own."""

    kind: Literal["quantized"] = "quantized"
    elapsed_s: Real
    fallback_tensors: dict[str, str] | None = Field(description="None where the log is unclear")


Message = Annotated[Progress | Fault | Quantized, Field(discriminator="kind")]
Tell = Callable[[Progress | Fault | Quantized], None]
MESSAGES: TypeAdapter[Progress | Fault | Quantized] = TypeAdapter(Message)
Job = TypeVar("Job", bound=Record)


class StepError(Exception):
    """A fault that the command will name."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


def serve(job: type[Job], step: Callable[[Job, Tell], None]) -> None:
    """Do the job on stdin; end with another code than 0 where it fails, the reason in the log."""
    message = job.model_validate_json(sys.stdin.readline())
    messages = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # A local checkpoint must not send anyone to the hub.
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"

    def tell(said: Progress | Fault | Quantized) -> None:
        messages.write(said.model_dump_json() + "\n")

    try:
        step(message, tell)
    except StepError as error:
        tell(error.fault)
        sys.exit(1)
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        tell(Fault(fault="package", package=package, detail=str(error)[:2000]))
        raise

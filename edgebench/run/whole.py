"""Make sure that a run reads back before it is stored: what doesn't is left out, with the reason.

Knows which fields of a run may be absent. A figure is not looked at here, only its record.
"""

from __future__ import annotations

from pydantic import ValidationError

from edgebench.records.faults import Fault, first_fault
from edgebench.records.json_text import has_too_many_values, read_values
from edgebench.records.limits import RUN_BYTES
from edgebench.records.run import Run

# Raw readings stand last: they are what a figure can be derived from again.
PARTS = (
    "energy", "speed", "accuracy", "divergence", "memory", "conditions", "runtime",
    "timelines", "launches", "answers",
)  # fmt: skip
LARGE = ("timelines", "answers", "launches", "divergence", "speed", "accuracy")  # first to go


def readable(run: Run) -> Run:
    """Return the run without the parts that would not read back; their reasons are in `absent`."""
    for _ in range(2 * len(PARTS)):
        line = run.to_line().encode()
        if len(line) > RUN_BYTES or has_too_many_values(line):
            part = next((name for name in LARGE if getattr(run, name)), "")
            reason = f"the run's line would be too long: {len(line) >> 20} MiB"
        else:
            part, reason = _unreadable(line)
        if part not in PARTS:
            break
        run = _without(run, part, reason)
    return run


def _unreadable(line: bytes) -> tuple[str, str]:
    """Return the first part that doesn't read back, and why; "" where all does."""
    try:
        Run.model_validate(read_values(line))
    except ValidationError as error:
        return str(next(iter(Fault.of(error).keys), "")), first_fault(error)
    return "", ""


def _without(run: Run, part: str, reason: str) -> Run:
    default = Run.model_fields[part].get_default(call_default_factory=True)
    update = {part: default, "absent": {**run.absent, part: reason}}
    if part == "energy":
        update["energy_reason"] = reason
    return run.model_copy(update=update)

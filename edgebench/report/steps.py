"""Say what `pick --measure` measured: each step, its time, and what it changed. Decides none."""

from __future__ import annotations

from typing import Any

from edgebench.analyze.decision import Pick
from edgebench.records.base import clean
from edgebench.report.format import counted, duration
from edgebench.run.deciding import Decided

_STOPPED = {
    "decided": "it is decided",
    "nothing": "nothing that can be measured here would decide more",
    "interrupted": "it was interrupted; what was measured is stored",
}


def step_lines(decided: Decided[Pick]) -> list[str]:
    """Return the lines that tell what was done for a decision."""
    spent, budget = duration(decided.spent_s), duration(decided.budget_s)
    lines = [
        f"Measured {counted(len(decided.done), 'time')}, {spent} of {budget}: {_why(decided)}."
    ]
    for number, step in enumerate(decided.done, 1):
        lines.append(f"  {number}. {step.command}")
        lines.append(f"     {duration(step.took_s)}; {'; '.join(step.changed)}")
    return [clean(line, 2000) for line in lines]


def _why(decided: Decided[Pick]) -> str:
    if decided.stopped != "budget":
        return _STOPPED[decided.stopped]
    takes = f", the next takes about {duration(decided.next_s)}" if decided.next_s else ""
    return f"the budget is spent{takes}"


def steps_json(decided: Decided[Pick]) -> dict[str, Any]:
    """Return the same for a program."""
    return {
        "budget_s": decided.budget_s,
        "spent_s": decided.spent_s,
        "stopped": decided.stopped,
        "next_s": decided.next_s,
        "steps": [step.model_dump(mode="json") for step in decided.done],
    }

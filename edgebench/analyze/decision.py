"""What a pick comes to: the winner and how to run it, each loser and why, and what is open.

Records alone, in SI units. Decides nothing.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgebench.analyze.advice import Advice
from edgebench.analyze.choosing import Aspect
from edgebench.analyze.constraints import Check
from edgebench.analyze.running import Command
from edgebench.records.base import Estimate, Record, Text

Kind = Literal["failed", "breaks", "open", "unmeasured", "worse", "alike", "beside"]


class Rejection(Record):
    """Why an artifact can't be taken."""

    artifact: Text
    constraint: Text
    estimate: Estimate | None = None
    limit: float | None = None
    about: Text = ""
    reason: Text = ""


class Next(Record):
    """A question that is open, and what to type so that it closes."""

    artifact: Text
    constraint: Text
    message: Text
    about: Text = ""
    estimate: Estimate | None = None
    limit: float | None = None
    advice: Advice | None = None


class Aside(Record):
    """An artifact that was not considered, and why."""

    artifact: Text
    reason: Text


class Comparison(Record):
    """How the winner stands to a loser in one respect."""

    aspect: Aspect
    winner: Estimate
    loser: Estimate
    by: float = Field(
        description="how much better the winner is: 0.1 is 10 %, in accuracy 10 points; below 0 "
        "where the loser is better"
    )
    is_shown: bool = Field(description="whether that is more than chance")
    p_value: float | None = None


class Loser(Record):
    """Why an artifact was not picked."""

    artifact: Text
    why: Kind
    behind: float | None = Field(
        default=None, description="how much better the winner is at the objective, 0.1 for 10 %"
    )
    is_shown: bool = Field(default=False, description="whether that is more than chance")
    breaks: tuple[Check, ...] = ()
    open: tuple[Check, ...] = ()
    compared: tuple[Comparison, ...] = ()
    reason: Text = Field(default="", description="beside the figures")


class Winner(Record):
    """What was picked, with the settings that were measured and what to type to run it."""

    artifact: Text = Field(description="its name, as the pick tells rows apart")
    name: Text = Field(description="the artifact's own name")
    model: Text
    level: Text
    format: Text
    device: Text
    path: Text
    sha256: Text
    runtime: Text
    settings: dict[str, int | str | None]
    figures: dict[Aspect, Estimate]
    run: tuple[Command, ...]


class Pick(Record):
    """The decision, and why."""

    decision: Literal["picked", "none", "undecided"]
    artifact: Text | None
    sha256: Text | None
    winner: Winner | None = None
    objective: Text
    weights: dict[Aspect, float] = Field(default={}, description="of the objective; add up to 1")
    tasks: tuple[Text, ...]
    baseline: Text | None
    satisfying: tuple[Text, ...]
    pareto: tuple[Text, ...]
    losers: tuple[Loser, ...] = ()
    rejected: tuple[Rejection, ...]
    measure_next: tuple[Next, ...]
    left_open: tuple[Next, ...]
    left_out: tuple[Aside, ...]
    reason: Text
    warnings: tuple[Text, ...]
    checks: dict[str, tuple[Check, ...]]

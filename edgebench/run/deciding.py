"""Decide, measure what would decide the most for a minute, and decide again.

Knows a budget of time and when to stop. What a decision is, what could be measured and how that is
done is given: it knows no pick and no case.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from edgebench.records.base import Record, Text

GUESSES = 4.0  # a time that is only guessed may turn out that much shorter

Stop = Literal["decided", "budget", "nothing", "interrupted"]


class Offer(Protocol):
    """Something that could be measured; the best of several comes first."""

    @property
    def command(self) -> str:
        """Return what a person would type for it."""
        ...

    @property
    def takes_s(self) -> float:
        """Return about how long it takes."""
        ...

    @property
    def is_guess(self) -> bool:
        """Return whether that time was guessed, and not told by earlier measurements."""
        ...


class Step(Record):
    """What was measured, how long it took, and what it changed."""

    command: Text
    expected_s: float
    took_s: float
    changed: tuple[Text, ...] = ()


Decision = TypeVar("Decision")
OfferT = TypeVar("OfferT", bound=Offer)


@dataclass(frozen=True)
class Outlook(Generic[Decision, OfferT]):
    """The decision as it stands, and what could be measured to move it, the best first."""

    decision: Decision
    is_decided: bool
    offers: Sequence[OfferT]


@dataclass(frozen=True)
class Decided(Generic[Decision]):
    """The decision, what was done for it, and why no more was."""

    pick: Decision
    done: tuple[Step, ...]
    budget_s: float
    spent_s: float
    stopped: Stop
    next_s: float | None = None  # what the next measurement would have taken, where time ran out


@dataclass(frozen=True)
class Measuring(Generic[Decision, OfferT]):
    """How to decide on what is stored, how to measure, and how to say what that changed."""

    decide: Callable[[], Outlook[Decision, OfferT]]
    measure: Callable[[OfferT], None]
    changes: Callable[[Decision, Decision], Sequence[str]] = lambda before, after: ()
    clock: Callable[[], float] = time.monotonic


def decide_by_measuring(
    measuring: Measuring[Decision, OfferT], budget_s: float
) -> Decided[Decision]:
    """Measure until it is decided, nothing could decide it, or the budget is spent.

    A measurement is begun only where it is likely to end within the budget, so that no more than
    one can exceed it. Ctrl-C ends it with what was measured by then.
    """
    start = measuring.clock()
    outlook = measuring.decide()
    steps: list[Step] = []
    stopped: Stop = "decided"
    next_s: float | None = None
    while not outlook.is_decided:
        left_s = budget_s - (measuring.clock() - start)
        offer = next((offer for offer in outlook.offers if _fits(offer, left_s)), None)
        if offer is None:
            stopped = "budget" if outlook.offers else "nothing"
            next_s = min((offer.takes_s for offer in outlook.offers), default=None)
            break
        begun = measuring.clock()
        is_interrupted = _interrupted(measuring, offer)
        before, outlook = outlook, measuring.decide()
        steps.append(
            Step(
                command=offer.command,
                expected_s=offer.takes_s,
                took_s=measuring.clock() - begun,
                changed=tuple(measuring.changes(before.decision, outlook.decision)),
            )
        )
        if is_interrupted:
            stopped = "interrupted"
            break
    spent_s = measuring.clock() - start
    return Decided(outlook.decision, tuple(steps), budget_s, spent_s, stopped, next_s)


def _fits(offer: Offer, left_s: float) -> bool:
    return left_s > 0 and offer.takes_s <= left_s * (GUESSES if offer.is_guess else 1)


def _interrupted(measuring: Measuring[Decision, OfferT], offer: OfferT) -> bool:
    """Measure; return whether Ctrl-C ended it."""
    try:
        measuring.measure(offer)
    except KeyboardInterrupt:
        return True
    return False

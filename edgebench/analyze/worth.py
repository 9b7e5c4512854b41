"""What to measure next: the open questions of a pick, by the decisions that a minute buys.

A question closes with some chance. One that turns out broken also spares its row's other questions,
and a row that turns out to hold everything spares those of the rows that can't be better. What that
is in questions, over the minutes it takes, is the order. Measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from edgebench.analyze.advice import Measure, command_of
from edgebench.analyze.compare import Group
from edgebench.analyze.decision import Next, Pick
from edgebench.analyze.names import names_of
from edgebench.analyze.rows import Row
from edgebench.analyze.weights import Objective
from edgebench.records.base import Estimate

UNKNOWN = 0.5  # the chance of what nobody knows
LIKELY = 0.9  # that the truth lies on the side of the limit on which the figure does
RACED = 0.5  # of a task's items are asked in a race, or about so many
LEAST_S = 0.1
MOST_LOOKS = 4  # at a case's launches: as they are stored, and after each of three measurements
LAST_SHARE = 0.9  # of a race's chance of error: it is to decide as the whole list would


@dataclass(frozen=True)
class Worth:
    """A measurement, what it closes and how long it takes."""

    measure: Measure
    command: str
    takes_s: float
    is_guess: bool
    questions: float  # that are expected to close

    @property
    def a_minute(self) -> float:
        """Return the decisions that a minute of it buys."""
        return self.questions / max(self.takes_s, LEAST_S) * 60

    @property
    def case(self) -> tuple[object, ...]:
        """Tell what is measured, however many launches of it are asked for."""
        measure = self.measure
        return measure.rows, measure.workload, measure.tasks, measure.tolerance


Guess = Callable[[Measure], float | None]  # about how long; None: it can't be measured from here


def worths(
    groups: Sequence[Group], decision: Pick, guess: Guess, spent: Container[object] = ()
) -> list[Worth]:
    """Return what could be measured, the most decisions a minute first.

    `guess` tells how long a measurement takes that was never made; `spent` holds the cases that
    were measured as often as is worth it.
    """
    rows = [row for group in groups for row in group.rows]
    study = _Study(rows, decision)
    told = [study.worth(measure, guess) for measure in study.measures()]
    told = [worth for worth in told if worth is not None and worth.case not in spent]
    return sorted((worth for worth in told if worth), key=lambda worth: -worth.a_minute)


class _Study:
    """A pick's open questions, by row."""

    def __init__(self, rows: Sequence[Row], decision: Pick) -> None:
        self.rows = {row.key: row for row in rows}
        self.names = names_of(rows)
        self.objective = Objective(weights=decision.weights)
        self.tasks = decision.tasks
        self.questions: dict[str, list[Next]] = {}
        for question in decision.measure_next:
            self.questions.setdefault(question.artifact, []).append(question)

    def measures(self) -> list[Measure]:
        """Return what the questions want measured; launches of one case are wanted once."""
        most: dict[tuple[object, ...], Measure] = {}
        for told in self.questions.values():
            for question in told:
                measure = question.advice.measure if question.advice else None
                if measure is None or not all(key in self.rows for key in measure.rows):
                    continue
                case = (measure.rows, measure.workload, measure.tasks, measure.tolerance)
                held = most.get(case)
                if held is None or (measure.launches or 0) > (held.launches or 0):
                    most[case] = measure
        return list(most.values())

    def worth(self, measure: Measure, guess: Guess) -> Worth | None:
        """Say what a measurement closes; None where it can't be made or is of no use."""
        known_s = self._takes_s(measure)
        guessed_s = guess(measure)
        if guessed_s is None:
            return None
        rows = [self.rows[key] for key in measure.rows]
        return Worth(
            measure=measure,
            command=command_of(measure, rows),
            takes_s=guessed_s if known_s is None else known_s,
            is_guess=known_s is None,
            questions=self._closes(measure),
        )

    def _closes(self, measure: Measure) -> float:
        """Return how many questions close with a measurement, as far as can be expected."""
        row = self.rows[measure.rows[0]]
        mine = self.questions.get(self.names[row.key], [])
        answered = [question for question in mine if _answers(measure, question)]
        chances = [_chance(question) for question in answered]
        holds, unbroken = 1.0, 1.0
        for question, chance in zip(answered, chances, strict=True):
            side = _holds_side(question)
            holds *= chance * side
            unbroken *= 1 - chance * (1 - side)
        others = len(mine) - len(answered)
        spared = (1 - unbroken) * others
        if others == 0:
            spared += holds * self._beaten(row)
        return sum(chances) + spared

    def _beaten(self, row: Row) -> int:
        """Count the questions of rows that aren't better than this one, as far as is known."""
        value = self.objective.value(row, self.tasks)
        if value is None:
            return 0
        beaten = 0
        for other in self.rows.values():
            theirs = self.objective.value(other, self.tasks)
            if other.key != row.key and theirs is not None and theirs <= value:
                beaten += len(self.questions.get(self.names[other.key], []))
        return beaten

    def _takes_s(self, measure: Measure) -> float | None:
        """Return how long a measurement takes by what the like of it took; None: nothing is."""
        row = self.rows[measure.rows[0]]
        if measure.workload:
            return self._launches_s(row, measure.launches or 1)
        return self._answers_s(row, measure)

    def _launches_s(self, row: Row, launches: int) -> float | None:
        now = len(row.speed.launches) if row.speed else 0
        if row.wall_s and now:
            return row.wall_s / now * max(1, launches - now)
        return None

    def _answers_s(self, row: Row, measure: Measure) -> float | None:
        """Return what answering takes by what it took the row nearest in size; None: no row."""
        seconds = 0.0
        for name in measure.tasks:
            told = [
                (abs(other.artifact.size_bytes - row.artifact.size_bytes), task.wall_s / task.n)
                for other in self.rows.values()
                if (task := other.task(name)) and task.n and task.wall_s
            ]
            sizes = [
                task.population or task.n for r in self.rows.values() if (task := r.task(name))
            ]
            if not told:
                return None
            seconds += min(told)[1] * max(sizes)
        raced = RACED if measure.tolerance is not None else 1.0
        missing = sum(
            any(self.rows[key].task(name) is None for name in measure.tasks) for key in measure.rows
        )
        return seconds * raced * max(1, missing)


def _answers(measure: Measure, question: Next) -> bool:
    mine = question.advice.measure if question.advice else None
    if mine is None or mine.rows[0] != measure.rows[0]:
        return False
    if measure.workload:
        return mine.workload == measure.workload
    return mine.tasks == measure.tasks


def _chance(question: Next) -> float:
    chance = question.advice.chance if question.advice else None
    return UNKNOWN if chance is None else chance


def _holds_side(question: Next) -> float:
    """Return how likely the truth is on the side of the limit where the constraint holds."""
    estimate: Estimate | None = question.estimate
    if estimate is None or question.limit is None:
        return UNKNOWN
    above = estimate.value >= question.limit
    holds = above if question.constraint.startswith("min") else not above
    return LIKELY if holds else 1 - LIKELY


def _open(decision: Pick) -> set[str]:
    """Name a decision's open questions, those of several tasks as one."""
    return {f"{question.artifact} {question.constraint}" for question in decision.measure_next}


def changes(before: Pick, after: Pick) -> list[str]:
    """Say in words what a measurement changed."""
    closed = sorted(_open(before) - _open(after))
    words = [f"closed: {', '.join(closed)}"] if closed else ["closed nothing"]
    rejected = {out.artifact for out in after.rejected} - {out.artifact for out in before.rejected}
    words += [f"rejected: {', '.join(sorted(rejected))}"] if rejected else []
    more = [name for name in after.satisfying if name not in before.satisfying]
    return words + ([f"satisfies everything: {', '.join(more)}"] if more else [])

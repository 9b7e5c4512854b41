"""Pick the artifact that satisfies the constraints and serves the objective best.

A level is named only where each constraint is shown to hold, and rejected where one is shown to be
broken or where what it should do failed. "Undecided" is an answer, with what to type next. Among
levels that can't be told apart the one that is better in what wasn't asked is taken, else the
smaller. How often each test may err is `stats/selection.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from edgebench.analyze.advice import Advice, advise, cannot_show, measure_speed, profile
from edgebench.analyze.choosing import (
    ASPECTS,
    Aspect,
    Objective,
    front,
    lead,
    reasons_to_prefer,
    value_of,
)
from edgebench.analyze.compare import Group
from edgebench.analyze.constraints import Check, Constraints, Name, Question, checks_of
from edgebench.analyze.divergences import standing_out
from edgebench.analyze.names import names_of
from edgebench.analyze.reasons import Chosen, reason_words
from edgebench.analyze.rows import Row
from edgebench.errors import UsageError, nearest
from edgebench.records.base import Estimate, Record, Told
from edgebench.stats.selection import Alphas, share_alpha

__all__ = ["Constraints", "Pick", "pick"]

SMALL_LEAD = 0.05  # of an open rival: too little to leave the question open for
ALIKE = 0.01  # a smaller lead counts for nothing, shown or not
# Speed and energy are measured in the very same launches.
_OF_LAUNCHES: tuple[Name, ...] = ("min-decode", "max-ttft", "max-energy")
SHARED: dict[Objective, tuple[Name, ...]] = {
    "decode": _OF_LAUNCHES,
    "energy": _OF_LAUNCHES,
    "memory": ("max-memory",),
    "accuracy": ("max-accuracy-loss",),
}


class Rejection(Record):
    """Why an artifact can't be taken."""

    artifact: Told
    constraint: Told
    estimate: Estimate | None = None
    limit: float | None = None
    about: Told = ""
    reason: Told = ""


class Next(Record):
    """A question that is open, and what to type so that it closes."""

    artifact: Told
    constraint: Told
    message: Told
    about: Told = ""
    estimate: Estimate | None = None
    limit: float | None = None
    advice: Advice | None = None


class Aside(Record):
    """An artifact that was not considered, and why."""

    artifact: Told
    reason: Told


class Pick(Record):
    """The decision, and why."""

    decision: Literal["picked", "none", "undecided"]
    artifact: Told | None
    sha256: Told | None
    objective: Told
    tasks: tuple[Told, ...]
    baseline: Told | None
    satisfying: tuple[Told, ...]
    pareto: tuple[Told, ...]
    rejected: tuple[Rejection, ...]
    measure_next: tuple[Next, ...]
    left_open: tuple[Next, ...]
    left_out: tuple[Aside, ...]
    reason: Told
    warnings: tuple[Told, ...]
    checks: dict[str, tuple[Check, ...]]


def pick(
    group: Group,
    constraints: Constraints,
    objective: Objective = "decode",
    tasks: Sequence[str] = (),
) -> Pick:
    """Judge the rows of a group; each of `tasks` is a constraint, all of them by default.

    Raises UsageError on a task that no row knows.
    """
    return _Judge(group, constraints, objective, _tasks(group, tasks)).decide(bool(tasks))


def _tasks(group: Group, named: Sequence[str]) -> tuple[str, ...]:
    failed = {failure.label for row in group.rows for failure in row.failures if failure.is_task}
    known = dict.fromkeys([*group.tasks, *sorted(failed)])
    for name in named:
        if name not in known:
            raise UsageError(
                f"no runs of task {name!r}", hint=nearest(name, known) if known else "--tasks"
            )
    return tuple(dict.fromkeys(named)) or group.tasks


class _Judge:
    """One pick: the rows, what is asked of them, and how each stands to it."""

    def __init__(
        self, group: Group, limits: Constraints, objective: Objective, tasks: tuple[str, ...]
    ) -> None:
        self.group, self.objective, self.tasks = group, objective, tasks
        self.names = names_of(group.rows)
        self.question = Question(
            limits=limits, tasks=tasks, texts=group.texts, shared=SHARED[objective]
        )
        wanted = group.workload is not None
        self.candidates = [row for row in group.rows if row.workload or not wanted]
        self.others = [row for row in group.rows if row not in self.candidates]
        self.checks: dict[str, list[Check]] = {}

    def decide(self, tasks_matter: bool) -> Pick:
        """Reject what failed or is shown to break a constraint, then take the best of the rest."""
        matter = tasks_matter or self.objective == "accuracy"
        matter = matter or self.question.limits.max_accuracy_loss is not None
        rejected = [out for row in self.candidates if (out := self._failed(row, tasks=matter))]
        failed = {rejection.artifact for rejection in rejected}
        running = [row for row in self.candidates if self.names[row.content] not in failed]
        self._judge(running)
        rejected += [
            self._rejection(row, check) for row in running for check in self._of(row, "broken")
        ]
        standing = [row for row in running if not self._of(row, "broken")]
        holding = [row for row in standing if not self._of(row, "open")]
        unmeasured = [row for row in holding if self._value(row) is None]
        chosen = self._best([row for row in holding if self._value(row) is not None])
        open_rows = [row for row in standing if self._of(row, "open")]
        blocking = [row for row in open_rows if self._would_change(row, chosen)]
        following = [question for row in blocking for question in self._nexts(row)]
        following += [self._unmeasured(row) for row in unmeasured]
        left = [
            question for row in open_rows if row not in blocking for question in self._nexts(row)
        ]
        return self._pick(chosen, rejected, following, left)

    def _pick(
        self,
        chosen: Chosen | None,
        rejected: Sequence[Rejection],
        following: Sequence[Next],
        left: Sequence[Next],
    ) -> Pick:
        best = chosen.best if chosen and not following else None
        satisfying = [chosen.best, *chosen.holding] if chosen else []
        return Pick(
            decision="undecided" if following else ("picked" if best else "none"),
            artifact=self.names[best.content] if best else None,
            sha256=best.artifact.sha256 if best else None,
            objective=self.objective,
            tasks=self.tasks,
            baseline=self.group.baseline.level if self.group.baseline else None,
            satisfying=tuple(
                self.names[row.content] for row in self.candidates if row in satisfying
            ),
            pareto=tuple(self.names[row.content] for row in self._front()),
            rejected=tuple(rejected),
            measure_next=tuple(following),
            left_open=tuple(left),
            left_out=tuple(
                Aside(artifact=self.names[row.content], reason=self._why_not(row))
                for row in self.others
            ),
            reason=reason_words(chosen, self.objective, self.tasks, self.names, bool(following)),
            warnings=tuple(self._warnings(best)),
            checks={self.names[key]: tuple(told) for key, told in self.checks.items()},
        )

    # constraints

    def _failed(self, row: Row, *, tasks: bool) -> Rejection | None:
        """Return why a row is out: its workload failed, or a task that matters."""
        labels = {row.workload.name} if row.workload else set()
        if tasks:
            labels |= set(self.tasks)
        failure = next((failure for failure in row.failures if failure.label in labels), None)
        if failure is None:
            return None
        return Rejection(
            artifact=self.names[row.content], constraint=failure.label, reason=failure.words
        )

    def _judge(self, rows: Sequence[Row]) -> None:
        """Check every row: first what is broken, then what holds, as strictly as contenders ask."""
        first = share_alpha(len(rows), self.question.count)
        checks = {row.content: checks_of(row, self.question, first) for row in rows}
        contenders = [
            row for row in rows if all(check.verdict != "broken" for check in checks[row.content])
        ]
        shared = share_alpha(len(contenders), self.question.count)
        # One of several that can't be told apart is taken for other reasons than the objective.
        alike = max((self._alike_to(row, contenders) for row in contenders), default=1)
        strict = Alphas(
            holds=shared.holds / alike, holds_shared=shared.holds_shared, broken=shared.broken
        )
        self.checks = {row.content: checks_of(row, self.question, strict) for row in rows}

    def _alike_to(self, row: Row, rows: Sequence[Row]) -> int:
        return sum(self._is_alike(other, row, SMALL_LEAD) for other in rows)

    def _is_alike(self, row: Row, other: Row, least: float = ALIKE) -> bool:
        if row is other:
            return True
        standing = lead(self.objective, row, other, self.tasks)
        return standing is not None and (not standing.is_shown or abs(standing.by) <= least)

    def _of(self, row: Row, verdict: str) -> list[Check]:
        return [check for check in self.checks.get(row.content, []) if check.verdict == verdict]

    def _rejection(self, row: Row, check: Check) -> Rejection:
        return Rejection(
            artifact=self.names[row.content],
            constraint=check.constraint,
            estimate=check.estimate,
            limit=check.limit,
            about=check.about,
            reason=check.reason,
        )

    # the objective

    def _value(self, row: Row) -> float | None:
        return value_of(self.objective, row, self.tasks)

    def _best(self, holding: Sequence[Row]) -> Chosen | None:
        if not holding:
            return None
        top = max(holding, key=lambda row: self._value(row) or 0.0)
        alike = [row for row in holding if self._is_alike(row, top)]
        aspects = [aspect for aspect in ASPECTS if aspect != self.objective]
        left = [
            row
            for row in alike
            if not any(
                reasons_to_prefer(other, row, self.tasks, aspects)
                for other in alike
                if other is not row
            )
        ]
        best = min(left or alike, key=self._smaller)
        peers = [row for row in alike if row is not best]
        return Chosen(best, top, peers, [row for row in holding if row is not best])

    def _smaller(self, row: Row) -> tuple[float, float, str]:
        memory = value_of("memory", row, self.tasks)
        value = self._value(row) or 0.0
        return row.artifact.size_bytes if memory is None else -memory, -value, row.artifact.name

    def _would_change(self, row: Row, chosen: Chosen | None) -> bool:
        """Return whether the pick could be another one if an open row turned out to hold."""
        if chosen is None or self._value(row) is None:
            return True
        standing = lead(self.objective, row, chosen.best, self.tasks)
        if standing is None:
            return True
        return not standing.is_worse and standing.by > SMALL_LEAD

    def _front(self) -> list[Row]:
        told: list[Aspect] = ["decode", "memory", "energy", "accuracy", "divergence"]
        timed = self.group.workload is not None
        good = [row for row in self.candidates if (row.speed if timed else row.is_good)]
        return front(good, self.tasks, told)

    # words

    def _nexts(self, row: Row) -> list[Next]:
        return [self._next(row, check) for check in self._of(row, "open")]

    def _next(self, row: Row, check: Check) -> Next:
        message, advice = advise(row, check, self._baseline_row())
        task = row.task(check.about)
        if task and check.estimate and check.estimate.value >= 0:
            beforehand = cannot_show(task, check.limit)
            message += f"; {beforehand}" if beforehand else ""
        return Next(
            artifact=self.names[row.content],
            constraint=check.constraint,
            message=message,
            about=check.about,
            estimate=check.estimate,
            limit=check.limit,
            advice=advice,
        )

    def _baseline_row(self) -> Row | None:
        baseline = self.group.baseline
        rows = self.group.rows
        return next((row for row in rows if baseline and row.content == baseline.content), None)

    def _unmeasured(self, row: Row) -> Next:
        message, advice = f"{self.objective} was not measured", None
        if self.objective == "energy":
            message = row.energy_reason or message
        elif self.objective == "accuracy":
            missing = [name for name in self.tasks if not row.task(name)] or ["basics"]
            message = f"{', '.join(missing)} was not measured"
            command = profile([row], workload="none", tasks=",".join(missing))
            advice = Advice(command=command)
        else:
            advice = measure_speed(row)
        return Next(
            artifact=self.names[row.content],
            constraint=f"objective {self.objective}",
            message=message,
            advice=advice,
        )

    def _why_not(self, row: Row) -> str:
        workload = self.group.workload
        return f"its speed was not measured at {workload.name}" if workload else "not measured"

    def _warnings(self, best: Row | None) -> list[str]:
        strays = standing_out(self.group.rows)
        told = [f"{best.level}: {text}" for text in best.warnings] if best else []
        if best:
            strays = [words for words in strays if words.startswith(f"{best.level} ")]
        energy = best.energy if best else None
        asked = self.objective == "energy" or self.question.limits.max_energy_j is not None
        if energy and energy.kind == "estimated" and asked:
            told.append(f"energy is your own figure ({energy.source}), not a measurement")
        return told + strays

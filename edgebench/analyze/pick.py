"""Pick the artifact that satisfies the constraints and serves the objective best.

A level is named only where each constraint is shown to hold, and rejected where one is shown to be
broken or where what it should do failed. "Undecided" is an answer, with what to type next. Among
levels that can't be told apart the one that is better in what wasn't asked is taken, else the
smaller. How often each test may err is `stats/selection.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.analyze.advice import advise, answers_of_all, cannot_show, measure_speed
from edgebench.analyze.choosing import Aspect, Lead, front, reasons_to_prefer, value_of
from edgebench.analyze.compare import Group
from edgebench.analyze.constraints import (
    OF_LAUNCHES,
    Check,
    Constraints,
    Name,
    Question,
    checks_of,
)
from edgebench.analyze.decision import Aside, Next, Pick, Rejection
from edgebench.analyze.divergences import standing_out
from edgebench.analyze.losers import Standing, losers_of, winner_of
from edgebench.analyze.names import names_of
from edgebench.analyze.reasons import Chosen, reason_words
from edgebench.analyze.rows import Row
from edgebench.analyze.weights import Objective
from edgebench.errors import UsageError, nearest
from edgebench.stats.selection import ALPHA, Alphas, Risk, share_alpha

__all__ = ["Constraints", "Next", "Pick", "Rejection", "pick"]

SMALL_LEAD = 0.05  # of an open rival: too little to leave the question open for
REPEATED: tuple[Name, ...] = (*OF_LAUNCHES, "max-energy")  # are tested again as launches are added
ALIKE = 0.01  # a smaller lead counts for nothing, shown or not


def pick(
    groups: Sequence[Group],
    constraints: Constraints,
    objective: Objective | str = "decode",
    tasks: Sequence[str] = (),
    alpha: float = ALPHA,
    looks: int = 1,
) -> Pick:
    """Judge the rows of groups, one a device; each of `tasks` is a constraint, all by default.

    `objective` is a respect, or several with weights: `decode=2,energy=1`. `alpha` is how often
    the pick may be wrong. Raises UsageError on a task that no row knows and on an objective that
    is none.
    """
    weighed = Objective.read(objective) if isinstance(objective, str) else objective
    chosen = _tasks(groups, tasks, list(constraints.min_accuracy))
    return _Judge(groups, constraints, weighed, chosen, Risk(alpha, looks)).decide(bool(tasks))


def _tasks(
    groups: Sequence[Group], named: Sequence[str], limited: Sequence[str]
) -> tuple[str, ...]:
    """Return the tasks that were named, else all; refuse names, also of limits, that none has."""
    rows = [row for group in groups for row in group.rows]
    failed = {failure.label for row in rows for failure in row.failures if failure.is_task}
    told = [task for group in groups for task in group.tasks]
    known = dict.fromkeys([*told, *sorted(failed)])
    for name in [*named, *limited]:
        if name not in known:
            raise UsageError(
                f"no runs of task {name!r}", hint=nearest(name, known) if known else "--tasks"
            )
    return tuple(dict.fromkeys(named)) or tuple(dict.fromkeys(told))


class _Judge:
    """One pick: the rows, what is asked of them, and how each stands to it."""

    def __init__(
        self,
        groups: Sequence[Group],
        limits: Constraints,
        objective: Objective,
        tasks: tuple[str, ...],
        risk: Risk,
    ) -> None:
        self.groups, self.objective, self.tasks, self.risk = groups, objective, tasks, risk
        self.strict = share_alpha(1, 1, risk.alpha)
        self.rows = [row for group in groups for row in group.rows]
        self.names = names_of(self.rows)
        texts = tuple(dict.fromkeys(text for group in groups for text in group.texts))
        self.question = Question(limits=limits, tasks=tasks, texts=texts, shared=objective.shared)
        self.timed = any(group.workload for group in groups)
        self.candidates = [row for row in self.rows if row.workload or not self.timed]
        self.others = [row for row in self.rows if row not in self.candidates]
        self.checks: dict[str, list[Check]] = {}
        self._leads: dict[tuple[str, str], Lead | None] = {}

    def decide(self, tasks_matter: bool) -> Pick:
        """Reject what failed or is shown to break a constraint, then take the best of the rest."""
        matter = tasks_matter or "accuracy" in self.objective.weights
        matter = matter or self.question.limits.max_accuracy_loss is not None
        rejected = [out for row in self.candidates if (out := self._failed(row, tasks=matter))]
        failed = {rejection.artifact for rejection in rejected}
        running = [row for row in self.candidates if self.names[row.key] not in failed]
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
        following += self._incomparable(holding, chosen)
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
        leading = Standing(
            best=chosen.best if chosen else None,
            objective=self.objective,
            tasks=self.tasks,
            names=self.names,
            checks=self.checks,
        )
        satisfying = [chosen.best, *chosen.holding] if chosen else []
        return Pick(
            decision="undecided" if following else ("picked" if best else "none"),
            artifact=self.names[best.key] if best else None,
            sha256=best.artifact.sha256 if best else None,
            winner=winner_of(best, self.names[best.key], self.tasks) if best else None,
            objective=self.objective.name,
            weights=self.objective.weights,
            tasks=self.tasks,
            baseline=next((group.baseline_name or None for group in self.groups), None),
            satisfying=tuple(self.names[row.key] for row in self.candidates if row in satisfying),
            pareto=tuple(self.names[row.key] for row in self._front()),
            losers=losers_of(self.rows, leading, rejected),
            rejected=tuple(rejected),
            measure_next=tuple(following),
            left_open=tuple(left),
            left_out=tuple(
                Aside(artifact=self.names[row.key], reason=self._why_not(row))
                for row in self.others
            ),
            reason=reason_words(chosen, leading, bool(following)),
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
            artifact=self.names[row.key], constraint=failure.label, reason=failure.words
        )

    def _judge(self, rows: Sequence[Row]) -> None:
        """Check every row: first what is broken, then what holds, as strictly as contenders ask."""
        checks = {row.key: checks_of(row, self.question) for row in rows}
        first = share_alpha(len(rows), self.question.count, self.risk.alpha)
        contenders = [
            row
            for row in rows
            if all(check.verdict != "broken" for check in self._judged(checks[row.key], first))
        ]
        shared = share_alpha(len(contenders), self.question.count, self.risk.alpha)
        # One of several that can't be told apart is taken for other reasons than the objective.
        alike = max((self._alike_to(row, contenders) for row in self._near(contenders)), default=1)
        self.strict = Alphas(
            holds=shared.holds / alike, holds_shared=shared.holds_shared, broken=shared.broken
        )
        self.checks = {key: self._judged(told, self.strict) for key, told in checks.items()}

    def _judged(self, checks: Sequence[Check], alphas: Alphas) -> list[Check]:
        once = alphas.each_of(self.risk.looks)
        return [
            check.judged(once if check.constraint in REPEATED else alphas, self.question.shared)
            for check in checks
        ]

    def _near(self, contenders: Sequence[Row]) -> list[Row]:
        """Return the best contender and those alike: others are not taken while it isn't out.

        Where the best stays open and leads what holds by more than a little, nothing is picked.
        """
        valued = [row for row in contenders if self._value(row) is not None]
        best = max(valued, key=lambda row: self._value(row) or 0.0, default=None)
        return [row for row in valued if best and self._is_alike(row, best, SMALL_LEAD)]

    def _alike_to(self, row: Row, rows: Sequence[Row]) -> int:
        return sum(self._is_alike(other, row, SMALL_LEAD) for other in rows)

    def _is_alike(self, row: Row, other: Row, least: float = ALIKE) -> bool:
        if row is other:
            return True
        standing = self._lead(row, other)
        return standing is not None and (not standing.is_shown or abs(standing.by) <= least)

    def _of(self, row: Row, verdict: str) -> list[Check]:
        return [check for check in self.checks.get(row.key, []) if check.verdict == verdict]

    def _rejection(self, row: Row, check: Check) -> Rejection:
        return Rejection(
            artifact=self.names[row.key],
            constraint=check.constraint,
            estimate=check.estimate,
            limit=check.limit,
            about=check.about,
            reason=check.reason,
        )

    # the objective

    def _value(self, row: Row) -> float | None:
        return self.objective.value(row, self.tasks)

    def _lead(self, row: Row, other: Row) -> Lead | None:
        pair = (row.key, other.key)
        if pair not in self._leads:
            self._leads[pair] = self.objective.lead(row, other, self.tasks)
        return self._leads[pair]

    def _best(self, holding: Sequence[Row]) -> Chosen | None:
        if not holding:
            return None
        top = max(holding, key=lambda row: self._value(row) or 0.0)
        alike = [row for row in holding if self._is_alike(row, top)]
        aspects = self.objective.left
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
        standing = self._lead(row, chosen.best)
        if standing is None:
            return True
        return not standing.is_worse and standing.by > SMALL_LEAD

    def _front(self) -> list[Row]:
        told: list[Aspect] = ["decode", "memory", "energy", "accuracy", "divergence"]
        good = [row for row in self.candidates if (row.speed if self.timed else row.is_good)]
        return front(good, self.tasks, told)

    # words

    def _nexts(self, row: Row) -> list[Next]:
        return [self._next(row, check) for check in self._of(row, "open")]

    def _next(self, row: Row, check: Check) -> Next:
        message, advice = advise(row, check, self._baseline_row(row), self._alpha_of(check))
        task = row.task(check.about)
        if task and check.estimate and check.estimate.value >= 0:
            beforehand = cannot_show(task, check.limit)
            message += f"; {beforehand}" if beforehand else ""
        return Next(
            artifact=self.names[row.key],
            constraint=check.constraint,
            message=message,
            about=check.about,
            estimate=check.estimate,
            limit=check.limit,
            advice=advice,
        )

    def _alpha_of(self, check: Check) -> float:
        """Return how often the test that is to close a check may err, whichever way it closes."""
        alphas = self.strict
        if check.constraint in REPEATED:
            alphas = alphas.each_of(self.risk.looks)
        is_shared = check.constraint in self.question.shared
        return min(alphas.broken, alphas.holds_shared if is_shared else alphas.holds)

    def _baseline_row(self, row: Row) -> Row | None:
        return next(
            (
                other
                for other in self.rows
                if other.machine == row.machine
                and other.is_baseline
                and other.artifact.name == row.baseline
            ),
            None,
        )

    def _unmeasured(self, row: Row) -> Next:
        aspect = next(it for it in self.objective.weights if self._lacks(row, it))
        message, advice = f"{aspect} was not measured", None
        if aspect == "energy":
            message = row.energy_reason or message
        elif aspect == "accuracy":
            missing = [name for name in self.tasks if not row.task(name)] or ["basics"]
            message = f"{', '.join(missing)} was not measured"
            advice = answers_of_all([row], missing)
        else:
            advice = measure_speed(row)
        return Next(
            artifact=self.names[row.key],
            constraint=f"objective {aspect}",
            message=message,
            advice=advice,
        )

    def _lacks(self, row: Row, aspect: Aspect) -> bool:
        return value_of(aspect, row, self.tasks) is None

    def _incomparable(self, holding: Sequence[Row], chosen: Chosen | None) -> list[Next]:
        """Return the rows whose figure is of another kind than the best one's."""
        if chosen is None:
            return []
        top = self.names[chosen.top.key]
        return [
            Next(
                artifact=self.names[row.key],
                constraint=f"objective {self.objective.name}",
                message=f"can't be held against {top}: {_unlike(row, chosen)}",
            )
            for row in holding
            if self._value(row) is not None
            and row is not chosen.top
            and self._lead(row, chosen.top) is None
        ]

    def _why_not(self, row: Row) -> str:
        workload = next((group.workload for group in self.groups if group.workload), None)
        return f"its speed was not measured at {workload.name}" if workload else "not measured"

    def _warnings(self, best: Row | None) -> list[str]:
        strays = standing_out(self.rows)
        told = [f"{best.level}: {text}" for text in best.warnings] if best else []
        if best:
            strays = [words for words in strays if words.startswith(f"{best.level} ")]
        energy = best.energy if best else None
        asked = "energy" in self.objective.weights or self.question.limits.max_energy_j is not None
        if energy and energy.kind == "estimated" and asked:
            told.append(f"energy is your own figure ({energy.source}), not a measurement")
        return told + strays


def _unlike(row: Row, chosen: Chosen) -> str:
    mine, theirs = row.energy, chosen.top.energy
    if mine and theirs and mine.source != theirs.source:
        return f"energy by {mine.source} there and by {theirs.source} here; pick for each device"
    return "they have no figure of the same kind"

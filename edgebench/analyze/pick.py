"""Pick the artifact that satisfies the constraints and serves the objective best.

A constraint holds where its interval's bound holds, is broken where the other bound breaks it,
and is open in between: "undecided" is an answer, with what to measure next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from edgebench.analyze.rows import Row, TaskFigures
from edgebench.records.base import Estimate, Record, Text
from edgebench.stats.estimates import items_to_decide, paired_difference

Objective = Literal["decode", "energy", "memory", "accuracy"]
Verdict = Literal["holds", "broken", "open"]


class Constraints(Record):
    """Limits in SI units; None where there is none. Loss is a share of items, 0.01 for 1 %."""

    max_memory_bytes: float | None = None
    min_decode_tokens_per_s: float | None = None
    max_ttft_s: float | None = None
    max_energy_j: float | None = None
    max_accuracy_loss: float | None = None


class Rejection(Record):
    """Why an artifact can't be taken."""

    artifact: Text
    constraint: Text
    estimate: Estimate | None
    limit: float


class Next(Record):
    """What to measure so that the question closes."""

    artifact: Text
    constraint: Text
    message: Text
    estimate: Estimate | None = None
    limit: float | None = None


class Pick(Record):
    """The decision, and why."""

    decision: Literal["picked", "none", "undecided"]
    artifact: Text | None
    objective: Text
    satisfying: tuple[Text, ...]
    pareto: tuple[Text, ...]
    rejected: tuple[Rejection, ...]
    measure_next: tuple[Next, ...]
    reason: Text


class _Check(Record):
    constraint: Text
    verdict: Verdict
    estimate: Estimate | None
    limit: float
    missing: Text = ""


def pick(rows: Sequence[Row], constraints: Constraints, objective: Objective) -> Pick:
    """Judge rows of one device, set-up and workload, already compared with their baseline."""
    checks = {row.artifact: _checks(row, constraints) for row in rows}
    rejected = [
        Rejection(artifact=name, constraint=one.constraint, estimate=one.estimate, limit=one.limit)
        for name, found in checks.items()
        for one in found
        if one.verdict == "broken"
    ]
    out = {one.artifact for one in rejected}
    standing = [row for row in rows if row.artifact not in out]
    holding = [
        row for row in standing if all(one.verdict == "holds" for one in checks[row.artifact])
    ]
    unmeasured = [row for row in holding if _objective(row, objective) is None]
    holding = [row for row in holding if _objective(row, objective) is not None]
    best, peers = _best(holding, objective)
    rivals = [
        row
        for row in standing
        if row not in holding and row not in unmeasured and _could_beat(row, best, objective)
    ]
    following = [
        _next(row, one) for row in rivals for one in checks[row.artifact] if one.verdict == "open"
    ]
    following += [_unmeasured(row, objective) for row in unmeasured]
    return Pick(
        decision="undecided" if following else ("picked" if best else "none"),
        artifact=best.artifact if best and not following else None,
        objective=objective,
        satisfying=tuple(row.artifact for row in holding),
        pareto=tuple(row.artifact for row in _pareto(rows)),
        rejected=tuple(rejected),
        measure_next=tuple(following),
        reason=_reason(best, peers, following, objective),
    )


# constraints


def _checks(row: Row, limits: Constraints) -> list[_Check]:
    memory = _exact(row.peak_rss_bytes)
    checks = [
        _upper("max-memory", memory, limits.max_memory_bytes, "memory was not measured"),
        _lower("min-decode", row.decode, limits.min_decode_tokens_per_s),
        _upper("max-ttft", row.ttft_s, limits.max_ttft_s, "no time to first token"),
        _upper(
            "max-energy",
            row.energy_j_per_token,
            limits.max_energy_j,
            row.energy_reason or "energy was not measured",
        ),
        *_loss_checks(row, limits.max_accuracy_loss),
    ]
    return [one for one in checks if one is not None]


def _upper(name: str, value: Estimate | None, limit: float | None, missing: str) -> _Check | None:
    if limit is None:
        return None
    if value is None:
        return _Check(constraint=name, verdict="open", estimate=None, limit=limit, missing=missing)
    verdict: Verdict = "open"
    if value.high <= limit:
        verdict = "holds"
    elif value.low > limit:
        verdict = "broken"
    return _Check(constraint=name, verdict=verdict, estimate=value, limit=limit)


def _lower(name: str, value: Estimate | None, limit: float | None) -> _Check | None:
    if limit is None:
        return None
    if value is None:
        missing = "speed was not measured"
        return _Check(constraint=name, verdict="open", estimate=None, limit=limit, missing=missing)
    verdict: Verdict = "open"
    if value.low >= limit:
        verdict = "holds"
    elif value.high < limit:
        verdict = "broken"
    return _Check(constraint=name, verdict=verdict, estimate=value, limit=limit)


def _loss_checks(row: Row, limit: float | None) -> list[_Check | None]:
    if limit is None:
        return []
    if not row.tasks:
        return [_upper("max-accuracy-loss", None, limit, "accuracy was not measured")]
    return [
        _upper("max-accuracy-loss", _loss(task), limit, task.why_no_difference or "")
        for task in row.tasks
        # The baseline has no difference from itself, and no loss.
        if task.difference is not None or task.why_no_difference
    ]


def _loss(task: TaskFigures) -> Estimate | None:
    difference = task.difference
    if difference is None:
        return None
    return difference.model_copy(
        update={"value": -difference.value, "low": -difference.high, "high": -difference.low}
    )


def _exact(value: float | None) -> Estimate | None:
    if value is None:
        return None
    return Estimate(value=value, low=value, high=value, n=1, method="one reading")


# objectives: every one as an estimate of which more is better


def _objective(row: Row, objective: Objective) -> Estimate | None:
    if objective == "decode":
        return row.decode
    if objective == "accuracy":
        return row.tasks[0].accuracy if row.tasks else None
    if objective == "energy":
        return _negative(row.energy_j_per_token)
    return _negative(_exact(row.peak_rss_bytes))


def _negative(value: Estimate | None) -> Estimate | None:
    if value is None:
        return None
    return value.model_copy(update={"value": -value.value, "low": -value.high, "high": -value.low})


def _best(rows: Sequence[Row], objective: Objective) -> tuple[Row | None, list[Row]]:
    """Take the best, and those that can't be told from it.

    Of all of them the most accurate comes first, then the smallest.
    """
    if not rows:
        return None, []
    top = max(rows, key=lambda row: _value(row, objective))
    alike = [row for row in rows if _alike(row, top, objective)]
    best = max(alike, key=lambda row: (_accuracy(row), -row.size_bytes))
    return best, [row for row in alike if row is not best]


def _alike(row: Row, top: Row, objective: Objective) -> bool:
    """Return whether a row can't be told from the best: intervals meet, or a paired one holds 0."""
    if row is top:
        return True
    if objective == "accuracy" and row.tasks and top.tasks:
        mine, best = row.tasks[0], top.tasks[0]
        if [item.id for item in mine.items] == [item.id for item in best.items] and mine.items:
            difference = paired_difference(
                [item.correct for item in best.items], [item.correct for item in mine.items]
            )
            return difference.low <= 0
    return _high(row, objective) >= _low(top, objective)


def _could_beat(row: Row, best: Row | None, objective: Objective) -> bool:
    return (
        best is None
        or _objective(row, objective) is None
        or (_high(row, objective) > _value(best, objective))
    )


def _value(row: Row, objective: Objective) -> float:
    found = _objective(row, objective)
    return found.value if found else float("-inf")


def _low(row: Row, objective: Objective) -> float:
    found = _objective(row, objective)
    return found.low if found else float("-inf")


def _high(row: Row, objective: Objective) -> float:
    found = _objective(row, objective)
    return found.high if found else float("-inf")


def _accuracy(row: Row) -> float:
    return row.tasks[0].accuracy.value if row.tasks else 0.0


def _pareto(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that no other beats in decode, memory, energy and accuracy at once."""
    views: list[Callable[[Row], float]] = [
        lambda row: _value(row, "decode"),
        lambda row: _value(row, "memory"),
        lambda row: _value(row, "energy"),
        _accuracy,
    ]
    points = {row.artifact: tuple(view(row) for view in views) for row in rows if row.decode}

    def beaten(mine: tuple[float, ...]) -> bool:
        return any(
            other != mine and all(a >= b for a, b in zip(other, mine, strict=True))
            for other in points.values()
        )

    return [row for row in rows if row.artifact in points and not beaten(points[row.artifact])]


# words


def _next(row: Row, check: _Check) -> Next:
    if check.estimate is None:
        message = check.missing
    elif check.constraint == "max-accuracy-loss":
        needed = items_to_decide(check.estimate, check.limit)
        message = (
            f"about {needed} items in all would decide, {check.estimate.n} were answered"
            if needed
            else "the loss sits on the limit; no number of items would decide"
        )
    else:
        message = "measure again with more --repetitions"
    return Next(
        artifact=row.artifact,
        constraint=check.constraint,
        message=message,
        estimate=check.estimate,
        limit=check.limit,
    )


def _unmeasured(row: Row, objective: Objective) -> Next:
    why = row.energy_reason if objective == "energy" else None
    return Next(
        artifact=row.artifact,
        constraint=f"objective {objective}",
        message=why or "; ".join(row.failures) or f"{objective} was not measured",
    )


def _reason(
    best: Row | None, peers: Sequence[Row], following: Sequence[Next], objective: Objective
) -> str:
    if not best:
        return "no artifact is known to satisfy every constraint"
    words = f"{best.artifact} has the best {objective} of those that satisfy every constraint"
    if peers:
        names = ", ".join(row.artifact for row in peers)
        known = best.tasks and any(row.tasks for row in peers)
        why = "it is the more accurate" if known else "it is the smaller"
        words += f"; {names} can't be told from it there, {why}"
    if following:
        words += "; others may be better still, but the evidence does not decide"
    return words

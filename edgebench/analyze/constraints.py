"""What a deployment asks for, and whether a row is shown to hold or to break it.

A speed is judged by its launches, never by fewer than five; an accuracy by its items; memory by
what was seen of it. Each test may err as often as the pick tells it. Knows no other rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from edgebench.analyze.divergences import divergence_at
from edgebench.analyze.pairs import answers_of
from edgebench.analyze.rows import Row, TaskFigures
from edgebench.records.base import Estimate, Record, Told
from edgebench.stats.launches import LEAST_FOR_BOUND, p_above, p_below
from edgebench.stats.loss import loses_at_most
from edgebench.stats.selection import Alphas

Verdict = Literal["holds", "broken", "open"]
Name = Literal[
    "max-memory", "min-decode", "max-ttft", "max-energy", "max-accuracy-loss", "max-divergence"
]


class Constraints(Record):
    """Limits in SI units; None where there is none. Loss is a share of items, 0.01 for 1 %."""

    max_memory_bytes: float | None = None
    min_decode_tokens_per_s: float | None = None
    max_ttft_s: float | None = None
    max_energy_j: float | None = None
    max_accuracy_loss: float | None = None
    max_divergence: float | None = Field(default=None, description="nats a token")


class Check(Record):
    """Whether a row holds a constraint; open where that is not shown either way."""

    constraint: Name
    verdict: Verdict
    limit: float
    estimate: Estimate | None = None
    about: Told = Field(default="", description="the task or text")
    reason: Told = Field(default="", description="why it is open or broken, but for the figure")


class Question(Record):
    """What a pick asks of each row, and how often a test may err."""

    limits: Constraints
    tasks: tuple[Told, ...]
    texts: tuple[Told, ...]
    shared: tuple[Name, ...] = Field(
        description="the constraints on the objective's own measurements"
    )

    @property
    def count(self) -> int:
        """Return how many constraints each row is held against, a task each."""
        given = self.limits.model_dump(exclude={"max_accuracy_loss", "max_divergence"})
        losses = max(1, len(self.tasks)) if self.limits.max_accuracy_loss is not None else 0
        far = max(1, len(self.texts)) if self.limits.max_divergence is not None else 0
        return sum(limit is not None for limit in given.values()) + losses + far


def checks_of(row: Row, question: Question, alphas: Alphas) -> list[Check]:
    """Return a check for each constraint."""
    limits = question.limits

    def alpha(name: Name) -> float:
        return alphas.holds_shared if name in question.shared else alphas.holds

    checks: list[Check] = []
    if limits.max_memory_bytes is not None:
        checks.append(_memory(row, limits.max_memory_bytes))
    if limits.min_decode_tokens_per_s is not None:
        launches = row.speed.decodes if row.speed else []
        checks.append(
            _speed(
                row,
                "min-decode",
                launches,
                limits.min_decode_tokens_per_s,
                (alpha("min-decode"), alphas.broken),
            )
        )
    if limits.max_ttft_s is not None:
        launches = row.speed.first_tokens_s if row.speed else []
        checks.append(
            _speed(row, "max-ttft", launches, limits.max_ttft_s, (alpha("max-ttft"), alphas.broken))
        )
    if limits.max_energy_j is not None:
        checks.append(_energy(row, limits.max_energy_j))
    if limits.max_accuracy_loss is not None:
        tests = (alpha("max-accuracy-loss"), alphas.broken)
        checks += _losses(row, question.tasks, limits.max_accuracy_loss, tests)
    if limits.max_divergence is not None:
        checks += _divergences(row, question.texts, limits.max_divergence)
    return checks


def _memory(row: Row, limit: float) -> Check:
    memory = row.memory
    if memory is None:
        return _open("max-memory", limit, "memory was not measured")
    seen = Estimate(value=memory.at_least_bytes, n=memory.n, method="largest of the launches")
    if memory.at_least_bytes > limit:
        return Check(constraint="max-memory", verdict="broken", limit=limit, estimate=seen)
    if memory.reason:
        return _open("max-memory", limit, memory.reason)
    return Check(constraint="max-memory", verdict="holds", limit=limit, estimate=seen)


def _speed(
    row: Row, name: Name, launches: Sequence[float], limit: float, alphas: tuple[float, float]
) -> Check:
    """Judge launches against a limit; `alphas` are those of holding and of breaking it."""
    if not row.speed:
        return _open(name, limit, "speed was not measured")
    estimate = row.speed.decode if name == "min-decode" else row.speed.ttft_s
    if len(launches) < LEAST_FOR_BOUND:
        few = "1 launch tells" if len(launches) == 1 else f"{len(launches)} launches tell"
        return _open(name, limit, f"{few} too little, five decide", estimate)
    above, below = p_above(launches, limit), p_below(launches, limit)
    p_holds, p_breaks = (above, below) if name == "min-decode" else (below, above)
    verdict = _verdict(p_holds, p_breaks, alphas)
    if verdict == "broken" and row.throttled:
        return _open(name, limit, "the machine throttled itself; let it cool", estimate)
    return Check(constraint=name, verdict=verdict, limit=limit, estimate=estimate)


def _verdict(p_holds: float | None, p_breaks: float | None, alphas: tuple[float, float]) -> Verdict:
    if p_holds is not None and p_holds <= alphas[0]:
        return "holds"
    return "broken" if p_breaks is not None and p_breaks <= alphas[1] else "open"


def _energy(row: Row, limit: float) -> Check:
    energy = row.energy
    if energy is None:
        return _open("max-energy", limit, row.energy_reason or "energy was not measured")
    check = _by_interval("max-energy", energy.j_per_token, limit)
    if energy.kind == "estimated":
        return check.model_copy(update={"reason": f"by the watts you stated ({energy.source})"})
    return check


def _by_interval(name: Name, estimate: Estimate, limit: float, about: str = "") -> Check:
    """Judge a figure that must not exceed a limit by its interval's ends."""
    verdict: Verdict = "open"
    reason = "" if estimate.bounds else "no interval is known"
    if estimate.bounds and estimate.bounds.high <= limit:
        verdict = "holds"
    elif estimate.bounds and estimate.bounds.low > limit:
        verdict = "broken"
    return Check(
        constraint=name, verdict=verdict, limit=limit, estimate=estimate, about=about, reason=reason
    )


def _losses(
    row: Row, tasks: Sequence[str], limit: float, alphas: tuple[float, float]
) -> list[Check]:
    if not tasks:
        return [_open("max-accuracy-loss", limit, "accuracy was not measured")]
    return [_loss(row, name, limit, alphas) for name in tasks]


def _loss(row: Row, name: str, limit: float, alphas: tuple[float, float]) -> Check:
    task, failure = row.task(name), row.failure(name)
    if failure and failure.is_task:
        return Check(
            constraint="max-accuracy-loss",
            verdict="broken",
            limit=limit,
            about=name,
            reason=failure.words,
        )
    if task is None:
        return _open("max-accuracy-loss", limit, f"{name} was not measured", about=name)
    if task.why_no_difference:
        return _open("max-accuracy-loss", limit, task.why_no_difference, about=name)
    if task.difference is None:  # it is the baseline itself
        exact = Estimate(value=0.0, low=0.0, high=0.0, n=task.n, method="the baseline itself")
        return Check(
            constraint="max-accuracy-loss", verdict="holds", limit=limit, estimate=exact, about=name
        )
    return _judged_loss(task, limit, alphas)


def _judged_loss(task: TaskFigures, limit: float, alphas: tuple[float, float]) -> Check:
    if task.race and task.race.about == "model" and task.difference:
        return _by_interval("max-accuracy-loss", _as_loss(task.difference), limit, task.task)
    answers = answers_of(task)
    verdict = loses_at_most(*answers, limit)
    p_holds, p_worse, reason = verdict.p_holds, verdict.p_worse, ""
    if task.race:  # its items flatter what it stopped for
        p_holds, p_worse = 5 * p_holds, 5 * p_worse
    judged = _verdict(p_holds, p_worse, alphas)
    if judged == "open" and verdict.difference.bounds is None:
        reason = verdict.reason or ""
    return Check(
        constraint="max-accuracy-loss",
        verdict=judged,
        limit=limit,
        about=task.task,
        estimate=_as_loss(verdict.difference),
        reason=reason,
    )


def _as_loss(difference: Estimate) -> Estimate:
    """Turn ours minus the reference's into what is lost."""
    update: dict[str, float | None] = {"value": 0.0 - difference.value}
    if difference.bounds:
        update |= {"low": 0.0 - difference.bounds.high, "high": 0.0 - difference.bounds.low}
    return difference.model_copy(update=update)


def _divergences(row: Row, texts: Sequence[str], limit: float) -> list[Check]:
    if not texts:
        return [_open("max-divergence", limit, "divergence was not measured")]
    return [_divergence(row, text, limit) for text in texts]


def _divergence(row: Row, text: str, limit: float) -> Check:
    divergence, failure = divergence_at(row, text), row.failure(text)
    if failure and failure.is_task:
        return Check(
            constraint="max-divergence",
            verdict="broken",
            limit=limit,
            about=text,
            reason=failure.words,
        )
    if divergence is None:
        return _open("max-divergence", limit, f"{text} was not measured", about=text)
    if divergence.mean_kld is None:
        none = Estimate(value=0.0, low=0.0, high=0.0, n=divergence.chunks, method="the reference")
        return Check(
            constraint="max-divergence", verdict="holds", limit=limit, estimate=none, about=text
        )
    return _by_interval("max-divergence", divergence.mean_kld, limit, text)


def _open(
    name: Name, limit: float, reason: str, estimate: Estimate | None = None, about: str = ""
) -> Check:
    return Check(
        constraint=name, verdict="open", limit=limit, estimate=estimate, about=about, reason=reason
    )

"""What a deployment asks for, and whether a row is shown to hold or to break it.

A speed, a latency and an energy are judged by launches, never by fewer than five; an accuracy by
its items; a divergence by its chunks; memory by what was seen of it. Each check carries the
p-values of both answers, so that how often it may err is decided later. Knows no other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field

from edgebench.analyze.divergences import divergence_at
from edgebench.analyze.pairs import answers_of
from edgebench.analyze.rows import Row, TaskFigures
from edgebench.analyze.speeds import SpeedFigures, tokens_for
from edgebench.records.accuracy import Divergence
from edgebench.records.base import Estimate, Record, Told
from edgebench.stats.chunks import p_above_in_chunks
from edgebench.stats.clusters import LEAST_CLUSTERS, clusters_of
from edgebench.stats.launches import LEAST_FOR_BOUND, over_launches, p_above, p_below
from edgebench.stats.loss import loses_at_most
from edgebench.stats.selection import ALPHA, Alphas
from edgebench.stats.shares import share_test
from edgebench.stats.student import t_quantile, t_tail

Verdict = Literal["holds", "broken", "open"]
Percentile = Literal["p50", "p95", "p99"]
Name = Literal[
    "max-memory",
    "max-size",
    "min-decode",
    "min-prefill",
    "max-ttft",
    "max-latency",
    "max-energy",
    "max-accuracy-loss",
    "min-accuracy",
    "max-divergence",
]
OF_LAUNCHES: tuple[Name, ...] = ("min-decode", "min-prefill", "max-ttft", "max-latency")
AFTER_A_RACE = 5  # times: the items of a race flatter what it stopped for
ALIKE_CHUNKS = 4  # that say as much as one that stands alone, where chunks are not stored


class Constraints(Record):
    """Limits in SI units; none where there is none. Loss is a share of items, 0.01 for 1 %."""

    max_memory_bytes: float | None = None
    max_size_bytes: float | None = None
    min_decode_tokens_per_s: float | None = None
    min_prefill_tokens_per_s: float | None = None
    max_ttft_s: float | None = None
    max_latency_s: dict[Percentile, float] = Field(default={}, description="of a generated token")
    max_energy_j: float | None = None
    max_accuracy_loss: float | None = None
    min_accuracy: dict[Told, float] = Field(default={}, description="task -> share of its items")
    max_divergence: float | None = Field(default=None, description="nats a token")


class Check(Record):
    """Whether a row holds a constraint; open where that is not shown either way."""

    constraint: Name
    verdict: Verdict = "open"
    limit: float
    estimate: Estimate | None = None
    about: Told = Field(default="", description="the task, text or percentile")
    reason: Told = Field(default="", description="why it is open or broken, but for the figure")
    p_holds: float | None = Field(default=None, description="p-value of holding; None: no test")
    p_breaks: float | None = Field(default=None, description="p-value of breaking; None: no test")

    def judged(self, alphas: Alphas, shared: Sequence[Name]) -> Check:
        """Return the check with the verdict of its p-values; one without any stays as it is."""
        if self.p_holds is None and self.p_breaks is None:
            return self
        holds = alphas.holds_shared if self.constraint in shared else alphas.holds
        verdict: Verdict = "open"
        if self.p_holds is not None and self.p_holds <= holds:
            verdict = "holds"
        elif self.p_breaks is not None and self.p_breaks <= alphas.broken:
            verdict = "broken"
        return self.model_copy(update={"verdict": verdict})


class Question(Record):
    """What a pick asks of each row."""

    limits: Constraints
    tasks: tuple[Told, ...]
    texts: tuple[Told, ...]
    shared: tuple[Name, ...] = Field(
        description="the constraints on the objective's own measurements"
    )

    @property
    def count(self) -> int:
        """Return how many constraints each row is held against, a task each."""
        limits = self.limits.model_dump(exclude={"max_accuracy_loss", "max_divergence"})
        told = sum(len(v) if isinstance(v, dict) else v is not None for v in limits.values())
        losses = max(1, len(self.tasks)) if self.limits.max_accuracy_loss is not None else 0
        far = max(1, len(self.texts)) if self.limits.max_divergence is not None else 0
        return told + losses + far


def checks_of(row: Row, question: Question) -> list[Check]:
    """Return a check for each constraint, with its p-values and no verdict drawn from them."""
    limits = question.limits
    told: list[tuple[float | None, Callable[[float], Check]]] = [
        (limits.max_memory_bytes, lambda limit: _memory(row, limit)),
        (limits.max_size_bytes, lambda limit: _size(row, limit)),
        (limits.min_decode_tokens_per_s, lambda limit: _speed(row, "min-decode", limit)),
        (limits.min_prefill_tokens_per_s, lambda limit: _speed(row, "min-prefill", limit)),
        (limits.max_ttft_s, lambda limit: _speed(row, "max-ttft", limit)),
        (limits.max_energy_j, lambda limit: _energy(row, limit)),
    ]
    checks = [check(limit) for limit, check in told if limit is not None]
    checks += [_speed(row, "max-latency", s, name) for name, s in limits.max_latency_s.items()]
    if limits.max_accuracy_loss is not None:
        checks += _losses(row, question.tasks, limits.max_accuracy_loss)
    checks += [_accuracy(row, task, share) for task, share in limits.min_accuracy.items()]
    if limits.max_divergence is not None:
        checks += _divergences(row, question.texts, limits.max_divergence)
    return checks


# memory and size, which are seen and not estimated


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


def _size(row: Row, limit: float) -> Check:
    size = row.artifact.size_bytes
    seen = Estimate(value=size, low=size, high=size, n=1, method="the files' bytes")
    verdict: Verdict = "holds" if size <= limit else "broken"
    return Check(constraint="max-size", verdict=verdict, limit=limit, estimate=seen)


# launches


def launches_of(speed: SpeedFigures, name: Name, percentile: str = "") -> list[float]:
    """Return the figures of launches that a constraint on speed is judged by."""
    if name == "max-latency":
        return speed.token_s(percentile)
    if name == "max-ttft":
        return speed.first_tokens_s
    return speed.decodes if name == "min-decode" else speed.prefills


def _speed(row: Row, name: Name, limit: float, percentile: str = "") -> Check:
    if not row.speed:
        return _open(name, limit, "speed was not measured", about=percentile)
    launches = launches_of(row.speed, name, percentile)
    if not launches:
        words = f"each launch must generate {tokens_for(percentile)} tokens to tell {percentile}"
        words = words if row.speed.launches else _too_few(1)  # as runs before 0.2 have it
        return _open(name, limit, words, about=percentile)
    estimate = over_launches(launches)
    if few := _too_few(len(launches)):
        return _open(name, limit, few, estimate, percentile)
    above, below = p_above(launches, limit), p_below(launches, limit)
    p_holds, p_breaks = (above, below) if name.startswith("min") else (below, above)
    reason = ""
    if row.throttled and p_breaks is not None and p_breaks <= ALPHA:
        p_breaks, reason = None, "the machine throttled itself; let it cool"
    return Check(
        constraint=name,
        limit=limit,
        about=percentile,
        estimate=estimate,
        p_holds=p_holds,
        p_breaks=p_breaks,
        reason=reason,
    )


def _too_few(launches: int) -> str:
    if launches >= LEAST_FOR_BOUND:
        return ""
    few = "1 launch tells" if launches == 1 else f"{launches} launches tell"
    return f"{few} too little, five decide"


def _energy(row: Row, limit: float) -> Check:
    energy = row.energy
    if energy is None:
        return _open("max-energy", limit, row.energy_reason or "energy was not measured")
    launches = len(row.speed.launches) if row.speed else 0
    if launches and (few := _too_few(launches)):
        return _open("max-energy", limit, few, energy.j_per_token)
    freedom = max(1, min(energy.j_per_token.n, launches) - 1)
    check = _by_interval("max-energy", energy.j_per_token, limit, freedom)
    if energy.kind == "estimated":
        return check.model_copy(update={"reason": f"by the watts you stated ({energy.source})"})
    return check


def _by_interval(
    name: Name, estimate: Estimate, limit: float, freedom: float, about: str = ""
) -> Check:
    """Judge a figure that must not exceed a limit by its 95 % interval.

    Beyond the interval, the whole of it widens as Student's t does. Within it nothing is shown:
    how much of it is a sensor's error, which is not chance, the interval doesn't say.
    """
    p_holds = p_breaks = None
    if estimate.bounds:
        low, high = estimate.bounds
        p_holds = _tail(limit - estimate.value, high - estimate.value, freedom)
        p_breaks = _tail(estimate.value - limit, estimate.value - low, freedom)
    return Check(
        constraint=name,
        limit=limit,
        estimate=estimate,
        about=about,
        reason="" if estimate.bounds else "no interval is known",
        p_holds=p_holds,
        p_breaks=p_breaks,
    )


def _tail(gap: float, half: float, freedom: float) -> float:
    if gap < half:
        return 1.0
    return t_tail(gap / half * t_quantile(0.975, freedom), freedom) if half > 0 else 0.0


# items


def _losses(row: Row, tasks: Sequence[str], limit: float) -> list[Check]:
    if not tasks:
        return [_open("max-accuracy-loss", limit, "accuracy was not measured")]
    return [_loss(row, name, limit) for name in tasks]


def _loss(row: Row, name: str, limit: float) -> Check:
    if failed := _failed(row, "max-accuracy-loss", name, limit):
        return failed
    task = row.task(name)
    if task is None:
        return _open("max-accuracy-loss", limit, f"{name} was not measured", about=name)
    if task.why_no_difference:
        return _open("max-accuracy-loss", limit, task.why_no_difference, about=name)
    if task.difference is None:  # it is the baseline itself
        exact = Estimate(value=0.0, low=0.0, high=0.0, n=task.n, method="the baseline itself")
        return Check(
            constraint="max-accuracy-loss", verdict="holds", limit=limit, estimate=exact, about=name
        )
    return _judged_loss(task, limit)


def _judged_loss(task: TaskFigures, limit: float) -> Check:
    race = task.race
    asked_all = race is not None and race.verdict == "open" and race.items == race.population
    if race and race.about == "model" and task.difference and not asked_all:
        return _raced(_as_loss(task.difference), limit, task.task)
    verdict = loses_at_most(*answers_of(task), limit)
    # A race that came to the end of its list is a list, with the chance of error that was kept.
    times = (1 / race.last_share if asked_all else AFTER_A_RACE) if race else 1
    return Check(
        constraint="max-accuracy-loss",
        limit=limit,
        about=task.task,
        estimate=_as_loss(verdict.difference),
        reason="" if verdict.difference.bounds else verdict.reason or "",
        p_holds=times * verdict.p_holds,
        p_breaks=times * verdict.p_worse,
    )


def _raced(loss: Estimate, limit: float, task: str) -> Check:
    """Judge by a race's own bounds, which hold whenever it stopped."""
    verdict: Verdict = "open"
    if loss.bounds and loss.bounds.high <= limit:
        verdict = "holds"
    elif loss.bounds and loss.bounds.low > limit:
        verdict = "broken"
    return Check(
        constraint="max-accuracy-loss", verdict=verdict, limit=limit, estimate=loss, about=task
    )


def _as_loss(difference: Estimate) -> Estimate:
    """Turn ours minus the reference's into what is lost."""
    update: dict[str, float | None] = {"value": 0.0 - difference.value}
    if difference.bounds:
        update |= {"low": 0.0 - difference.bounds.high, "high": 0.0 - difference.bounds.low}
    return difference.model_copy(update=update)


def _accuracy(row: Row, name: str, limit: float) -> Check:
    """Judge the accuracy itself, over items or their clusters."""
    if failed := _failed(row, "min-accuracy", name, limit):
        return failed
    task = row.task(name)
    if task is None or not task.items:
        return _open("min-accuracy", limit, f"{name} was not measured", about=name)
    clusters = clusters_of([item.cluster for item in task.items])
    test = share_test([item.correct for item in task.items], clusters, limit)
    if test is None:
        few = f"its items share {task.clusters} contexts, and {LEAST_CLUSTERS} are the least"
        return _open("min-accuracy", limit, few, task.accuracy, name)
    times = AFTER_A_RACE if task.race else 1
    return Check(
        constraint="min-accuracy",
        limit=limit,
        about=name,
        estimate=task.accuracy,
        p_holds=times * test.p_above,
        p_breaks=times * test.p_below,
    )


# chunks


def _divergences(row: Row, texts: Sequence[str], limit: float) -> list[Check]:
    if not texts:
        return [_open("max-divergence", limit, "divergence was not measured")]
    return [_divergence(row, text, limit) for text in texts]


def _divergence(row: Row, text: str, limit: float) -> Check:
    if failed := _failed(row, "max-divergence", text, limit):
        return failed
    divergence = divergence_at(row, text)
    if divergence is None:
        return _open("max-divergence", limit, f"{text} was not measured", about=text)
    if divergence.mean_kld is None:
        none = Estimate(value=0.0, low=0.0, high=0.0, n=divergence.chunks, method="the reference")
        return Check(
            constraint="max-divergence", verdict="holds", limit=limit, estimate=none, about=text
        )
    return _judged_divergence(divergence, divergence.mean_kld, limit, text)


def _judged_divergence(divergence: Divergence, mean: Estimate, limit: float, text: str) -> Check:
    klds = divergence.chunk_klds
    freedom = max(2, len(klds or range(mean.n)) // ALIKE_CHUNKS - 1)
    check = _by_interval("max-divergence", mean, limit, freedom, text)
    if not klds or not mean.bounds:
        return check
    p_breaks = p_above_in_chunks(klds, limit)
    p_holds = p_above_in_chunks([-kld for kld in klds], -limit)
    return check.model_copy(update={"p_holds": p_holds, "p_breaks": p_breaks})


# what they share


def _failed(row: Row, name: Name, label: str, limit: float) -> Check | None:
    """Return the check of a task that failed: it is broken."""
    failure = row.failure(label)
    if not failure or not failure.is_task:
        return None
    return Check(constraint=name, verdict="broken", limit=limit, about=label, reason=failure.words)


def _open(
    name: Name, limit: float, reason: str, estimate: Estimate | None = None, about: str = ""
) -> Check:
    return Check(constraint=name, limit=limit, estimate=estimate, about=about, reason=reason)

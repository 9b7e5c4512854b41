"""Which of two rows is better in one respect, and whether that is shown or only looks so.

Knows launches, rounds, items, joules and bytes. A row without the figure is not compared. Weighing
several respects is `weights.py`'s. Knows no constraints.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgebench.analyze.divergences import divergence_at
from edgebench.analyze.pairs import Answers, between, shared_items
from edgebench.analyze.rows import Row, TaskFigures
from edgebench.analyze.speeds import SpeedFigures
from edgebench.records.base import Estimate
from edgebench.stats.launches import bound_above, bound_below, ratio_p
from edgebench.stats.loss import difference_p, loses_at_most
from edgebench.stats.student import normal_quantile

Aspect = Literal["decode", "prefill", "memory", "energy", "accuracy", "divergence"]
ASPECTS: tuple[Aspect, ...] = (
    "accuracy",
    "divergence",
    "decode",
    "prefill",
    "memory",
    "energy",
)

LEVEL = 0.05
# By how much a shown lead must lead to count between rows that are else alike.
MATTERS: dict[Aspect, float] = {
    "decode": 0.02,
    "prefill": 0.05,
    "memory": 0.10,
    "energy": 0.05,
    "divergence": 0.25,
    "accuracy": 0.0,
}


@dataclass(frozen=True)
class Lead:
    """How one row stands to another in one respect: 0.1 is better by 10 % (accuracy: in points).

    `is_shown`: that it is better, or worse, is more than chance; `p_value` where a test says so.
    """

    by: float
    is_shown: bool
    p_value: float | None = None

    @property
    def is_better(self) -> bool:
        """Return whether the row is shown to be the better one."""
        return self.is_shown and self.by > 0

    @property
    def is_worse(self) -> bool:
        """Return whether the row is shown to be the worse one."""
        return self.is_shown and self.by < 0


def lead(aspect: Aspect, row: Row, other: Row, tasks: Sequence[str]) -> Lead | None:
    """Return how a row stands to another; None where one of them has no figure."""
    if aspect == "accuracy":
        return _accuracy(row, other, tasks)
    if aspect == "divergence":
        return _divergence(row, other)
    if aspect in ("decode", "prefill"):
        return _speed(row.speed, other.speed, aspect == "decode")
    if aspect == "memory":
        return _memory(row, other)
    return _energy(row, other)


def value_of(aspect: Aspect, row: Row, tasks: Sequence[str]) -> float | None:
    """Return a row's figure, the larger the better; None where it has none."""
    if aspect == "accuracy":
        told = [task.accuracy.value for name in tasks if (task := row.task(name))]
        return sum(told) / len(told) if told and len(told) == len(tasks) else None
    if aspect == "divergence":
        far = [
            divergence.mean_kld.value if divergence.mean_kld else 0.0
            for divergence in row.divergences
        ]
        return -max(far) if far else None
    if aspect in ("decode", "prefill"):
        if not row.speed:
            return None
        return (row.speed.decode if aspect == "decode" else row.speed.prefill).value
    if aspect == "memory":
        total = row.memory.total_bytes if row.memory else None
        return None if total is None else -float(total)
    return -row.energy.j_per_token.value if row.energy else None


def _speed(mine: SpeedFigures | None, theirs: SpeedFigures | None, decode: bool) -> Lead | None:
    if mine is None or theirs is None:
        return None
    ours, others = by_round(mine, decode), by_round(theirs, decode)
    first, second = (mine.decode, theirs.decode) if decode else (mine.prefill, theirs.prefill)
    by = first.value / second.value - 1
    p_value = ratio_p(ours, others)
    if p_value is not None:
        return Lead(by, p_value < LEVEL and by != 0, p_value)
    # Not measured in turn: told apart only where their bounds do not meet.
    samples = list(ours.values()), list(others.values())
    return Lead(by, by != 0 and _apart(*(samples if by > 0 else samples[::-1])))


def by_round(speed: SpeedFigures, decode: bool) -> dict[str, float]:
    """Return each launch's speed by its round."""
    return {
        launch.round: launch.decode_tokens_per_s if decode else launch.prefill_tokens_per_s
        for launch in speed.launches
    }


def _apart(faster: Sequence[float], slower: Sequence[float]) -> bool:
    if not faster or not slower:
        return False
    low, high = bound_below(faster, LEVEL / 2), bound_above(slower, LEVEL / 2)
    return low is not None and high is not None and low > high


def _memory(row: Row, other: Row) -> Lead | None:
    if not (row.memory and other.memory):
        return None
    mine, theirs = row.memory.total_bytes, other.memory.total_bytes
    if not mine or not theirs:
        return None
    return Lead(theirs / mine - 1, mine != theirs)


def _energy(row: Row, other: Row) -> Lead | None:
    if not (row.energy and other.energy) or row.energy.source != other.energy.source:
        return None
    mine, theirs = row.energy.j_per_token, other.energy.j_per_token
    return Lead(theirs.value / mine.value - 1, intervals_apart(mine, theirs))


def intervals_apart(a: Estimate, b: Estimate) -> bool:
    if a.bounds is None or b.bounds is None:
        return False
    return a.bounds.low > b.bounds.high or b.bounds.low > a.bounds.high


def _divergence(row: Row, other: Row) -> Lead | None:
    leads = [
        _farther(mine.mean_kld, theirs.mean_kld)
        for mine in row.divergences
        if (theirs := divergence_at(other, mine.text))
        and theirs.reference_sha256 == mine.reference_sha256
    ]
    if not leads:
        return None
    return min(leads, key=lambda standing: standing.by)


def _farther(mine: Estimate | None, theirs: Estimate | None) -> Lead:
    """Compare two distances from one reference; None is the reference itself."""
    if mine is None and theirs is None:
        return Lead(0.0, is_shown=False)
    if mine is None or theirs is None:
        return Lead(math.inf if mine is None else -math.inf, is_shown=True)
    by = theirs.value / mine.value - 1 if mine.value > 0 else math.inf
    return Lead(by, intervals_apart(mine, theirs))


def _accuracy(row: Row, other: Row, tasks: Sequence[str]) -> Lead | None:
    """Compare over the same items; several tasks count alike, however many items they have."""
    pairs = [(row.task(name), other.task(name)) for name in tasks]
    told = [(mine, theirs) for mine, theirs in pairs if mine and theirs]
    if not told or len(told) < len(tasks):
        return None
    if all(mine.items and mine.items == theirs.items for mine, theirs in told):
        return Lead(0.0, is_shown=False)  # one artifact's answers, under several settings
    by = sum(mine.accuracy.value - theirs.accuracy.value for mine, theirs in told) / len(told)
    both = [_shared(mine, theirs) for mine, theirs in told]
    shared = [answers for answers in both if answers is not None]
    if len(shared) < len(both):
        return Lead(by, is_shown=False)
    if len(shared) == 1:
        ours, others, clusters = shared[0]
        p_value = difference_p(ours, others, clusters)
        return Lead(by, by != 0 and p_value < LEVEL, p_value)
    return Lead(by, abs(by) > _reach(shared))


def accuracy_reach(row: Row, other: Row, tasks: Sequence[str]) -> float | None:
    """Return how far the mean difference may lie from the one seen, at 95 %; None: unknown."""
    pairs = [
        (mine, theirs)
        for name in tasks
        if (mine := row.task(name)) and (theirs := other.task(name))
    ]
    if len(pairs) == len(tasks) and all(mine.items == theirs.items for mine, theirs in pairs):
        return 0.0
    both = [_shared(mine, theirs) for mine, theirs in pairs]
    shared = [answers for answers in both if answers is not None]
    return _reach(shared) if shared and len(shared) == len(tasks) else None


def _reach(shared: Sequence[Answers]) -> float:
    return math.sqrt(math.fsum(_half_width(answers) ** 2 for answers in shared)) / len(shared)


def _shared(mine: TaskFigures, theirs: TaskFigures) -> Answers | None:
    items = shared_items(mine, theirs)
    return between(*items) if items else None


def _half_width(answers: Answers) -> float:
    """Return half the interval of a difference; Agresti & Min's (2005) where items stand alone."""
    ours, theirs, clusters = answers
    if clusters is not None:
        judged = loses_at_most(ours, theirs, clusters, 0.0, LEVEL / 2)
        low, high = judged.difference.bounds or (-1.0, 1.0)
        return max(high - judged.difference.value, judged.difference.value - low)
    won = 0.5 + list(map(operator.gt, ours, theirs)).count(True)
    lost = 0.5 + list(map(operator.lt, ours, theirs)).count(True)
    n = len(ours) + 2
    variance = (won + lost - (won - lost) ** 2 / n) / n**2
    return normal_quantile(1 - LEVEL / 2) * math.sqrt(variance)


def front(rows: Sequence[Row], tasks: Sequence[str], aspects: Sequence[Aspect]) -> list[Row]:
    """Return the rows that no other beats: as good in every respect, and shown better in one."""
    values = [[value_of(aspect, row, tasks) for aspect in aspects] for row in rows]
    told = np.array(values, dtype=np.float64).reshape(len(rows), len(aspects))  # None is nan
    left = []
    for index, row in enumerate(rows):
        # What is plain to see comes before the tests, which take longer; the far ahead first.
        as_good = ~(told < told[index]).any(axis=1)
        as_good[index] = False
        ahead = (told > told[index]).sum(axis=1)
        rivals = sorted(np.flatnonzero(as_good).tolist(), key=lambda other: -int(ahead[other]))
        if not any(_is_shown_better(rows[other], row, tasks, aspects) for other in rivals):
            left.append(row)
    return left


def _is_shown_better(row: Row, other: Row, tasks: Sequence[str], aspects: Sequence[Aspect]) -> bool:
    leads = (lead(aspect, row, other, tasks) for aspect in aspects)
    return any(standing.is_better for standing in leads if standing is not None)


def reasons_to_prefer(
    row: Row, other: Row, tasks: Sequence[str], aspects: Sequence[Aspect]
) -> list[Aspect]:
    """Return where a row is shown better by more than a little; nothing if it is worse anywhere."""
    better: list[Aspect] = []
    for aspect in aspects:
        standing = lead(aspect, row, other, tasks)
        if standing is None or not standing.is_shown or abs(standing.by) <= MATTERS[aspect]:
            continue
        if standing.by < 0:
            return []
        better.append(aspect)
    return better

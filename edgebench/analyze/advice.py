"""What to type so that an open question closes, how long that takes, and how likely it decides.

Knows rows, checks, and what measuring took before. Types nothing itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import PurePath

from edgebench.analyze.constraints import Check
from edgebench.analyze.rows import Row, TaskFigures
from edgebench.records.base import Estimate, Record, Told
from edgebench.records.settings import Settings
from edgebench.stats.advice import (
    chance_to_decide,
    items_that_could,
    launches_to_decide,
    smallest_loss_shown,
)
from edgebench.stats.advice import items_to_decide as items_needed
from edgebench.stats.launches import LEAST_FOR_BOUND

# A task of many items that anyone can have, for where 300 can't decide.
LARGER_TASK, LARGER_ITEMS = "hellaswag", 10_042
MOST_LAUNCHES = 100  # that profile takes
GOOD_CHANCE = 0.5


class Advice(Record):
    """A command, about how long it takes, and the chance that it decides; None: nobody knows."""

    command: Told
    takes_s: float | None = None
    chance: float | None = None
    note: Told = ""


def advise(row: Row, check: Check, against: Row | None = None) -> tuple[str, Advice | None]:
    """Return in words what is open, and what to type about it where that helps.

    `against` is a row of the baseline, whose answers a new task needs as well.
    """
    rows = [row, against] if against is not None and against is not row else [row]
    if check.constraint in ("min-decode", "max-ttft"):
        return _more_launches(row, check)
    if check.constraint == "max-accuracy-loss":
        return _more_answers(row, check, rows)
    if check.constraint == "max-divergence" and check.estimate is None:
        command = profile(rows, workload="none", tasks=check.about or "divergence")
        return check.reason, Advice(command=command)
    if check.constraint == "max-energy" and check.estimate is None:
        return check.reason, Advice(
            command=f"edgebench devices check {row.device.name}", note="says which meters answer"
        )
    if check.constraint == "max-memory" and row.memory is None:
        return check.reason, Advice(command=_timed(row, LEAST_FOR_BOUND))
    return check.reason or "its interval holds the limit", None


def measure_speed(row: Row) -> Advice:
    """Advise to measure the workload's speed."""
    return Advice(command=_timed(row, LEAST_FOR_BOUND))


def _more_launches(row: Row, check: Check) -> tuple[str, Advice | None]:
    if not row.speed:
        return check.reason, measure_speed(row)
    decode = check.constraint == "min-decode"
    samples = row.speed.decodes if decode else row.speed.first_tokens_s
    now = len(row.speed.launches)
    each = row.wall_s / max(1, now) if row.wall_s else None
    if now < LEAST_FOR_BOUND:
        takes = each * LEAST_FOR_BOUND if each else None
        return check.reason, Advice(command=_timed(row, LEAST_FOR_BOUND), takes_s=takes)
    needed = launches_to_decide(samples, check.limit)
    if needed is None or needed > MOST_LAUNCHES:
        return "it lies so near the limit that no number of launches is likely to decide", None
    wanted = max(needed, now + 1)
    advice = Advice(
        command=_timed(row, wanted), takes_s=each * wanted if each else None, chance=0.8
    )
    return check.reason or f"{now} launches leave it open", advice


def _more_answers(row: Row, check: Check, rows: Sequence[Row]) -> tuple[str, Advice | None]:
    task = row.task(check.about)
    if task is None or check.estimate is None:
        command = profile(rows, workload="none", tasks=check.about or "basics")
        return check.reason, Advice(command=command)
    difference, margin = task_difference(check.estimate), check.limit
    if difference.bounds is None:
        return check.reason, _larger(rows, task, None)
    if task.population and task.population > task.n:
        chance = chance_to_decide(difference, task.n, task.population, margin)
        advice = Advice(
            command=profile(rows, workload="none", tasks=task.task),
            takes_s=_takes(task, task.population, 1),
            chance=chance,
        )
        return f"{task.n} of {task.population} items leave it open", advice
    needed = items_needed(difference, task.n, margin)
    if needed is None:
        return "the loss lies so near the limit that no number of items would decide", None
    chance = chance_to_decide(difference, task.n, max(LARGER_ITEMS, task.n), margin)
    words = f"about {_two_digits(needed)} items in all would decide, {task.n} were answered"
    return words, _larger(rows, task, chance) if chance >= GOOD_CHANCE else None


def task_difference(loss: Estimate) -> Estimate:
    """Turn what is lost back into ours minus the reference's."""
    update: dict[str, float | None] = {"value": 0.0 - loss.value}
    if loss.bounds:
        update |= {"low": 0.0 - loss.bounds.high, "high": 0.0 - loss.bounds.low}
    return loss.model_copy(update=update)


def _larger(rows: Sequence[Row], task: TaskFigures, chance: float | None) -> Advice | None:
    if task.task == LARGER_TASK or task.n >= LARGER_ITEMS:
        return None
    return Advice(
        command=profile(rows, workload="none", tasks=f"lm_eval:{LARGER_TASK}"),
        takes_s=_takes(task, LARGER_ITEMS, len(rows)),
        chance=chance,
        note=f"has {LARGER_ITEMS} items; then pick with --task {LARGER_TASK}",
    )


def _takes(task: TaskFigures, items: int, levels: int) -> float | None:
    return task.wall_s / task.n * items * levels if task.wall_s and task.n else None


def cannot_show(task: TaskFigures, limit: float) -> str | None:
    """Say where a task has too few items for a limit, whatever the truth; None where it hasn't."""
    if limit <= 0 or task.difference is None or task.clusters:
        return f"no number of items shows a loss of 0 at {task.task}" if limit <= 0 else None
    known = {item.id: item.correct for item in task.items}
    disagree = sum(known[item.id] != item.correct for item in task.reference_items)
    share = (disagree + 1) / (task.n + 2)
    least = smallest_loss_shown(task.n, share)
    could = items_that_could(limit, share)
    if least <= limit or could is None:
        return None
    return (
        f"{task.n} items of {task.task} can't be counted on to show a loss under "
        f"{100 * limit:g} %; about {_two_digits(could)} could"
    )


def _timed(row: Row, launches: int) -> str:
    workload = row.workload.name if row.workload else "chat"
    return profile([row], workload=workload, tasks="none", launches=launches)


def profile(rows: Sequence[Row], *, workload: str, tasks: str, launches: int | None = None) -> str:
    """Return the command that measures rows' artifacts, with the settings of the first."""
    words = ["edgebench", "profile", *dict.fromkeys(place(row) for row in rows)]
    words += ["--device", rows[0].device.name, "--workload", workload, "--tasks", tasks]
    words += [] if launches is None else ["--launches", str(launches)]
    defaults = Settings().model_dump()
    for name, value in rows[0].settings.model_dump().items():
        if value != defaults[name]:
            words += ["--set", f"{name}={value}"]
    return shlex.join(words)


def place(row: Row) -> str:
    """Return what to type for a row's artifact: its folder where it has one of its name."""
    path = PurePath(row.artifact.path)
    is_folder = path.parent.name == row.artifact.name or row.artifact.format in ("onnx", "fake")
    return str(path.parent if is_folder else path)


def _two_digits(count: int) -> int:
    return int(float(f"{count:.1e}"))

"""What to measure so that an open question closes, how long that takes, and how likely it decides.

Knows rows, checks, and what measuring took before. An advice holds what to measure as a record,
from which its command is made, so that it can be typed or carried out. Carries nothing out itself.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import PurePath

from pydantic import Field

from edgebench.analyze.constraints import OF_LAUNCHES, Check, launches_of
from edgebench.analyze.rows import Row, TaskFigures
from edgebench.plan.cases import reference_of
from edgebench.records.base import Estimate, Record, Told
from edgebench.records.settings import Settings
from edgebench.stats.advice import (
    ALPHA,
    chance_of_launches,
    chance_to_decide,
    items_that_could,
    launches_to_decide,
    smallest_loss_shown,
)
from edgebench.stats.advice import items_to_decide as items_needed
from edgebench.stats.launches import LEAST_FOR_BOUND

# Public tasks that lm-eval knows, from few items to many: for where the items at hand can't decide.
LARGER_TASKS = {
    "piqa": 1_838,
    "arc_easy": 2_376,
    "boolq": 3_270,
    "lambada_openai": 5_153,
    "hellaswag": 10_042,
}
MOST_LAUNCHES = 100  # that profile takes
GOOD_CHANCE = 0.5


class Measure(Record):
    """What to measure of rows, by their keys: a workload's launches in all, or tasks."""

    rows: tuple[Told, ...]
    workload: Told | None = None
    launches: int | None = Field(default=None, description="in all, those stored among them")
    tasks: tuple[Told, ...] = ()
    tolerance: float | None = Field(default=None, description="of a race, where it is one")
    alpha: float = Field(default=ALPHA, description="how often the test to decide may err")


class Advice(Record):
    """A command, about how long it takes, and the chance that it decides; None: nobody knows."""

    command: Told
    measure: Measure | None = Field(
        default=None, exclude=True, description="what the command measures of rows that are here"
    )
    takes_s: float | None = None
    chance: float | None = None
    note: Told = ""


def advise(
    row: Row, check: Check, against: Row | None = None, alpha: float = ALPHA
) -> tuple[str, Advice | None]:
    """Return in words what is open, and what to type about it where that helps.

    `against` is a row of the baseline, whose answers a new task needs as well; `alpha` is how
    often the test that is to decide may err.
    """
    rows = [row, against] if against is not None and against is not row else [row]
    name = check.constraint
    if name in (*OF_LAUNCHES, "max-energy") and row.workload and row.workload.duration_s:
        return "sustained load is one launch, which decides no limit; another workload does", None
    if name in OF_LAUNCHES:
        return _more_launches(row, check, alpha)
    if name in ("max-accuracy-loss", "min-accuracy"):
        return _more_answers(row, check, rows, alpha)
    if name == "max-divergence" and check.estimate is None:
        return check.reason, answers_of_all(rows, [check.about or "divergence"])
    if name == "max-energy" and check.estimate is None:
        command = shlex.join(["edgebench", "devices", "check", row.device.name])
        return check.reason, Advice(command=command, note="says which meters answer")
    if name == "max-energy":
        return _more_joules(row, check)
    if name == "max-memory" and row.memory is None:
        return check.reason, measure_speed(row)
    return check.reason or "its interval holds the limit", None


def measure_speed(row: Row, launches: int = LEAST_FOR_BOUND) -> Advice:
    """Advise to measure the workload's speed, in so many launches in all."""
    workload = row.workload.name if row.workload else "chat"
    now = len(_launches(row))
    takes_s = row.wall_s / now * max(1, launches - now) if row.wall_s and now else None
    measure = Measure(rows=(row.key,), workload=workload, launches=launches)
    return Advice(command=command_of(measure, [row]), measure=measure, takes_s=takes_s)


def answers_of_all(rows: Sequence[Row], tasks: Sequence[str]) -> Advice:
    """Advise to let rows answer every item of tasks."""
    measure = Measure(rows=tuple(row.key for row in rows), tasks=tuple(tasks))
    return Advice(command=command_of(measure, rows), measure=measure)


def _launches(row: Row) -> Sequence[object]:
    return row.speed.launches if row.speed else ()


def _more_launches(row: Row, check: Check, alpha: float) -> tuple[str, Advice | None]:
    now = len(_launches(row))
    if not row.speed or now < LEAST_FOR_BOUND:
        return check.reason, measure_speed(row)
    samples = launches_of(row.speed, check.constraint, check.about)
    if not samples:  # each launch generates too few tokens for a percentile
        return check.reason, None
    needed = launches_to_decide(samples, check.limit, alpha=alpha)
    if needed is None or needed > MOST_LAUNCHES:
        return "it lies so near the limit that no number of launches is likely to decide", None
    wanted = max(needed, now + 1)
    chance = chance_of_launches(samples, check.limit, wanted, alpha)
    advice = measure_speed(row, wanted).model_copy(update={"chance": chance})
    return check.reason or f"{now} launches leave it open", advice


def _more_joules(row: Row, check: Check) -> tuple[str, Advice | None]:
    """Advise launches that narrow the interval to the limit, as far as its width is chance."""
    now, bounds = len(_launches(row)), check.estimate.bounds if check.estimate else None
    if now < LEAST_FOR_BOUND:
        return check.reason, measure_speed(row)
    if not (check.estimate and bounds):
        return check.reason or "no interval is known", None
    gap = abs(check.estimate.value - check.limit)
    wide = max(bounds.high - check.estimate.value, check.estimate.value - bounds.low)
    wanted = math.ceil(now * (wide / gap) ** 2 * 1.5) if gap else MOST_LAUNCHES + 1
    if wanted > MOST_LAUNCHES:
        return "it lies so near the limit that no number of launches is likely to decide", None
    return check.reason or f"{now} launches leave it open", measure_speed(row, max(now + 1, wanted))


def _more_answers(
    row: Row, check: Check, rows: Sequence[Row], alpha: float
) -> tuple[str, Advice | None]:
    task = row.task(check.about)
    if task is None or check.estimate is None:
        return check.reason, _missing_task(check, rows, alpha)
    if check.constraint != "max-accuracy-loss":
        return check.reason or f"{task.n} items leave it open", _larger(rows, task, None, None)
    difference, margin = task_difference(check.estimate), check.limit
    if difference.bounds is None:
        return check.reason, _larger(rows, task, None, None)
    if task.population and task.population > task.n:
        advice = answers_of_all(rows, [task.task]).model_copy(
            update={
                "takes_s": _takes(task, task.population, 1),
                "chance": chance_to_decide(difference, task.n, task.population, margin, alpha),
            }
        )
        return f"{task.n} of {task.population} items leave it open", advice
    needed = items_needed(difference, task.n, margin, alpha=alpha)
    if needed is None:
        return "the loss lies so near the limit that no number of items would decide", None
    words = f"about {_two_digits(needed)} items in all would decide, {task.n} were answered"
    name = _larger_task(task, needed)
    if name is None:
        return words, None
    chance = chance_to_decide(difference, task.n, max(LARGER_TASKS[name], task.n), margin, alpha)
    return words, _larger(rows, task, name, chance) if chance >= GOOD_CHANCE else None


def _missing_task(check: Check, rows: Sequence[Row], alpha: float) -> Advice:
    """Advise the task that was not answered: as a race where a limit of loss is to be decided."""
    name = check.about or "basics"
    races = check.constraint == "max-accuracy-loss" and 0 < check.limit < 1 and len(rows) > 1
    # A race is held against the one of the most bits, whatever was named as the baseline.
    if not (races and reference_of([row.artifact for row in rows]) == rows[-1].artifact):
        return answers_of_all(rows, [name])
    measure = Measure(
        rows=tuple(row.key for row in rows), tasks=(name,), tolerance=check.limit, alpha=alpha
    )
    return Advice(command=command_of(measure, rows), measure=measure)


def task_difference(loss: Estimate) -> Estimate:
    """Turn what is lost back into ours minus the reference's."""
    update: dict[str, float | None] = {"value": 0.0 - loss.value}
    if loss.bounds:
        update |= {"low": 0.0 - loss.bounds.high, "high": 0.0 - loss.bounds.low}
    return loss.model_copy(update=update)


def _larger_task(task: TaskFigures, needed: int) -> str | None:
    """Return the smallest public task of enough items, else the largest; None where none helps."""
    larger = [name for name, items in LARGER_TASKS.items() if items > task.n]
    larger = [name for name in larger if name != task.task]
    enough = [name for name in larger if LARGER_TASKS[name] >= needed]
    return next(iter(enough), larger[-1] if larger else None)


def _larger(
    rows: Sequence[Row], task: TaskFigures, name: str | None, chance: float | None
) -> Advice | None:
    """Advise another task, of more items. It is another question: no measure is made of it."""
    name = name or _larger_task(task, 2 * task.n)
    if name is None:
        return None
    items = LARGER_TASKS[name]
    measure = Measure(rows=tuple(row.key for row in rows), tasks=(f"lm_eval:{name}",))
    return Advice(
        command=command_of(measure, rows),
        takes_s=_takes(task, items, len(rows)),
        chance=chance,
        note=f"has {items} items, which lm-eval (the extra eval) fetches from the Hub; then pick "
        f"with --task {name}",
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


def command_of(measure: Measure, rows: Sequence[Row], output: str | None = None) -> str:
    """Return the command that measures rows' artifacts, with the settings of the first.

    `output` is where their runs are stored, where that isn't profiles.
    """
    words = ["edgebench", "profile", *dict.fromkeys(place(row) for row in rows)]
    words += ["--device", rows[0].device.name, "--workload", measure.workload or "none"]
    words += ["--tasks", ",".join(measure.tasks) or "none"]
    workload = rows[0].workload
    if measure.workload and workload and workload.repetitions > 1:
        words += ["--repetitions", str(workload.repetitions)]
    words += [] if measure.launches is None else ["--launches", str(measure.launches)]
    if measure.tolerance is not None:
        words += ["--race", "--tolerance", f"{100 * measure.tolerance:g}%"]
    defaults = Settings().model_dump()
    for name, value in rows[0].settings.model_dump().items():
        if value != defaults[name]:
            words += ["--set", f"{name}={value}"]
    return shlex.join([*words, *(["--output", output] if output else [])])


def with_output(advice: Advice, output: str) -> Advice:
    """Return the advice for runs that are stored elsewhere than in profiles."""
    if not advice.command.startswith("edgebench profile "):
        return advice
    words = shlex.join(["--output", output])
    return advice.model_copy(update={"command": f"{advice.command} {words}"})


def place(row: Row) -> str:
    """Return what to type for a row's artifact: its folder where it has one of its name."""
    path = PurePath(row.artifact.path)
    is_folder = path.parent.name == row.artifact.name or row.artifact.format in ("onnx", "fake")
    return str(path.parent if is_folder else path)


def _two_digits(count: int) -> int:
    return int(float(f"{count:.1e}"))

"""Show a plan: its cases, about how long they take, and the memory that contexts need."""

from __future__ import annotations

import json
from collections.abc import Sequence

from edgebench.plan.cases import Case, ItemsCase, SpeedCase, label, settings_words
from edgebench.plan.forecast import Due, Forecast
from edgebench.records.base import clean
from edgebench.records.task import Task
from edgebench.report.format import counted, duration, mebibytes
from edgebench.sources.kv_cache import kv_table
from edgebench.stats.advice import items_that_could, smallest_loss_shown

DISAGREEMENT = 0.05  # of two levels' answers, as neighbouring levels show
POINT = 0.01


def plan_lines(dues: Sequence[Due], forecast: Forecast) -> list[str]:
    """Return a line a case, a line an artifact for memory, and what all of it takes."""
    lines = []
    cases = [due.case for due in dues]
    words = settings_words(cases)
    for due in dues:
        case = due.case
        state = "stored already" if due.is_stored else f"about {duration(due.seconds(forecast))}"
        if due.launches:
            state += f", {counted(due.launches, 'launch', 'launches')} stored already"
        told = words[case.subject.settings]
        work = f"{case.work} ({told})" if told else case.work
        lines.append(f"{case.subject.artifact.name:<36} {work:<20} {state}")
    for name, size, table in _memory(cases):
        held = ", ".join(f"{count}: {mebibytes(size)}" for count, size in table.items())
        lines.append(f"{name}: weights {mebibytes(size)}; KV cache by context: {held}")
    launches = sum(due.launches_due for due in dues)
    if any(due.launches_due > 1 for due in dues):
        spent = sum(due.launches_due * forecast.launch_s(due.case) for due in dues)
        lines.append(
            f"{counted(launches, 'launch', 'launches')} of a worker, of which loading and "
            f"warming up take about {duration(spent)}; --launches 1 is quicker and gives no "
            "interval"
        )
    lines += [_what_items_show(task) for task in _compared_tasks(cases)]
    total = sum(due.seconds(forecast) for due in dues)
    todo = sum(not due.is_stored for due in dues)
    measured = f"{todo} of {counted(len(cases), 'case')} to measure"
    lines.append(f"{measured}, about {duration(total)}")
    return [clean(line, 400) for line in lines]


def _compared_tasks(cases: Sequence[Case]) -> list[Task]:
    """Return the tasks whose answers will be compared between levels."""
    tasks: dict[str, list[Task]] = {}
    for case in cases:
        if isinstance(case, ItemsCase):
            tasks.setdefault(case.task.sha256, []).append(case.task)
    return [asked[0] for asked in tasks.values() if len(asked) > 1]


def _what_items_show(task: Task) -> str:
    """Say beforehand which loss a task's items can show, and how many could show a point."""
    items = len(task.items)
    least = smallest_loss_shown(items, DISAGREEMENT)
    could = items_that_could(POINT, DISAGREEMENT)
    words = (
        f"{task.name}: {counted(items, 'item')} can't be counted on to show a loss under "
        f"{100 * least:.1f} points, where two levels answer {100 * DISAGREEMENT:g} % of items "
        "differently"
    )
    if could is None:
        return words
    rounded = float(f"{could:.1e}")  # a forecast has two digits
    return f"{words}; about {rounded:.0f} could show one of a point"


def plan_json(dues: Sequence[Due], forecast: Forecast) -> str:
    """Return the plan as one JSON document; a stored case's estimate is of measuring it again."""
    cases = [due.case for due in dues]
    words = settings_words(cases)
    entries = [
        {
            "artifact": case.subject.artifact.name,
            "what": label(case, words[case.subject.settings]),
            "work": case.work,
            "settings": case.subject.settings.model_dump(),
            "stored": due.is_stored,
            "launches_stored": due.launches,
            "estimate_s": round(forecast.case_s(case, due.launches), 1),
            "launches": case.workload.launches if isinstance(case, SpeedCase) else None,
        }
        for due in dues
        for case in [due.case]
    ]
    memory = [
        {"model": name, "weights_bytes": size, "kv_cache_bytes": table}
        for name, size, table in _memory(cases)
    ]
    return json.dumps({"cases": entries, "memory": memory})


def _memory(cases: Sequence[Case]) -> list[tuple[str, int, dict[int, int]]]:
    """Return each artifact's weights and the bytes of its KV cache by context."""
    subjects = {case.subject.artifact.name: case.subject for case in cases}
    return [
        (name, subject.artifact.size_bytes, table)
        for name, subject in subjects.items()
        if (table := kv_table(subject.artifact, subject.settings.kv_type))
    ]

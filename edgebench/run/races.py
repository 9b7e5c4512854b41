"""Let levels answer tasks: all items, items in a race, or a text compared with the reference.

Knows which artifact must come first, how large a context a task needs, and when a race is over.
Scores nothing itself; workers do.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from edgebench.figures.accuracy import accuracy_of, skip_warnings
from edgebench.plan.cases import Case, case_id
from edgebench.records.accuracy import ItemResult, RaceResult, Skip
from edgebench.records.artifact import Artifact
from edgebench.records.formats import FORMATS, runtime_version
from edgebench.records.messages import CompareText, DivergenceResult, ScoreResult, ScoreTask
from edgebench.records.run import Run, RunError
from edgebench.records.task import Item, Task, TextTask
from edgebench.run.case import Active, Host
from edgebench.run.transports import WorkerError
from edgebench.stats.sequential import Race, race_alphas

SCORE_SEQUENCES = 65  # one holds what all items share, 64 are scored side by side
SCORE_CONTEXT = 2048
BYTES_A_TOKEN = 2.5  # few texts have shorter tokens; decides how large a context is asked for
TEXT_CONTEXT, TEXT_SEQUENCES = 2048, 1
RACE_ITEMS = 32  # asked at a time
RACE_SEED = 5


class Stage(Host, Protocol):
    """A sweep, and the good runs that are stored already."""

    @property
    def stored(self) -> Mapping[str, Run]:
        """Good runs by case id."""
        ...


def answer_all(stage: Stage, cases: Sequence[Case]) -> None:
    """Run cases of tasks, in order; those that are held against one reference go together."""
    groups: dict[tuple[str, ...], list[Case]] = {}
    for case in cases:
        assert case.task is not None
        together = case.tolerance is not None or isinstance(case.task, TextTask)
        against = case.reference.sha256 if case.reference else ""
        key = (case.task.sha256, against) if together else (case_id(case, ""),)
        groups.setdefault(key, []).append(case)
    for group in groups.values():
        if isinstance(group[0].task, TextTask):
            _diverge(stage, group)
        elif group[0].tolerance is not None:
            Contest(stage, group).run()
        else:
            _run(Active(group[0], stage), _answer)


def _run(one: Active, action: Action) -> None:
    try:
        one.step(action)
        one.finish()
    finally:
        one.close()


class Action(Protocol):
    """A part of a case."""

    def __call__(self, one: Active) -> None:
        """Do it; raise WorkerError where it fails."""
        ...


def task_of(case: Case) -> Task:
    """Return the case's task of items."""
    assert isinstance(case.task, Task)
    return case.task


# items


def _answer(one: Active) -> None:
    task = task_of(one.case)
    open_for(one, task)
    results, skipped = ask(one, task)
    conclude(one, results, skipped)


def open_for(one: Active, task: Task) -> None:
    """Load the artifact with room for the task's longest item."""
    longest = max(
        max(len(context.encode()) for context in item.contexts)
        + max((len(text.encode()) for text in item.continuations), default=0)
        for item in task.items
    )
    needed = int(longest / BYTES_A_TOKEN)
    if task.items[0].answers:
        needed += task.generation.max_tokens + 256  # and the chat template's own words
        limit = one.case.artifact.context_length or needed
        one.open(context=min(max(SCORE_CONTEXT, _rounded(needed)), limit), sequences=1)
    else:
        one.open(context=max(SCORE_CONTEXT, _rounded(needed)), sequences=SCORE_SEQUENCES)


def _rounded(tokens: int) -> int:
    return -(-tokens // 256) * 256


def ask(one: Active, task: Task) -> tuple[list[ItemResult], list[Skip]]:
    """Ask the worker for items' answers; raise WorkerError where it answers something else."""
    result = one.ask(ScoreTask(task=task))
    if not isinstance(result, ScoreResult):
        raise _confused()
    told = [*(item.id for item in result.items), *(skip.id for skip in result.skipped)]
    if sorted(told) != sorted(item.id for item in task.items):
        raise _confused()
    one.warnings = tuple(dict.fromkeys((*one.warnings, *result.warnings)))
    one.memory, one.after = result.memory, result.after
    return list(result.items), list(result.skipped)


def _confused() -> WorkerError:
    message = "the worker answered other items than it was asked for"
    return WorkerError("failed", RunError(type="ProtocolError", message=message))


def conclude(
    one: Active,
    results: Sequence[ItemResult],
    skipped: Sequence[Skip],
    race: RaceResult | None = None,
) -> None:
    """Make the case's accuracy of its answers."""
    task = task_of(one.case)
    if not results:
        why = skipped[0].reason if skipped else "none was asked for"
        message = f"no item of {task.name} could be answered: {why}"
        raise WorkerError("failed", RunError(type="NoItems", message=message))
    accuracy = accuracy_of(task, results, skipped)
    asked = len(results) + len(skipped)
    population = len(task.items) if asked < len(task.items) else None
    one.accuracy = accuracy.model_copy(update={"race": race, "population": population})
    told = (*task.warnings, *skip_warnings(accuracy.skipped))
    one.warnings = (*one.warnings, *(f"{task.name}: {warning}" for warning in told))


# text


def _diverge(stage: Stage, cases: Sequence[Case]) -> None:
    """Compare levels with their reference, which is read first."""
    ordered = sorted(cases, key=lambda case: not _is_reference(case))
    for case in ordered:
        _run(Active(case, stage), lambda one: _compare(one, stage))


def _is_reference(case: Case) -> bool:
    return case.reference is not None and case.artifact.sha256 == case.reference.sha256


def _compare(one: Active, stage: Stage) -> None:
    result = _ask_to_compare(one)
    if result.divergence is None:
        # The reference's run is stored, but what was kept of it is not here any more.
        _remake(one, stage)
        result = _ask_to_compare(one)
    if result.divergence is None:
        message = "the reference's distributions were not kept"
        raise WorkerError("failed", RunError(type="NoReference", message=message))
    one.divergence = result.divergence
    one.warnings, one.memory, one.after = result.warnings, result.memory, result.after


def _remake(one: Active, stage: Stage) -> None:
    reference = one.case.reference
    assert reference is not None
    runtime = FORMATS[reference.format]
    maker = Active(replace(one.case, artifact=reference, runtime=runtime), stage)
    try:
        maker.step(_ask_to_compare, quiet=True)
    finally:
        maker.close()
    _need(maker, reference)


def _ask_to_compare(one: Active) -> DivergenceResult:
    task, reference = one.case.task, one.case.reference
    assert isinstance(task, TextTask)
    assert reference is not None
    if not one.is_open:
        limit = one.case.artifact.context_length or TEXT_CONTEXT
        one.open(context=min(TEXT_CONTEXT, limit), sequences=TEXT_SEQUENCES)
    result = one.ask(
        CompareText(
            task=task,
            key=_reference_key(one.case),
            reference=reference.name,
            reference_sha256=reference.sha256,
            make=_is_reference(one.case),
        )
    )
    if not isinstance(result, DivergenceResult):
        raise _confused()
    return result


def _reference_key(case: Case) -> str:
    """Name what the reference's distributions depend on."""
    reference, task = case.reference, case.task
    assert isinstance(task, TextTask)
    assert reference is not None
    runtime = FORMATS[reference.format]
    what = [
        [reference.sha256, *sorted(reference.files.values())], [runtime, runtime_version(runtime)],
        task.sha256, task.chunks, case.settings.model_dump(),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


def _need(maker: Active, reference: Artifact) -> None:
    if maker.failure:
        message = f"the reference {reference.name} failed: {maker.failure.error.message}"[:5000]
        raise WorkerError("failed", RunError(type="NoReference", message=message))


# races


class Contest:
    """Levels that race against one reference: each answers items until its race is decided.

    Items come in one random order for all, so the reference answers as many as the longest race.
    """

    def __init__(self, stage: Stage, cases: Sequence[Case]) -> None:
        self._stage = stage
        self._task = task_of(cases[0])
        reference = cases[0].reference
        assert reference is not None
        self._reference = reference
        self._levels = [case for case in cases if not _is_reference(case)]
        own = [case for case in cases if _is_reference(case)]
        case = replace(cases[0], artifact=reference, runtime=FORMATS[reference.format])
        self._is_wanted = bool(own)
        self._answers: dict[str, ItemResult] = {}
        self._skips: dict[str, Skip] = {}
        self._first = Active(own[0] if own else case, stage)
        self._recall(case)
        self._alpha = race_alphas(max(1, cases[0].rivals))[0]
        self._order = list(self._task.items)
        random.Random(RACE_SEED).shuffle(self._order)

    def _recall(self, case: Case) -> None:
        """Take the reference's answers of a run that is stored."""
        run = self._stage.stored.get(case_id(case, runtime_version(case.runtime)))
        if run and run.accuracy:
            self._answers = {item.id: item for item in run.accuracy.items}
            self._skips = {skip.id: skip for skip in run.accuracy.skipped}

    def run(self) -> None:
        """Race all levels, then store what the reference answered for them."""
        try:
            for case in self._levels:
                _run(Active(case, self._stage), self._race)
            if self._is_wanted:
                self._first.step(self._conclude_reference)
                self._first.finish()
        finally:
            self._first.close()

    def _conclude_reference(self, one: Active) -> None:
        if not self._levels:
            self._reference_answers(self._order)
        known = [item.id for item in self._task.items]
        answers = [self._answers[name] for name in known if name in self._answers]
        conclude(one, answers, [self._skips[name] for name in known if name in self._skips])

    def _race(self, one: Active) -> None:
        tolerance = one.case.tolerance
        assert tolerance is not None
        open_for(one, self._task)
        results: dict[str, ItemResult] = {}
        skips: dict[str, Skip] = {}
        race = Race(tolerance, self._alpha, len(self._order))
        for start in range(0, len(self._order), RACE_ITEMS):
            items = self._order[start : start + RACE_ITEMS]
            mine, left_out = ask(one, self._task.model_copy(update={"items": tuple(items)}))
            results.update((result.id, result) for result in mine)
            skips.update((skip.id, skip) for skip in left_out)
            self._reference_answers(items)
            asked = self._order[: start + len(items)]
            race = self._judged(tolerance, asked, results)
            self._stage.observer.ticked(one.case, len(asked), len(self._order))
            if race.verdict != "open":
                break
        known = [item.id for item in self._task.items]
        conclude(
            one,
            [results[name] for name in known if name in results],
            [skips[name] for name in known if name in skips],
            self._told(race, tolerance) if race.n else None,
        )

    def _reference_answers(self, items: Sequence[Item]) -> None:
        """Let the reference answer those of the items that it has not answered yet."""
        wanted = [i for i in items if i.id not in self._answers and i.id not in self._skips]
        if wanted:
            task = self._task.model_copy(update={"items": tuple(wanted)})
            self._first.step(lambda one: self._ask_reference(one, task), quiet=True)
        _need(self._first, self._reference)

    def _ask_reference(self, one: Active, task: Task) -> None:
        if not one.is_open:
            open_for(one, self._task)
        answers, skips = ask(one, task)
        self._answers.update((answer.id, answer) for answer in answers)
        self._skips.update((skip.id, skip) for skip in skips)

    def _judged(
        self, tolerance: float, asked: Sequence[Item], results: Mapping[str, ItemResult]
    ) -> Race:
        """Judge anew over all items so far: what either left out is no part of the population."""
        both = [item.id for item in asked if item.id in results and item.id in self._answers]
        race = Race(tolerance, self._alpha, len(self._order) - len(asked) + len(both))
        race.update([float(results[i].correct) - float(self._answers[i].correct) for i in both])
        return race

    def _told(self, race: Race, tolerance: float) -> RaceResult:
        words = {
            "within": f"it loses at most {100 * tolerance:g} points against the reference",
            "outside": f"it loses more than {100 * tolerance:g} points against the reference",
            "open": "the items ended before the race was decided",
        }
        return RaceResult(
            reference=self._reference.name,
            tolerance=tolerance,
            verdict=race.verdict,
            items=race.n,
            population=len(self._order),
            bounds=race.bounds,
            reason=f"after {race.n} of {len(self._order)} items: {words[race.verdict]}",
        )

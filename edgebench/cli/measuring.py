"""`pick --measure`: measure on this machine what would decide, for as long as the budget lasts.

Knows how a wanted measurement becomes cases, where their runs are stored, and who watches.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.analyze.advice import Measure, place, with_output
from edgebench.analyze.decision import Next, Pick
from edgebench.analyze.rows import Row, summarize
from edgebench.analyze.worth import LAST_SHARE, MOST_LOOKS, Worth, changes, worths
from edgebench.errors import EdgebenchError
from edgebench.plan.cases import Case, ItemsCase, Race, SpeedCase, Subject, TextCase
from edgebench.plan.forecast import Forecast
from edgebench.plan.workloads import parse_workload
from edgebench.records.base import safe_name
from edgebench.records.run import Run
from edgebench.records.task import Task, TextTask
from edgebench.run.bench import Bench
from edgebench.run.deciding import Decided, Measuring, Outlook, decide_by_measuring
from edgebench.run.resume import begun, is_here
from edgebench.run.store import Store
from edgebench.run.sweep import run_cases
from edgebench.stats.selection import ALPHA

if TYPE_CHECKING:
    from edgebench.analyze.compare import Group
    from edgebench.records.artifact import Artifact

DEFAULT_S = 20 * 60.0
RETRIES = 2  # of launches that other programs disturbed, as profile has it
TIMEOUT_S = 900.0
INTERRUPTED = 130
METERS: tuple[tuple[str, ...], ...] = (("auto",), ("none",))

# Rows, and how often their launches are looked at as they grow -> the tables and the pick.
Ask = Callable[[Sequence[Row], int], "tuple[Sequence[Group], Pick]"]


@dataclass(frozen=True)
class Wanted:
    """Where runs are read, the devices that are picked for, and how long it may take."""

    paths: Sequence[Path]
    devices: Sequence[str]
    budget_s: float
    strict: bool = False


def measure_and_decide(ask: Ask, wanted: Wanted) -> Decided[Pick]:
    """Decide, measure what would decide, and decide again, until the budget is spent.

    Raises DeviceError where none of the devices is this machine.
    """
    from edgebench.cli.stored import chosen_rows, stored_runs

    runs = stored_runs(wanted.paths, wanted.strict).runs
    chosen_rows(summarize(runs), wanted.devices)  # says so where there are none
    bench = _bench(wanted.devices)
    store = Store(output_of(wanted.paths), bench.device.name)
    store.prepare()
    return _Sitting(ask, wanted, runs, bench, store).decide()


def show(done: Decided[Pick], as_json: bool, explain: bool) -> None:
    """Print the decision and what was done for it."""
    from edgebench.report.picks import pick_lines
    from edgebench.report.steps import step_lines, steps_json

    if as_json:
        told = done.pick.model_dump(mode="json") | {"measured": steps_json(done)}
        click.echo(json.dumps(told, allow_nan=False))
        return
    for line in [*pick_lines(done.pick, explain), *step_lines(done)]:
        click.echo(line)


def output_of(paths: Sequence[Path]) -> Path:
    """Return the folder that profile's --output would name for runs that were read from paths."""
    if not paths:
        return Path("profiles")
    folder = paths[0] if paths[0].is_dir() else paths[0].parent
    is_of_device = any(folder.glob("*.jsonl")) and folder.name != "profiles"
    return folder.parent if is_of_device else folder


def advise_output(decision: Pick, paths: Sequence[Path]) -> Pick:
    """Return the pick with commands that store where its runs were read."""
    output = output_of(paths)
    if output == Path("profiles"):
        return decision

    def told(question: Next) -> Next:
        if question.advice is None:
            return question
        return question.model_copy(update={"advice": with_output(question.advice, str(output))})

    return decision.model_copy(
        update={
            name: tuple(told(question) for question in getattr(decision, name))
            for name in ("measure_next", "left_open")
        }
    )


def _bench(devices: Sequence[str]) -> Bench:
    """Start a worker and let it say which of the devices this is; raise where it is none."""
    from edgebench.cli.places import greet, local_transport
    from edgebench.cli.profile import _Nobody, _nowhere
    from edgebench.errors import DeviceError
    from edgebench.plan.devices import load_registry

    registry = load_registry()
    transport = local_transport()
    hello = greet(transport)
    problem: DeviceError | None = None
    for name in devices:
        registry.check(name)
        try:
            device = registry.resolve(name, hello)
        except DeviceError as error:
            problem = problem or error
            continue
        return Bench(transport, device, hello, _nowhere, _Nobody(), TIMEOUT_S)
    raise problem or DeviceError("no device was named")


@dataclass
class _Sitting:
    """What is stored, and what is measured on top."""

    ask: Ask
    wanted: Wanted
    runs: list[Run]
    bench: Bench
    store: Store
    rows: dict[str, Row] = field(default_factory=dict)
    looks: Counter[tuple[object, ...]] = field(default_factory=Counter)
    found: dict[str, Artifact | None] = field(default_factory=dict)
    tasks: dict[str, Task | TextTask | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Learn how long things take here of what is stored."""
        here = [run for run in self.runs if is_here(run.device, self.bench.device_info)]
        self.forecast = Forecast(self.bench.hello.compute_cores).learn(here, ())

    def decide(self) -> Decided[Pick]:
        """Go on until it is decided or the budget is spent."""
        measuring = Measuring(self._outlook, self._measure, changes)
        return decide_by_measuring(measuring, self.wanted.budget_s)

    def _outlook(self) -> Outlook[Pick, Worth]:
        from edgebench.cli.stored import chosen_rows

        rows = chosen_rows(summarize(self.runs), self.wanted.devices)
        groups, decision = self.ask(rows, MOST_LOOKS)
        self.rows = {row.key: row for group in groups for row in group.rows}
        most = {case for case, count in self.looks.items() if count >= _most(case)}
        offers = worths(groups, decision, self._guess, most)
        where = output_of(self.wanted.paths)
        offers = [replace(offer, command=_with(offer.command, where)) for offer in offers]
        told = advise_output(decision, self.wanted.paths)
        return Outlook(told, decision.decision != "undecided", offers)

    def _guess(self, measure: Measure) -> float | None:
        cases = self._cases(measure)
        return sum(self.forecast.case_s(case) for case in cases) if cases else None

    def _measure(self, offer: Worth) -> None:
        from edgebench.cli.progress import SweepProgress, bar

        self.looks[offer.case] += 1
        cases = self._cases(offer.measure)

        def keep(run: Run) -> None:
            self.store.append(run)
            self.runs.append(run)

        with bar() as shown:
            shown.say(offer.command)
            running = replace(
                self.bench,
                store=keep,
                observer=SweepProgress(shown, cases, self.forecast),
                stored=self._references(cases),
                begun=begun(self.runs, cases, self.bench),
            )
            run_cases(cases, running, RETRIES)

    # what is wanted -> cases

    def _cases(self, measure: Measure) -> list[Case]:
        """Return a measurement's cases; none where it can't be made on this machine."""
        rows = [self.rows[key] for key in measure.rows]
        if not all(self._is_here(row) and self._artifact(row) for row in rows):
            return []
        if measure.workload:
            return list(self._speed(rows[0], measure))
        cases: list[Case] = []
        for name in measure.tasks:
            task = self._task(name)
            if task is None:
                return []
            cases += self._answers(rows, task, measure)
        return cases

    def _is_here(self, row: Row) -> bool:
        machine = self.bench.hello.device.machine
        is_named = row.device.name == self.bench.device.name
        return is_named and (row.device.machine in (None, machine))

    def _artifact(self, row: Row) -> Artifact | None:
        """Return a row's artifact as it lies there, if it is the one that was measured."""
        from edgebench.sources.artifacts import find_artifacts

        if row.content not in self.found:
            try:
                named = find_artifacts([Path(place(row))])
            except EdgebenchError:
                named = []
            alike = (it for it in named if it.sha256 == row.artifact.sha256)
            self.found[row.content] = next(alike, None)
        return self.found[row.content]

    def _subject(self, row: Row) -> Subject:
        return Subject(self._artifact(row) or row.artifact, self.bench.device.name, row.settings)

    def _speed(self, row: Row, measure: Measure) -> Iterator[Case]:
        launches = measure.launches or 1
        workload = row.workload or parse_workload(measure.workload or "chat", 1, launches)
        if workload is None:
            return
        wanted = workload.model_copy(update={"launches": launches})
        cases = [SpeedCase(self._subject(row), wanted, meters) for meters in METERS]
        stored = {run.case_id for run in self.runs}
        begun_ones = [case for case in cases if self.bench.case_id(case) in stored]
        yield (begun_ones or cases)[0]

    def _answers(self, rows: Sequence[Row], task: Task | TextTask, measure: Measure) -> list[Case]:
        subjects = [self._subject(row) for row in rows]
        if isinstance(task, TextTask):
            reference = subjects[-1].artifact
            return [TextCase(subject, task, reference) for subject in subjects]
        if measure.tolerance is None:
            return [
                ItemsCase(subject, task)
                for subject, row in zip(subjects, rows, strict=True)
                if not self._answered(row, task)
            ]
        rivals = max(1, round(ALPHA / measure.alpha))
        race = Race(subjects[-1].artifact, measure.tolerance, rivals, LAST_SHARE)
        wanted = subjects[:1] if self._answered(rows[-1], task) else subjects
        return [ItemsCase(subject, task, race) for subject in wanted]

    def _answered(self, row: Row, task: Task) -> bool:
        """Return whether a row answered every item of this very version of a task."""
        figures = row.task(task.name)
        return bool(figures and figures.task_sha256 == task.sha256 and figures.population is None)

    def _references(self, cases: Sequence[Case]) -> dict[str, Run]:
        """Return what a race's reference has answered, whether in a race or not, by case id."""
        told: dict[str, Run] = {}
        for case in cases:
            if not (isinstance(case, ItemsCase) and case.race):
                continue
            own = replace(case, subject=replace(case.subject, artifact=case.race.reference))
            for run in self.runs:
                is_it = run.artifact.sha256 == case.race.reference.sha256
                answers = run.accuracy
                same = answers is not None and answers.task_sha256 == case.task.sha256
                if is_it and same and run.status == "ok" and run.settings == own.subject.settings:
                    told[self.bench.case_id(own)] = run
        return told

    def _task(self, name: str) -> Task | TextTask | None:
        """Return a task by the name that runs have of it; None where its file isn't known."""
        if name not in self.tasks:
            self.tasks[name] = self._loaded(name)
        return self.tasks[name]

    def _loaded(self, name: str) -> Task | TextTask | None:
        from edgebench.tasks.load import BUILT_IN, load_task

        beside = Path(f"{safe_name(name)}.yaml")
        typed = name if name in BUILT_IN else str(beside) if beside.is_file() else None
        if typed is None:
            return None
        try:
            task = load_task(typed)
        except EdgebenchError:
            return None
        sums = {it.task_sha256 for row in self.rows.values() for it in row.tasks if it.task == name}
        return task if not sums or task.sha256 in sums or isinstance(task, TextTask) else None


def _most(case: tuple[Any, ...]) -> int:
    """Return how often a case may be measured: launches are added to, answers are not."""
    return MOST_LOOKS - 1 if case[1] else 1


def _with(command: str, output: Path) -> str:
    return (
        command if output == Path("profiles") else f"{command} --output {shlex.quote(str(output))}"
    )

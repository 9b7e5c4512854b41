"""Progress on stderr: a bar on a terminal, plain lines elsewhere.

The bar is drawn when something happens and never by a thread: nothing runs beside a measurement.
What is left is forecast anew with each case that has ended.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from edgebench.plan.cases import Case, ItemsCase, SpeedCase, settings_words
from edgebench.plan.forecast import Due, Forecast
from edgebench.records.base import clean
from edgebench.records.run import Run
from edgebench.report.format import duration, number
from edgebench.report.notes import sustained_words

WIDE = 100  # columns that a long bar needs
TRUSTED = 0.25  # of a case: once so much is done, its own pace tells how long it takes


class Bar(Protocol):
    """A bar that is told where it stands."""

    def at(self, text: str, done: float, total: float) -> None:
        """Show a text and a position."""
        ...

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        ...


class _Terminal:
    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.table import Column

        console = Console(stderr=True)
        words = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=words),
            *([BarColumn(bar_width=24)] if console.width >= WIDE else []),
            TextColumn("{task.percentage:>3.0f} %", table_column=Column(min_width=5)),
            TimeElapsedColumn(table_column=Column(min_width=7)),
            console=console,
            expand=True,
            auto_refresh=False,
            transient=True,
        )
        self._task = self.progress.add_task("", total=1)

    def at(self, text: str, done: float, total: float) -> None:
        self.progress.update(self._task, description=text, completed=done, total=total)
        self.progress.refresh()

    def say(self, line: str) -> None:
        self.progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Lines:
    def at(self, text: str, done: float, total: float) -> None:
        """Say nothing: a log needs no bar."""

    def say(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


@contextmanager
def bar() -> Iterator[Bar]:
    """Give a bar where stderr is a terminal, and plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    terminal = _Terminal()
    with terminal.progress:
        yield terminal


@dataclass
class _Course:
    """How far a case is, what it took in this call, and its place in the order of beginning."""

    case: Case
    begun: float  # the share that was stored before
    share: float
    spent_s: float = 0.0
    parts: tuple[int, int] | None = None
    place: int = 0
    has_ended: bool = False

    def left_s(self, forecast: Forecast) -> float:
        """Return about the seconds that are left: by its own pace the more of it is done."""
        if self.has_ended:
            return 0.0
        here = self.share - self.begun
        total_s = forecast.case_s(self.case)
        if here > 0:
            trust = min(1.0, here / TRUSTED)
            total_s = trust * self.spent_s / here + (1 - trust) * total_s
        return (1 - self.share) * total_s

    @property
    def words(self) -> str:
        """Name the part that is at work: launch 2 of 5, items 120 of 300."""
        if self.parts is None:
            return ""
        done, total = self.parts
        if isinstance(self.case, SpeedCase):
            if self.case.workload.duration_s is not None:
                return f", {duration(done)} of {duration(total)}"
            return f", launch {done} of {total}"
        return f", {'items' if isinstance(self.case, ItemsCase) else 'chunks'} {done} of {total}"


class SweepProgress:
    """Shows a sweep case by case: which one, how far, and about how long all others will take."""

    def __init__(
        self,
        shown: Bar,
        dues: Sequence[Case | Due],
        forecast: Forecast | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bar, self._clock = shown, clock
        self._forecast = forecast or Forecast()
        self._courses: dict[tuple[object, ...], _Course] = {}
        cases = [due.case if isinstance(due, Due) else due for due in dues]
        self._words = settings_words(cases)
        self._is_one_model = len({case.subject.artifact.model for case in cases}) == 1
        for due in dues:
            case, launches = (due.case, due.launches) if isinstance(due, Due) else (due, 0)
            begun = launches / case.workload.launches if isinstance(case, SpeedCase) else 0.0
            self._courses[_key(case)] = _Course(case, begun, begun)
        self._begin = self._last = clock()
        self._begun = self._ended = 0

    def started(self, case: Case) -> None:
        """Name the case that runs now."""
        course = self._turn(case, is_over=False)
        if isinstance(case, SpeedCase) and case.workload.duration_s is None:
            total = case.workload.launches
            course.parts = (min(round(course.share * total) + 1, total), total)
        self._show(course)

    def ticked(self, case: Case, done: int, total: int) -> None:
        """Count a part of a case."""
        course = self._turn(case)
        course.share = min(1.0, done / max(total, 1))
        course.parts = (done, total)
        self._show(course)

    def ended(self, case: Case, run: Run) -> None:
        """Print the case's main figure, or why it has none, and where the sweep stands."""
        course = self._turn(case)
        course.share, course.has_ended = 1.0, True
        self._ended += 1
        if run.status == "ok":
            self._forecast.learn_case(case, run)
        name = self._name(case)
        told = f"{name:<16} {_outcome(run)}  ({duration(run.wall_s)}; {self._standing()})"
        self._bar.say(clean(told))

    @property
    def left_s(self) -> float:
        """Return about the seconds that are left."""
        return sum(course.left_s(self._forecast) for course in self._courses.values())

    def _turn(self, case: Case, is_over: bool = True) -> _Course:
        """Return a case's course; the time since the last event was its own where it is over."""
        course = self._courses[_key(case)]
        now = self._clock()
        if is_over:
            course.spent_s += now - self._last
        self._last = now
        if not course.place:
            self._begun += 1
            course.place = self._begun
        return course

    def _standing(self) -> str:
        """Say how many cases have ended, how long that took and about how long the others will."""
        gone = f"{duration(self._clock() - self._begin)} gone"
        ended = f"case {self._ended} of {len(self._courses)}"
        left = f", about {duration(self.left_s)} left" if self.left_s >= 1 else ""
        return f"{ended}, {gone}{left}"

    def _name(self, case: Case) -> str:
        """Name a case by its level, or artifact of several models, its work and settings."""
        artifact = case.subject.artifact
        name = artifact.level if self._is_one_model else artifact.name
        words = self._words.get(case.subject.settings)
        return " ".join(filter(None, (name, case.work, words)))

    def _show(self, course: _Course) -> None:
        name = clean(self._name(course.case), 60)
        place = f"case {course.place} of {len(self._courses)}{course.words}"
        left = f"about {duration(self.left_s)} left"
        costs = [
            (other.share, self._forecast.case_s(other.case)) for other in self._courses.values()
        ]
        done = sum(share * cost for share, cost in costs)
        self._bar.at(f"{place}, {left}: {name}", done, sum(cost for _, cost in costs))


def _key(case: Case) -> tuple[object, ...]:
    """Return what tells a case from others of its sweep: its content, since names may be alike."""
    return case.subject.artifact.sha256, case.work, case.subject.settings


def _outcome(run: Run) -> str:
    if run.status != "ok":
        return f"{run.status}: {run.error.message if run.error else 'no reason given'}"
    if run.speed:
        if run.speed.sustained:
            return sustained_words(run.speed.sustained)
        prefill, decode = run.speed.prefill.tokens_per_s, run.speed.decode.tokens_per_s
        return f"prefill {number(prefill.value)} tok/s, decode {number(decode.value)} tok/s"
    if run.accuracy:
        race = f"; {run.accuracy.race.verdict}" if run.accuracy.race else ""
        return f"accuracy {100 * run.accuracy.value.value:.1f} % of {run.accuracy.n} items{race}"
    if run.divergence:
        far, perplexity = run.divergence.mean_kld, run.divergence.perplexity
        words = f"KL divergence {number(far.value)}" if far else "the reference"
        beyond = "beyond any number" if perplexity is None else number(perplexity)
        return f"{words}, perplexity {beyond}"
    return f"ok, without {', '.join(run.absent)}" if run.absent else "ok"

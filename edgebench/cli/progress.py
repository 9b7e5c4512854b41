"""Progress on stderr: a bar on a terminal, plain lines elsewhere.

The bar is drawn when something happens and never by a thread: nothing runs beside a measurement.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from edgebench.plan.cases import Case
from edgebench.plan.planner import estimate_s
from edgebench.records.base import clean
from edgebench.records.run import Run
from edgebench.report.format import duration, number


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

        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
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


class SweepProgress:
    """Shows a sweep case by case; the length of a case is its estimate in seconds."""

    def __init__(self, shown: Bar, cases: Sequence[Case]) -> None:
        self._bar = shown
        self._costs = {_key(case): estimate_s(case) for case in cases}
        self._done: dict[tuple[object, ...], float] = {}

    def started(self, case: Case) -> None:
        """Name the case that runs now."""
        self._show(case)

    def ticked(self, case: Case, done: int, total: int) -> None:
        """Count a part of a case."""
        self._done[_key(case)] = self._costs[_key(case)] * done / max(total, 1)
        self._show(case)

    def ended(self, case: Case, run: Run) -> None:
        """Print the case's main figure, or why it has none."""
        self._done[_key(case)] = self._costs[_key(case)]
        name = f"{run.artifact.level} {case.work}"
        self._bar.say(clean(f"{name:<16} {_outcome(run)}  ({duration(run.wall_s)})"))

    def _show(self, case: Case) -> None:
        name = f"{case.subject.artifact.level} {case.work}"
        self._bar.at(clean(name, 24), sum(self._done.values()), sum(self._costs.values()))


def _key(case: Case) -> tuple[object, ...]:
    """Return what tells a case from others of its sweep: its content, since names may be alike."""
    return case.subject.artifact.sha256, case.work, case.subject.settings


def _outcome(run: Run) -> str:
    if run.status != "ok":
        return f"{run.status}: {run.error.message if run.error else 'no reason given'}"
    if run.speed:
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

"""Let an artifact answer the items of a task.

Knows how large a context a task needs, and what becomes of answers. Workers score, this doesn't.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgebench.figures.absent import Absent
from edgebench.figures.accuracy import accuracy_of, skip_warnings
from edgebench.plan.cases import ItemsCase
from edgebench.records.accuracy import ItemResult, RaceResult, Skip
from edgebench.records.device import Conditions, Snapshot
from edgebench.records.messages import ScoreResult, ScoreTask
from edgebench.records.speed import Memory
from edgebench.records.task import Item, Task
from edgebench.run.bench import Bench
from edgebench.run.case import CaseRun, Figures, confused
from edgebench.run.transports import WorkerError

SCORE_SEQUENCES = 65  # one holds what all items share, 64 are scored side by side
SCORE_CONTEXT = 2048
BYTES_A_TOKEN = 2.5  # few texts have shorter tokens; decides how large a context is asked for
TEMPLATE_TOKENS = 256  # what a chat template adds


def answer_items(case: ItemsCase, bench: Bench) -> None:
    """Let an artifact answer all items of its task, and store the run."""
    run = CaseRun(case, bench)
    answers = Answers(run, case.task)
    try:
        run.step(lambda: answers.ask(case.task.items))
        answers.store()
    finally:
        run.close()


@dataclass
class Answers:
    """An artifact's answers to a task so far, by item."""

    run: CaseRun
    task: Task
    results: dict[str, ItemResult] = field(default_factory=dict)
    skips: dict[str, Skip] = field(default_factory=dict)
    warnings: dict[str, None] = field(default_factory=dict)
    memory: Memory | None = None
    after: Snapshot = field(default_factory=Snapshot)
    absent: Absent = field(default_factory=Absent)

    def ask(self, items: Sequence[Item]) -> None:
        """Have items answered that were not yet; raise WorkerError where that fails."""
        new = [item for item in items if item.id not in self.results and item.id not in self.skips]
        if not new:
            return
        if not self.run.is_open:
            self._open()
        part = Task.model_validate(dict(self.task) | {"items": tuple(new)})
        result = self.run.ask(ScoreTask(task=part), ScoreResult)
        told = [*(answer.id for answer in result.items), *(skip.id for skip in result.skipped)]
        if sorted(told) != sorted(item.id for item in new):
            raise confused()
        self.results.update((answer.id, answer) for answer in result.items)
        self.skips.update((skip.id, skip) for skip in result.skipped)
        self.warnings.update(dict.fromkeys(result.warnings))
        self.memory, self.after = result.memory, result.after

    def _open(self) -> None:
        self.run.open(self.context, 1 if self.task.generates else SCORE_SEQUENCES)

    @property
    def context(self) -> int:
        """Return the KV cells that the task's longest item needs, as far as the model has them."""
        needed = int(max(_longest(item) for item in self.task.items) / BYTES_A_TOKEN)
        if self.task.generates:
            needed += self.task.generation.max_tokens + TEMPLATE_TOKENS
        limit = self.run.case.subject.artifact.context_length
        context = max(SCORE_CONTEXT, _rounded(needed))
        return min(context, limit) if limit else context

    def store(self, race: RaceResult | None = None) -> None:
        """Make the case's accuracy of the answers, and store its run."""
        figures = Figures(answers=self._answered())
        if not self.run.failure:
            try:
                figures = self._figures(race)
            except WorkerError as error:
                self.run.failure = error
        self.run.store(figures)

    def _figures(self, race: RaceResult | None) -> Figures:
        results = self._answered()
        skips = [self.skips[item.id] for item in self.task.items if item.id in self.skips]
        if not results:
            why = skips[0].reason if skips else "none was asked for"
            message = f"no item of {self.task.name} could be answered: {why}"
            raise WorkerError.of("failed", "NoItems", message)
        absent, task = self.absent, self.task
        accuracy = absent.guarded("accuracy", lambda: accuracy_of(task, results, skips, race))
        skipped = absent.guarded("skipped items", lambda: skip_warnings((*task.skipped, *skips)))
        told = (*task.warnings, *(skipped or ()))
        opened = self.run.opened
        return Figures(
            accuracy=accuracy,
            answers=() if accuracy else results,
            absent=absent.reasons,
            memory=self.memory,
            conditions=Conditions(
                before=opened.before if opened else Snapshot(),
                after=self.after,
                # Heat and load move speed; they do not move answers.
                warnings=(
                    *(opened.warnings if opened else ()),
                    *self.warnings,
                    *(f"{self.task.name}: {warning}" for warning in told),
                ),
            ),
        )

    def _answered(self) -> tuple[ItemResult, ...]:
        """Return the answers so far, in the order of the items."""
        items = self.task.items
        return tuple(self.results[item.id] for item in items if item.id in self.results)


def _longest(item: Item) -> int:
    """Return the bytes of an item's longest context and continuation."""
    context = max(len(context.encode()) for context in item.contexts)
    return context + max((len(said.encode()) for said in item.continuations), default=0)


def _rounded(tokens: int) -> int:
    return -(-tokens // 256) * 256

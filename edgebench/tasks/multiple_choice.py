"""Score multiple-choice items by length-normalised log-likelihood.

The choice with the highest log-likelihood per byte of its text is the answer (`acc_norm`, as
lm-evaluation-harness has it). Knows a session's `score` and a tokenizer's `encode` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from edgebench.records import Accuracy, Item, ItemResult, Task
from edgebench.runtimes import Score, Session, Span
from edgebench.stats import proportion_estimate
from edgebench.tasks.text import Text

ITEMS_A_ROUND = 64  # progress is told after each round


def answer(
    session: Session, task: Task, progress: Callable[[int, int], None], text: Text | None = None
) -> tuple[ItemResult, ...]:
    """Answer a task's items in order, tokenized by `text`, or by the session itself."""
    text = text or session
    results: list[ItemResult] = []
    for first in range(0, len(task.items), ITEMS_A_ROUND):
        items = task.items[first : first + ITEMS_A_ROUND]
        scores = iter(session.score([span for item in items for span in spans_of(text, item)]))
        results.extend(_result(item, scores) for item in items)
        progress(len(results), len(task.items))
    return tuple(results)


def spans_of(text: Text, item: Item) -> list[Span]:
    """Tokenize context and choice together, as the model would read them.

    The context's own tokens mark where scoring starts; where a choice's first letters merge with
    the context's last token, that token is scored too.
    """
    start_token = text.start_token()
    prefix = () if start_token is None else (start_token,)
    context = text.encode(item.context)
    spans = []
    for choice in item.choices:
        whole = text.encode(f"{item.context} {choice}")
        start = len(context)
        while start and whole[:start] != context[:start]:
            start -= 1
        start = min(start, len(whole) - 1)
        if not prefix:
            start = max(start, 1)  # nothing predicts the very first token
        spans.append(Span((*prefix, *whole), len(prefix) + start))
    return spans


def _result(item: Item, scores: Iterator[Score]) -> ItemResult:
    taken = [next(scores).loglikelihood for _ in item.choices]
    normalised = [
        score / len(choice.encode()) for score, choice in zip(taken, item.choices, strict=True)
    ]
    chosen = max(range(len(taken)), key=normalised.__getitem__)
    return ItemResult(
        id=item.id,
        correct=chosen == item.gold,
        chosen=chosen,
        loglikelihoods=tuple(round(score, 4) for score in taken),
    )


def accuracy_of(task: Task, results: Sequence[ItemResult]) -> Accuracy:
    """Return the task's accuracy with Wilson's interval, and chance beside it."""
    correct = sum(result.correct for result in results)
    chance = sum(1 / len(item.choices) for item in task.items) / len(task.items)
    return Accuracy(
        task=task.name,
        task_sha256=task.sha256,
        metric=task.metric,
        n=len(results),
        value=proportion_estimate(correct, len(results)),
        chance=chance,
        items=tuple(results),
    )

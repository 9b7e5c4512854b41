"""Answer items by the log-likelihood of their continuations.

Knows a model's `score` and how texts become tokens. Requests are sorted, so that those with a
common beginning stand together, and given to the session in rounds; what the session shares and
packs within a round is its own affair.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edgebench.records.accuracy import ItemResult, Skip
from edgebench.records.spans import Score, Span
from edgebench.records.task import Item, Task
from edgebench.worker.runtimes import Scored
from edgebench.worker.runtimes.packing import common_prefix
from edgebench.worker.score.chat import Prompts

ITEMS_A_ROUND = 64  # progress is told after each round
NOT_FINITE = "the model's likelihood of a continuation isn't a finite number"
LONG_PREFIX = 64  # tokens; a round ends where a prefix this long would be lost to it

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Request:
    """An item's place in its task, and a span for each of its choices."""

    place: int
    item: Item
    spans: tuple[Span, ...]


def answer(
    session: Scored, task: Task, prompts: Prompts, progress: Progress
) -> tuple[list[ItemResult], list[Skip]]:
    """Score a task's items; return results in the task's order, and what was left out."""
    requests, skipped = [], []
    for place, item in enumerate(task.items):
        request = Request(place, item, spans_of(prompts, item, task.metric == "acc_token"))
        reason = _unusable(request, session.info.context)
        if reason:
            skipped.append(Skip(id=item.id, reason=reason))
        else:
            requests.append(request)
    requests.sort(key=lambda request: (request.spans[0].tokens, request.place))
    results: dict[int, ItemResult] = {}
    for part in _rounds(requests):
        scores = iter(session.score([span for request in part for span in request.spans]))
        for request in part:
            taken = [next(scores) for _ in request.spans]
            if all(math.isfinite(score.loglikelihood) for score in taken):
                results[request.place] = _result(task, request, taken)
            else:
                skipped.append(Skip(id=request.item.id, reason=NOT_FINITE))
        progress(len(results) + len(skipped), len(task.items))
    return [results[place] for place in sorted(results)], skipped


def spans_of(prompts: Prompts, item: Item, only_differences: bool = False) -> tuple[Span, ...]:
    """Tokenize each context and continuation together, as the model would read them.

    The context's own tokens mark where scoring starts; where a continuation's first letters merge
    with the context's last token, that token is scored too. With `only_differences`, what all
    choices share is not scored, as llama-perplexity has it.
    """
    spans = []
    for context, continuation in item.pairs:
        start, tokens = prompts.joined(context, continuation)
        spans.append(Span(tokens, min(start, max(1, len(tokens) - 1))))
    if only_differences and len(item.contexts) == 1 and len(spans) > 1:
        shared = min(common_prefix(spans[0].tokens, span.tokens) for span in spans[1:])
        spans = [
            Span(span.tokens, min(max(shared, span.start), len(span.tokens) - 1)) for span in spans
        ]
    return tuple(spans)


def _unusable(request: Request, context: int) -> str | None:
    for span in request.spans:
        if not 0 < span.start < len(span.tokens):
            return "a continuation has no token of its own to score"
        if len(span.tokens) - 1 > context:
            return f"{len(span.tokens)} tokens are longer than the context of {context}"
    return None


def _rounds(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Cut sorted requests into rounds, so that those with a long common beginning stay together."""
    part: list[Request] = []
    shared = 0
    for request in requests:
        tokens = request.spans[0].tokens[: request.spans[0].start]
        common = common_prefix(part[0].spans[0].tokens[:shared], tokens) if part else 0
        lost = shared >= LONG_PREFIX and common < shared / 2 and len(part) > 1
        if part and (len(part) == ITEMS_A_ROUND or lost):
            yield part
            part = []
        shared = common if part else len(tokens)
        part.append(request)
    if part:
        yield part


def _result(task: Task, request: Request, taken: Sequence[Score]) -> ItemResult:
    sums = [score.loglikelihood for score in taken]
    item = request.item
    chosen = (
        None if task.metric == "greedy_match" else _best(item, _normalised(task, request, sums))
    )
    return ItemResult(
        id=item.id,
        correct=taken[0].greedy if chosen is None else chosen == item.gold,
        chosen=chosen,
        loglikelihoods=tuple(round(value, 4) for value in sums),
        cluster=item.cluster,
    )


def _normalised(task: Task, request: Request, sums: Sequence[float]) -> list[float]:
    if task.metric == "acc":
        return list(sums)
    if task.metric == "acc_token":
        lengths = [len(span.tokens) - span.start for span in request.spans]
    else:
        texts = [continuation.strip() for _, continuation in request.item.pairs]
        lengths = [max(1, len(text.encode())) for text in texts]
    return [value / length for value, length in zip(sums, lengths, strict=True)]


def _best(item: Item, values: Sequence[float]) -> int:
    """Return the choice with the highest value; a tie is broken by the item's id, not by place."""
    top = max(values)
    tied = [index for index, value in enumerate(values) if value == top]
    pick = int.from_bytes(hashlib.sha256(item.id.encode()).digest()[:4], "big")
    return tied[pick % len(tied)]

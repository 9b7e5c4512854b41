"""Tasks as they are given to a worker: items to score or to generate, and texts to compare.

Knows their fields and what makes an item whole. Knows nothing of files, prompts or results.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgebench.records.accuracy import Skip
from edgebench.records.base import Count, LongText, Record, Text, Told

Metric = Literal["acc", "acc_norm", "acc_token", "exact_match", "greedy_match"]


class Item(Record):
    """A question of a task, its prompt already rendered.

    Either continuations to score, each after its own context or all after the same one, or (for
    generation) the answers that count. A continuation brings its leading space with it.
    """

    id: Text
    contexts: Annotated[tuple[LongText, ...], Field(min_length=1, max_length=1000)]
    continuations: Annotated[tuple[LongText, ...], Field(max_length=1000)] = ()
    gold: Count = 0
    answers: tuple[Text, ...] = ()
    cluster: Text = Field(default="", description="items that share a context share a cluster")

    @model_validator(mode="after")
    def _is_whole(self) -> Item:
        if self.continuations:
            if 1 not in (len(self.contexts), len(self.continuations)):
                raise ValueError("several contexts take one continuation")
            if not all(self.continuations):
                raise ValueError("a continuation is empty")
            if self.gold >= len(self.pairs):
                raise ValueError(f"gold is {self.gold}, but there are {len(self.pairs)} choices")
        elif len(self.contexts) != 1 or not self.answers:
            raise ValueError("an item without continuations has one context, and answers")
        return self

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Return each context and continuation to score, in the order of the choices."""
        if len(self.contexts) > 1:
            return [(context, self.continuations[0]) for context in self.contexts]
        return [(self.contexts[0], continuation) for continuation in self.continuations]


class Generation(Record):
    """How an answer is generated and read: greedy, to a stop string or a number of tokens."""

    stop: Annotated[tuple[Annotated[Text, Field(min_length=1)], ...], Field(max_length=50)] = ()
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] = 256
    answer_pattern: Annotated[str, Field(max_length=1000)] | None = None
    normalise: Literal["none", "squad"] = "none"
    end_of_thought: Annotated[tuple[Text, ...], Field(max_length=10)] = ("</think>",)


class Task(Record):
    """An accuracy measurement: items, and the metric that scores them."""

    name: Text
    metric: Metric
    items: Annotated[tuple[Item, ...], Field(min_length=1)]
    sha256: Text
    chat: bool = Field(default=False, description="render each prompt by the chat template")
    generation: Generation = Generation()
    skipped: tuple[Skip, ...] = Field(default=(), description="left out when the task was loaded")
    warnings: tuple[Told, ...] = ()

    @property
    def generates(self) -> bool:
        """Return whether items are answered by generation, and not by likelihoods."""
        return bool(self.items[0].answers)

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Task:
        if len({bool(item.answers) for item in self.items}) > 1:
            raise ValueError("some items have continuations and others answers")
        return self


class TextTask(Record):
    """A text over which levels' next-token distributions are compared with the reference's."""

    name: Text
    text: Annotated[str, Field(min_length=1, max_length=16_000_000)]
    sha256: Text
    chunks: Annotated[int, Field(ge=2, le=100_000)] = 64

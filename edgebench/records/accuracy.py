"""The results of tasks: items' answers, races, accuracy, divergence."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgebench.records.base import (
    Count,
    Figure,
    Positive,
    Real,
    Record,
    Share,
    ShareFigure,
    Text,
    Told,
)


class Skip(Record):
    """An item that was not answered, and why."""

    id: Text
    reason: Told


class ItemResult(Record):
    """One item's answer: the choice taken and the log-likelihood of each, or what was generated."""

    id: Text
    correct: bool
    chosen: Count | None = None
    loglikelihoods: tuple[Real, ...] = ()
    answer: Text | None = None
    cluster: Text = ""


class RaceResult(Record):
    """Where a race against the reference stopped, and why."""

    reference: Text = Field(description="the reference artifact's name")
    tolerance: Share
    verdict: Literal["within", "outside", "open"]
    items: Count
    population: Count
    bounds: Figure = Field(description="of the mean difference, valid at any stopping time")
    about: Literal["list", "model"] = Field(
        default="list", description="what the verdict is about; before 0.2: these items alone"
    )
    last_share: Annotated[float, Field(ge=0.001, le=0.999)] = Field(
        default=0.2, description="of the chance of error, kept for the look at all items"
    )
    reason: Told


class Accuracy(Record):
    """A task's result, with every item."""

    task: Text
    task_sha256: Text
    metric: Text
    n: Annotated[Count, Field(ge=1)]
    value: ShareFigure
    chance: Share
    majority: Share | None = Field(
        default=None, description="what the most frequent answer alone gets, where choices repeat"
    )
    items: tuple[ItemResult, ...]
    skipped: tuple[Skip, ...] = ()
    population: Count | None = Field(
        default=None, description="the task's items, where a race left some of them unasked"
    )
    race: RaceResult | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> Accuracy:
        if self.n != len(self.items):
            raise ValueError(f"n is {self.n}, but there are {len(self.items)} items")
        return self


class Divergence(Record):
    """How far a level's next-token distributions lie from the reference's, over shared chunks."""

    reference: Text = Field(description="the reference artifact's name")
    reference_sha256: Text
    text: Text = Field(description="the task that named the text")
    text_sha256: Text
    chunks: Count
    tokens: Count = Field(description="tokens whose distributions were compared")
    mean_kld: Figure | None = Field(description="nats; None for the reference itself")
    p99_kld: Real | None = None
    same_top: ShareFigure | None = None
    perplexity: Positive | None = Field(description="None: beyond any number")
    bits_per_byte: Positive
    least_kld: Real | None = Field(
        default=None, description="nats; a lower bound that takes no sample of unlikely tokens"
    )
    truncated_mass: Real = Field(
        description="the reference's mean mass that is kept as a sample, not token by token"
    )
    chunk_klds: tuple[Real, ...] = ()

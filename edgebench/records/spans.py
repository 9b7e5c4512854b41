"""Token spans to score, their scores, and a model's chat template."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A sequence of tokens of which those from `start` on are scored; 0 < start < len(tokens)."""

    tokens: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Score:
    """Natural-log likelihood of a span's scored tokens, and whether each was the likeliest."""

    loglikelihood: float
    greedy: bool


@dataclass(frozen=True)
class ChatTemplate:
    """A model's own chat template in Jinja, and the texts of its first and last token."""

    source: str
    bos: str = ""
    eos: str = ""

"""What a program that writes a graph's logits is asked: the checks of exports send it."""

from __future__ import annotations

from edgebench.records.base import Count, Record, Text


class LogitsJob(Record):
    """A graph, prompts of token ids, and the .npz to write: one array of logits a prompt."""

    graph: Text
    prompts: tuple[tuple[Count, ...], ...]
    target: Text

"""Fill a llama_batch: which token stands where, in which sequences, and whose logits are wanted.

Knows llama.cpp's batch and packed groups. Evaluates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgebench.worker.runtimes.packing import Group


class Filler:
    """A llama_batch being filled: sequence 0 holds the trunk, each span has one of its own."""

    def __init__(self, api: Any, tokens: int, sequences: int) -> None:
        self.batch = api.llama_batch_init(tokens, 0, sequences)
        self.batch.n_tokens = 0
        self._free = api.llama_batch_free
        self.rows = 0
        self.next_sequence = 1

    def add(self, group: Group, trunk: int) -> list[list[tuple[int, int]]]:
        """Add a group's tokens; return for each span its rows of logits and their targets."""
        first = self.next_sequence
        self.next_sequence += len(group.spans)
        everyone = range(first, self.next_sequence)
        context = group.spans[0].tokens
        for position in range(trunk, group.shared):
            self._add(context[position], position, everyone, position == group.shared - 1)
        last_shared = self.rows - 1
        targets = []
        for sequence, span in zip(everyone, group.spans, strict=True):
            rows = [(last_shared, span.tokens[group.shared])]
            for position in range(group.shared, len(span.tokens) - 1):
                self._add(span.tokens[position], position, (sequence,), True)
                rows.append((self.rows - 1, span.tokens[position + 1]))
            targets.append(rows)
        return targets

    def _add(self, token: int, position: int, sequences: Sequence[int], logits: bool) -> None:
        batch, index = self.batch, self.batch.n_tokens
        batch.token[index] = token
        batch.pos[index] = position
        batch.n_seq_id[index] = len(sequences)
        for slot, sequence in enumerate(sequences):
            batch.seq_id[index][slot] = sequence
        batch.logits[index] = logits
        batch.n_tokens = index + 1
        self.rows += logits

    def add_rows(self, tokens: Sequence[int], start: int) -> None:
        """Add one sequence whose logits are wanted from `start` on."""
        for position, token in enumerate(tokens):
            self._add(token, position, (0,), position >= start)

    def free(self) -> None:
        """Give the batch's memory back."""
        self._free(self.batch)

"""Pack scored spans into batches: what neighbours share is evaluated once. Pure.

Knows tokens, prefixes and budgets. Knows no runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgebench.records.spans import Span

WORTH_SHARING = 16  # a trunk shorter than this is not worth a batch of its own


@dataclass(frozen=True)
class Group:
    """Neighbouring spans with a common prefix of `shared` tokens; `first` is their first index."""

    first: int
    spans: tuple[Span, ...]
    shared: int

    def cost(self, trunk: int) -> int:
        """Return the tokens to evaluate after the trunk: each span's last token is not."""
        own = sum(len(span.tokens) - 1 - self.shared for span in self.spans)
        return max(0, self.shared - trunk) + own


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Return how many leading tokens two sequences share."""
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))


def trunk_length(spans: Sequence[Span]) -> int:
    """Return the prefix shared by all spans that is worth evaluating once, or 0."""
    if len(spans) < 2:
        return 0
    shared = min(span.start - 1 for span in spans)
    for span in spans[1:]:
        shared = min(shared, common_prefix(spans[0].tokens, span.tokens))
    return shared if shared >= WORTH_SHARING else 0


def group(
    spans: Sequence[Span], max_sequences: int, trunk: int = 0, max_tokens: int | None = None
) -> list[Group]:
    """Group neighbours whose contexts are the same, up to `max_sequences` spans a group.

    A group is cut where it would cost more than `max_tokens` after the trunk.
    """
    groups: list[Group] = []
    members: list[Span] = []
    first = used = 0
    for index, span in enumerate(spans):
        context = span.tokens[: span.start]
        same = bool(members) and members[0].tokens[: members[0].start] == context
        cost = len(span.tokens) - 1 - (span.start if same else trunk)
        full = len(members) == max_sequences or (
            max_tokens is not None and used + cost > max_tokens
        )
        if members and (not same or full):
            groups.append(Group(first, tuple(members), _shared(members)))
            members, first, used = [], index, 0
            cost = len(span.tokens) - 1 - trunk
        members.append(span)
        used += cost
    if members:
        groups.append(Group(first, tuple(members), _shared(members)))
    return groups


def _shared(members: Sequence[Span]) -> int:
    # The common prefix ends at the scored part at the latest, so that the logits of its last
    # token serve all; a group of one shares nothing but its own context.
    return min(span.start for span in members)


def pack(
    groups: Sequence[Group], trunk: int, max_tokens: int, max_sequences: int
) -> list[list[Group]]:
    """Put groups, in order, into batches of at most `max_tokens` tokens and `max_sequences` spans.

    A group that is larger than `max_tokens` has a batch of its own.
    """
    batches: list[list[Group]] = []
    tokens = sequences = 0
    for member in groups:
        cost, count = member.cost(trunk), len(member.spans)
        full = tokens + cost > max_tokens or sequences + count > max_sequences
        if not batches or full:
            batches.append([])
            tokens = sequences = 0
        batches[-1].append(member)
        tokens += cost
        sequences += count
    return batches

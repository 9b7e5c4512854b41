"""Packing loses no token and keeps its limits, whatever the spans are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgebench.records.spans import Span
from edgebench.worker.runtimes.packing import (
    WORTH_SHARING,
    common_prefix,
    group,
    pack,
    trunk_length,
)

TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=12)


@st.composite
def some_spans(draw: st.DrawFn) -> list[Span]:
    """Draw items of one to four choices each, some with a preamble shared by all."""
    preamble = draw(st.sampled_from([[], [9] * 10, [9] * 40]))
    spans = []
    for _ in range(draw(st.integers(1, 8))):
        context = preamble + draw(TOKENS)
        for choice in draw(st.lists(TOKENS, min_size=1, max_size=4)):
            spans.append(Span(tuple(context + choice), len(context)))
    return spans


@given(some_spans(), st.integers(1, 6))
def test_groups_hold_every_span_once_in_order(spans: list[Span], most: int) -> None:
    """Nothing is lost or moved; a group has one context and at most the sequences allowed."""
    groups = group(spans, most)
    assert [span for one in groups for span in one.spans] == spans
    assert [one.first for one in groups] == [
        sum(len(before.spans) for before in groups[:index]) for index in range(len(groups))
    ]
    for one in groups:
        assert len(one.spans) <= most
        assert len({span.tokens[: span.start] for span in one.spans}) == 1
        assert one.shared <= min(span.start for span in one.spans)


@given(some_spans())
def test_trunk_is_shared_by_all_and_ends_before_what_is_scored(spans: list[Span]) -> None:
    """The trunk is a prefix of every span, leaves a token to predict from, and is worth it."""
    trunk = trunk_length(spans)
    assert trunk == 0 or trunk >= WORTH_SHARING
    for span in spans:
        assert span.tokens[:trunk] == spans[0].tokens[:trunk]
        assert trunk < span.start or trunk == 0


@given(some_spans(), st.integers(1, 6), st.integers(1, 60))
def test_batches_keep_their_limits(spans: list[Span], most: int, room: int) -> None:
    """Batches hold all groups in order; only a group that is too large alone breaks the limit."""
    trunk = trunk_length(spans)
    groups = group(spans, most)
    batches = pack(groups, trunk, room, most)
    assert [one for batch in batches for one in batch] == groups
    for batch in batches:
        assert sum(len(one.spans) for one in batch) <= most
        assert len(batch) == 1 or sum(one.cost(trunk) for one in batch) <= room


@given(some_spans())
def test_shared_contexts_cost_once(spans: list[Span]) -> None:
    """The tokens evaluated are the contexts once, and each choice without its last token."""
    for one in group(spans, 64):
        context = one.spans[0].start
        choices = sum(len(span.tokens) - span.start - 1 for span in one.spans)
        assert one.cost(0) == context + choices


def test_common_prefix_of_a_prefix_is_its_length() -> None:
    """A sequence inside another shares all of itself."""
    assert common_prefix([1, 2], [1, 2, 3]) == 2
    assert common_prefix([], [1]) == 0
    assert common_prefix([1, 5, 3], [1, 2, 3]) == 1

"""Levels whose next-token distributions lie much farther from the reference's than their peers'.

A level of no more bits shows what is possible: one that is five times as far has gone wrong, or
is a poor choice. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.analyze.rows import Row
from edgebench.records.accuracy import Divergence

TIMES = 5.0  # as far as a peer
BITS = 1.15  # a peer has at most as many bits a weight, give or take
LEAST_NATS = 0.01  # below it nobody reads a difference


def divergence_at(row: Row, text: str) -> Divergence | None:
    """Return a row's divergence over a text, or None."""
    return next((divergence for divergence in row.divergences if divergence.text == text), None)


def standing_out(rows: Sequence[Row]) -> list[str]:
    """Say which levels lie much farther from the reference than a level of their size."""
    texts = dict.fromkeys(divergence.text for row in rows for divergence in row.divergences)
    return [words for text in texts for row in rows if (words := _stands_out(row, rows, text))]


def _stands_out(row: Row, rows: Sequence[Row], text: str) -> str | None:
    mine = divergence_at(row, text)
    if mine is None or mine.mean_kld is None:
        return None
    peers = []
    for other in rows:
        theirs = divergence_at(other, text)
        if theirs is None or theirs.mean_kld is None or not _is_peer(mine, theirs):
            continue
        if other.artifact.bits_per_weight <= BITS * row.artifact.bits_per_weight:
            peers.append((theirs.mean_kld.value, other.level))
    far = mine.mean_kld.value
    if not peers or far < LEAST_NATS or far < TIMES * min(peers)[0]:
        return None
    near, level = min(peers)
    times = f"{far / near:.0f} times {level}'s" if near > 0 else f"{level}'s is 0"
    return (
        f"{row.level} strays from the reference: {far:.2g} nats a token at {text}, {times}, "
        "which is no larger"
    )


def _is_peer(mine: Divergence, theirs: Divergence) -> bool:
    return (mine.reference_sha256, mine.text_sha256) == (
        theirs.reference_sha256,
        theirs.text_sha256,
    )

"""Figures that could not be computed: each is absent with its reason, and costs no other.

Between the last reading and the store everything that is reckoned goes through here, so that a
mistake of ours, or a reading that no arithmetic can hold, costs a figure and not the case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from edgebench.records.base import clean
from edgebench.records.limits import MESSAGE_CHARACTERS

Of = TypeVar("Of")


class Absent:
    """Computes figures, and keeps why some of them could not be."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def guarded(self, figure: str, compute: Callable[[], Of]) -> Of | None:
        """Return what `compute` gives; where that fails, None, and keep the reason."""
        try:
            return compute()
        except Exception as error:  # noqa: BLE001 - whatever it is, the case was measured
            self.reasons.setdefault(figure, failed_to_compute(error))
            return None


def failed_to_compute(error: Exception) -> str:
    """Say that a figure could not be computed, and by what."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"it could not be computed ({clean(' '.join(said.split()), MESSAGE_CHARACTERS)})"

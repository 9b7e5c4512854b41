"""Where a case's time went, over all of its workers. Knows seconds, and what they were spent on."""

from __future__ import annotations

from edgebench.records.base import Amount, Record


class Timing(Record):
    """Seconds by what they were spent on; what is left of a case's time is the host's own."""

    start_s: Amount = 0.0
    load_s: Amount = 0.0
    warm_up_s: Amount = 0.0
    trials_s: Amount = 0.0
    meters_s: Amount = 0.0
    answers_s: Amount = 0.0

    def __add__(self, other: Timing) -> Timing:
        """Return both together."""
        return Timing(
            **{name: getattr(self, name) + getattr(other, name) for name in Timing.model_fields}
        )

    @property
    def told_s(self) -> float:
        """Return the seconds that are accounted for."""
        seconds: list[float] = [getattr(self, name) for name in Timing.model_fields]
        return sum(seconds)

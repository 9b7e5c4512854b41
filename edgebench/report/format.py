"""Turn figures into short words: three digits, the unit that fits, the interval beneath."""

from __future__ import annotations

from edgebench.records.base import Estimate

MIB = 2**20


def number(value: float) -> str:
    """Return about three significant digits, without an exponent: 0.0123, 4.56, 78.9, 1234."""
    size = abs(value)
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1 or value == 0:
        return f"{value:.2f}"
    return f"{value:.3g}"


def with_interval(estimate: Estimate | None) -> str:
    """Return the value over its interval, on two lines; a dash where there is none."""
    if estimate is None:
        return "-"
    return f"{number(estimate.value)}\n{number(estimate.low)}–{number(estimate.high)}"


def percent(estimate: Estimate | None) -> str:
    """Return a share in percent over its interval, on two lines."""
    if estimate is None:
        return "-"
    value, low, high = (100 * part for part in (estimate.value, estimate.low, estimate.high))
    return f"{value:.1f} %\n{low:.1f}–{high:.1f}"


def points(estimate: Estimate | None) -> str:
    """Return a difference of shares in percentage points over its interval, with signs."""
    if estimate is None:
        return "-"
    value, low, high = (100 * part for part in (estimate.value, estimate.low, estimate.high))
    return f"{value:+.1f}\n{low:+.1f} to {high:+.1f}"


def mebibytes(size: float | None) -> str:
    """Return bytes in MiB."""
    return "-" if size is None else f"{size / MIB:.0f} MiB"


def duration(seconds: float) -> str:
    """Return seconds as a person says them: 45 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def plain(text: str, limit: int = 400) -> str:
    """Return text that came from elsewhere without control characters, cut to `limit`."""
    return "".join(char if char.isprintable() else " " for char in text)[:limit]

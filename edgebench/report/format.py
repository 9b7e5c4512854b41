"""Turn figures into short words: three digits, the unit that fits, the interval beneath."""

from __future__ import annotations

import re

from edgebench.records.base import Estimate

MIB = 2**20
DAY = 10  # characters of a date in ISO 8601


def number(value: float) -> str:
    """Return about three significant digits, without an exponent: 0.0123, 4.56, 78.9, 1234."""
    size = abs(value)
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1 or value == 0:
        return f"{value + 0.0:.2f}"
    return f"{value:.3g}"


def interval(estimate: Estimate, scale: float = 1.0) -> str:
    """Return an estimate's interval, or how few readings there are where it has none."""
    if estimate.bounds is None:
        return f"n={estimate.n}"
    return f"{number(scale * estimate.bounds.low)}–{number(scale * estimate.bounds.high)}"


def with_interval(estimate: Estimate | None) -> str:
    """Return the value over its interval, on two lines; nothing where there is no figure."""
    return f"{number(estimate.value)}\n{interval(estimate)}" if estimate else ""


def percent(estimate: Estimate | None) -> str:
    """Return a share in percent over its interval, on two lines."""
    if estimate is None:
        return ""
    beneath = f"n={estimate.n}"
    if estimate.bounds:
        beneath = f"{100 * estimate.bounds.low:.1f}–{100 * estimate.bounds.high:.1f}"
    return f"{100 * estimate.value:.1f} %\n{beneath}"


def signed(value: float) -> str:
    """Return a number of points with its sign, one digit; zero has none."""
    words = f"{value:+.1f}"
    return "0.0" if words in ("+0.0", "-0.0") else words


def points(estimate: Estimate | None) -> str:
    """Return a difference of shares in percentage points over its interval, with signs."""
    if estimate is None:
        return ""
    beneath = f"n={estimate.n}"
    if estimate.bounds:
        beneath = f"{signed(100 * estimate.bounds.low)} to {signed(100 * estimate.bounds.high)}"
    return f"{signed(100 * estimate.value)}\n{beneath}"


def counted(count: int, thing: str, things: str = "") -> str:
    """Return "1 item", "2 items", "3 launches"."""
    return f"{count} {thing}" if count == 1 else f"{count} {things or thing + 's'}"


def point_words(share: float) -> str:
    """Return a share of items as "1 point", "0.5 points"."""
    words = f"{100 * share:.3g}"
    return f"{words} point" if words == "1" else f"{words} points"


def mebibytes(size: float | None) -> str:
    """Return bytes in MiB."""
    return "" if size is None else f"{size / MIB:.0f} MiB"


def duration(seconds: float) -> str:
    """Return seconds as a person says them: 45 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(count_bytes: float) -> str:
    """Return bytes in the unit that fits: 812 B, 4.2 KiB, 257 MiB, 3.1 GiB."""
    for unit in ("B", "KiB", "MiB"):
        if count_bytes < 1000:
            return f"{count_bytes:.0f} B" if unit == "B" else f"{number(count_bytes)} {unit}"
        count_bytes /= 1024
    return f"{number(count_bytes)} GiB"


def age(seconds: float) -> str:
    """Return how long ago something was: 5 min, 3 h, 12 d."""
    if seconds < 90:
        return "now"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} d"


def broken(name: str, width: int = 14) -> str:
    """Break a long name after its hyphens and underscores, so that no line is much wider."""
    lines = [""]
    for part in re.findall(r"[^-_]+[-_]*|[-_]+", name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)

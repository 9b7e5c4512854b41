"""How charts look: colours, axes, labels that don't overlap; one finished chart from altair's.

Knows altair and no figures. Colours are Okabe and Ito's, told apart by people who see few of them
and good on white and on black; what is written and drawn around them takes the page's own colour.
Strings from runs are only ever data, never names of fields or parts of an expression.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgebench.records.base import Estimate
from edgebench.report.content import Chart
from edgebench.report.format import number

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
PHASES = {"idle": "#999999", "load": "#CC79A7", "prefill": "#E69F00", "decode": "#56B4E9"}
RAILS = ("currentColor", "#D55E00", "#0072B2", "#CC79A7")  # over the phases' colours
QUIET = "#888888"
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
WIDTH, HEIGHT = 640, 340  # of a picture; a page gives the width that there is
WIDE = 15.0  # times from least to most, beyond which an axis is logarithmic
NARROW = 270  # what a phone leaves for the points: labels must not overlap there
SPOKEN = 12  # rows whose figures a chart says in words
CHARACTER, LINE = 6.3, 14  # of a label, in pixels

_AXIS = {
    "labelColor": "currentColor",
    "titleColor": "currentColor",
    "domainColor": QUIET,
    "tickColor": QUIET,
    "gridColor": QUIET,
    "gridOpacity": 0.22,
    "labelFontSize": 11,
    "titleFontSize": 12,
    "titleFontWeight": "normal",
    "labelLimit": 170,
}
CONFIG: dict[str, Any] = {
    "background": None,
    "font": FONT,
    "view": {"stroke": None},
    "axis": _AXIS,
    "axisX": {
        "tickCount": 6,
        "labelOverlap": "greedy",
        "labelSeparation": 6,
        "titleAnchor": "end",  # it may be longer than a phone's axis
        "titleAlign": "right",
    },
    "point": {"opacity": 1},
    "axisY": {"titleAlign": "left", "titleAngle": 0, "titleAnchor": "start", "titleY": -10},
    "legend": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "orient": "bottom",
        "title": None,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "labelLimit": 300,
        "symbolLimit": 60,
    },
    "text": {"color": "currentColor", "fontSize": 11},
    "rule": {"color": "currentColor"},
    "tick": {"color": "currentColor"},
}


@dataclass(frozen=True)
class Point:
    """Where a label belongs, as shares of the plot's width and height, and what it says."""

    x: float
    y: float
    label: str = ""


@dataclass(frozen=True)
class Side:
    """On which side of its point a label stands: alignment, and pixels to there."""

    align: str
    dx: int
    dy: int


SIDES = (  # beside the lines of the intervals first, which cross at the point
    Side("left", 6, -10),
    Side("right", -6, -10),
    Side("left", 6, 11),
    Side("right", -6, 11),
    Side("left", 9, 0),
    Side("right", -9, 0),
    Side("center", 0, -13),
    Side("center", 0, 13),
)


def finished(drawing: Any, title: str, caption: str, words: str, height: int = HEIGHT) -> Chart:
    """Return a chart of an altair drawing, as wide as a picture and described by its words."""
    drawing = drawing.properties(width=WIDTH, height=height)
    spec = drawing.to_dict(validate=False)  # its parts were checked when they were made
    for name in ("config", "$schema"):
        spec.pop(name, None)
    spec["description"] = f"{title}. {words}"
    return Chart(title, spec, caption, words)


def colours(names: Sequence[str]) -> list[str]:
    """Return a colour for each name, again from the start where there are many."""
    return [COLOURS[index % len(COLOURS)] for index in range(len(names))]


def shapes(names: Sequence[str]) -> list[str]:
    """Return a shape for each name: colour and shape together tell thirty names apart."""
    return [SHAPES[index % len(SHAPES)] for index in range(len(names))]


def coloured(alt: Any, field: str, names: Sequence[str], title: str | None = None) -> Any:
    """Return a field's colours, with a legend where there are several names."""
    if len(names) < 2:
        return alt.value(COLOURS[0])
    scale = alt.Scale(domain=list(names), range=colours(names))
    return alt.Color(f"{field}:N", scale=scale, legend=legend(alt, names, title))


def shaped(alt: Any, field: str, names: Sequence[str]) -> Any:
    """Return a field's shapes, in the legend of its colours."""
    if len(names) < 2:
        return alt.value("circle")
    scale = alt.Scale(domain=list(names), range=shapes(names))
    return alt.Shape(f"{field}:N", scale=scale, legend=legend(alt, names))


def legend(alt: Any, names: Sequence[str], title: str | None = None) -> Any:
    """Return a legend in as many columns as a phone is wide enough for."""
    longest = max(map(len, names), default=1)
    return alt.Legend(title=title, columns=max(1, int(300 // (CHARACTER * longest + 26))))


@dataclass(frozen=True)
class Span:
    """What an axis shows, from end to end; logarithmic where values lie far apart."""

    low: float
    high: float
    is_log: bool = False

    def share(self, value: float) -> float:
        """Return where a value lies, from 0 to 1."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def scale(self, alt: Any) -> Any:
        """Return altair's scale."""
        kind = {"type": "log"} if self.is_log else {"zero": False}
        return alt.Scale(**kind, domain=[self.low, self.high], nice=False)


def span(values: Iterable[float | None], may_be_log: bool = False, share: float = 0.08) -> Span:
    """Return an axis that holds all values, with some room on both sides."""
    told = [value for value in values if value is not None]
    low, high = min(told), max(told)
    if may_be_log and 0 < WIDE * low < high:
        room = (high / low) ** share
        return Span(low / room, high * room, True)
    # Values that hardly differ aren't drawn as if they did.
    room = max(share * (high - low), 0.03 * abs(high)) or 1.0
    return Span(low - room, high + room)


def said(label: str, estimate: Estimate, unit: str, scale: float = 1.0) -> str:
    """Say a row's figure and its interval."""
    words = f"{label}: {number(scale * estimate.value)} {unit}"
    if estimate.bounds is None:
        return words
    low, high = (number(scale * end) for end in estimate.bounds)
    return f"{words} ({low} to {high})"


def listed(lines: Sequence[str]) -> str:
    """Join what is said of rows; of many the first ones, and where the others are."""
    if len(lines) <= SPOKEN:
        return "; ".join(lines) + "."
    return "; ".join(lines[:SPOKEN]) + f"; {len(lines) - SPOKEN} more in the table."


def placed_labels(points: Sequence[Point]) -> list[Side | None]:
    """Return the side on which each point's label meets no other, or None where there is none.

    Reckoned for a phone's width: on a wider plot points only move farther apart.
    """
    taken = [_box(point, Side("center", 0, 0), "o") for point in points]
    sides: list[Side | None] = []
    for point in points:
        chosen = None
        for side in SIDES if point.label else ():
            box = _box(point, side, point.label)
            inside = box[0] >= 0 and box[1] <= NARROW and box[2] >= 0 and box[3] <= HEIGHT
            if inside and not any(_meet(box, other) for other in taken):
                chosen = side
                taken.append(box)
                break
        sides.append(chosen)
    return sides


def _box(point: Point, side: Side, label: str) -> tuple[float, float, float, float]:
    """Return a label's left, right, top and bottom in pixels."""
    width = CHARACTER * len(label)
    x, y = NARROW * point.x + side.dx, HEIGHT * (1 - point.y) + side.dy
    left = {"left": x, "right": x - width, "center": x - width / 2}[side.align]
    return left, left + width, y - LINE / 2, y + LINE / 2


def _meet(box: Sequence[float], other: Sequence[float]) -> bool:
    across = box[0] < other[1] and other[0] < box[1]
    return across and box[2] < other[3] and other[2] < box[3]

"""Draw a table's rows: bars of each figure, one figure against another, divergence, latency.

Knows groups of compared rows. A chart that has no data isn't made; the reason is told instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgebench.analyze.choosing import Aspect, front
from edgebench.analyze.compare import Group
from edgebench.analyze.rows import Row
from edgebench.records.base import Estimate, clean
from edgebench.report.content import Chart
from edgebench.report.drawing import (
    QUIET,
    Point,
    Side,
    Span,
    coloured,
    finished,
    listed,
    placed_labels,
    said,
    shaped,
    span,
)
from edgebench.report.format import MIB, number
from edgebench.report.measured import row_labels

MOST_BARS = 30  # rows that are drawn; a table has all
ENDS = ("low", "high")
MOST_NAMED = 8  # points that carry their name
STEP = 15  # pixels of a bar and of each line of its label
TASKS = 3  # whose accuracy is drawn against speed and energy


@dataclass(frozen=True)
class Measure:
    """A figure that bars are drawn of: how it is read, its axis, and how to read the chart."""

    title: str
    axis: str
    unit: str
    read: Callable[[Row], Estimate | None]
    scale: float = 1.0
    caption: str = ""
    mark: float | None = None  # where a line is drawn across, as of chance


def _alone(value: float | None) -> Estimate | None:
    """Return a figure that has no interval."""
    return None if value is None else Estimate(value=value, n=1, method="as it is")


MEASURES = (
    Measure(
        "Generated tokens a second",
        "decode, tokens per second (more is better)",
        "tok/s",
        lambda row: row.decode,
    ),
    Measure(
        "Prompt tokens a second",
        "prefill, tokens per second (more is better)",
        "tok/s",
        lambda row: row.speed.prefill if row.speed else None,
    ),
    Measure(
        "Time to the first token",
        "milliseconds (less is better)",
        "ms",
        lambda row: row.speed.ttft_s if row.speed else None,
        1000.0,
    ),
    Measure(
        "Memory of the whole deployment",
        "MiB (less is better)",
        "MiB",
        lambda row: _alone(row.memory.total_bytes if row.memory else None),
        1 / MIB,
        "Weights, KV cache, buffers and the GPU's memory: the largest of the launches.",
    ),
    Measure(
        "Energy of a generated token",
        "joules per token (less is better)",
        "J",
        lambda row: row.energy.j_per_token if row.energy else None,
    ),
)


def bars(group: Group) -> list[Chart]:
    """Return a chart of bars for each figure that rows have, and for each task."""
    measures = [*MEASURES, *(_accuracy(group, name) for name in group.tasks[:TASKS])]
    charts, shown = [], shown_rows(group)
    for measure in measures:
        rows = [row for row in shown if measure.read(row) is not None]
        if rows:
            charts.append(_bars(group, rows, _of_energy(measure, rows)))
    return charts


def _accuracy(group: Group, name: str) -> Measure:
    tasks = [task for row in group.rows if (task := row.task(name))]
    chance = max((task.chance for task in tasks), default=0.0)
    caption = f"The dashed line is chance, {100 * chance:.0f} %." if chance else ""
    return Measure(
        f"Accuracy at {clean(name, 40)}",
        "% of items right (more is better)",
        "%",
        lambda row: _accuracy_of(row, name),
        100.0,
        caption,
        100 * chance or None,
    )


def _accuracy_of(row: Row, name: str) -> Estimate | None:
    task = row.task(name)
    return task.accuracy if task else None


def _of_energy(measure: Measure, rows: Sequence[Row]) -> Measure:
    """Say of energy what a joule includes, and whether it was measured at all."""
    told = [row.energy for row in rows if row.energy and measure.unit == "J"]
    if not told:
        return measure
    if any(energy.kind == "estimated" for energy in told):
        return replace(measure, caption="Watts that were stated, times seconds: no measurement.")
    includes = f", {told[0].boundary}" if told[0].boundary else ""
    caption = f"{told[0].kind.capitalize()}, by {clean(told[0].source, 60)}{includes}."
    return replace(measure, caption=caption)


def shown_rows(group: Group) -> list[Row]:
    """Return the rows that are drawn: all, or of many the baselines, the front and the fastest."""
    rows = [row for row in group.rows if row.is_good]
    if len(rows) <= MOST_BARS:
        return rows
    best = {row.key for row in front(rows, group.tasks[:1], ["decode", "memory", "accuracy"])}

    def urgency(row: Row) -> tuple[bool, bool, float]:
        return row.is_baseline, row.key in best, row.decode.value if row.decode else 0.0

    chosen = {row.key for row in sorted(rows, key=urgency, reverse=True)[:MOST_BARS]}
    return [row for row in rows if row.key in chosen]


def _data(label: str, model: str, estimate: Estimate, scale: float = 1.0) -> dict[str, Any]:
    value = scale * estimate.value
    data = {"label": label, "model": model, "value": value, "end": value, "shown": number(value)}
    if estimate.bounds:
        low, high = (scale * end for end in estimate.bounds)
        data |= {"low": low, "high": high, "end": max(high, value)}
    return data


def label_axis(alt: Any, labels: Sequence[str]) -> Any:
    most = max(label.count("\n") for label in labels)
    axis = alt.Axis(
        labelExpr="split(datum.value, '\\n')",
        labelLineHeight=12,
        labelOffset=-6 * most,
        ticks=False,
        domain=False,
    )
    return alt.Y("label:N", sort=list(labels), title=None, axis=axis)


def height_of(labels: Sequence[str]) -> int:
    """Return the height of a chart with a line for each of the labels, which may have several."""
    most = max(label.count("\n") + 1 for label in labels)
    return len(labels) * (STEP * most + 7)


def _bars(group: Group, rows: Sequence[Row], measure: Measure) -> Chart:
    import altair as alt

    labels = row_labels(group.rows)
    models = [clean(model, 60) for model in group.models]
    named = [(labels[row.key], row, measure.read(row)) for row in rows]
    values = [
        _data(label, clean(row.artifact.model, 60), estimate, measure.scale)
        for label, row, estimate in named
        if estimate
    ]
    top = 1.14 * max(value["end"] for value in values) or 1.0
    y = label_axis(alt, [label for label, _, _ in named])
    x = alt.X("value:Q", title=measure.axis, scale=alt.Scale(domain=[0, top], nice=False))
    base = alt.Chart(alt.InlineData(values=values)).encode(y=y)
    layers = [
        base.mark_bar(height=14).encode(
            x=x, color=coloured(alt, "model", models), tooltip=["label:N", "shown:N"]
        ),
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=1.5)
        .encode(x="low:Q", x2="high:Q"),
        base.mark_text(align="left", dx=5).encode(x="end:Q", text="shown:N"),
    ]
    if measure.mark:
        line = alt.Chart(alt.InlineData(values=[{"at": measure.mark}]))
        layers.append(line.mark_rule(strokeDash=[4, 3]).encode(x="at:Q"))
    words = [
        said(flat(label), estimate, measure.unit, measure.scale)
        for label, _, estimate in named
        if estimate
    ]
    left_out = sum(measure.read(row) is not None for row in group.rows) - len(values)
    caption = measure.caption + f" {left_out} more rows are in the table." * bool(left_out)
    return finished(
        alt.layer(*layers),
        measure.title,
        caption.strip(),
        listed(words),
        height_of([label for label, _, _ in named]),
    )


def flat(label: str) -> str:
    """Return a label on one line."""
    return " ".join(label.replace("-\n", "-").replace("_\n", "_").split("\n"))


def against(group: Group) -> list[Chart]:
    """Return accuracy against speed and against energy, for each of the first tasks."""
    charts = []
    for name in group.tasks[:TASKS]:
        for aspect, measure in (("decode", MEASURES[0]), ("energy", MEASURES[4])):
            rows = [row for row in group.rows if row.task(name) and measure.read(row)]
            if rows:
                measure = _of_energy(measure, rows)
                charts.append(_scatter(group, rows, name, aspect, measure))  # type: ignore[arg-type]
    return charts


def _scatter(
    group: Group, rows: Sequence[Row], task: str, aspect: Aspect, measure: Measure
) -> Chart:
    values = _points(group, rows, task, aspect, measure)
    words = [
        f"{flat(value['label'])}: {value['speed']}, {value['right']} right" for value in values
    ]
    front_words = ", ".join(flat(value["label"]) for value in values if value["front"])
    better, title = (
        ("Up and to the right", "speed") if aspect == "decode" else ("Up and left", "energy")
    )
    caption = (
        f"{better} is better. Full colour: no other is as good in both and shown better in one; "
        f"the dashed line is the front of the values. {measure.caption}"
    )
    models = [clean(model, 60) for model in group.models]
    axes = (measure.axis, f"% right at {clean(task, 40)}")
    return finished(
        _scatter_layers(values, models, aspect, axes),
        f"Accuracy at {clean(task, 40)} against {title}",
        caption.strip(),
        f"{listed(words)} On the front: {front_words}.",
    )


def _points(
    group: Group, rows: Sequence[Row], task: str, aspect: Aspect, measure: Measure
) -> list[dict[str, Any]]:
    labels, short = row_labels(group.rows), row_labels(group.rows, named=False)
    best = {row.key for row in front(rows, (task,), [aspect, "accuracy"])}
    return [
        _point(row, task, measure)
        | {"label": labels[row.key], "short": flat(short[row.key]), "front": row.key in best}
        for row in rows
    ]


def _scatter_layers(
    values: Sequence[dict[str, Any]], models: Sequence[str], aspect: Aspect, axes: tuple[str, str]
) -> Any:
    """Draw the front's line, intervals, points and names, from back to front."""
    import altair as alt

    across, upright = (
        span([value.get(f"{name}_{end}", value[name]) for value in values for end in ENDS], log)
        for name, log in (("x", True), ("y", False))
    )
    x = alt.X("x:Q", title=axes[0], scale=across.scale(alt))
    y = alt.Y("y:Q", title=axes[1], scale=upright.scale(alt))
    base = alt.Chart(alt.InlineData(values=values))
    faint = alt.condition("datum.front", alt.value(0.65), alt.value(0.25))
    flat_rule = base.transform_filter("isValid(datum.x_low)").mark_rule()
    upright_rule = base.transform_filter("isValid(datum.y_low)").mark_rule()
    return alt.layer(
        _front_line(alt, values, aspect).encode(x=x, y=y),
        flat_rule.encode(x="x_low:Q", x2="x_high:Q", y="y:Q", opacity=faint),
        upright_rule.encode(y="y_low:Q", y2="y_high:Q", x="x:Q", opacity=faint),
        base.mark_point(size=70, filled=True, stroke=None).encode(
            x="x:Q",
            y="y:Q",
            color=coloured(alt, "model", models),
            shape=shaped(alt, "model", models),
            opacity=alt.condition("datum.front", alt.value(1.0), alt.value(0.4)),
            tooltip=["label:N", "speed:N", "right:N"],
        ),
        *_names(alt, values, across, upright),
    )


def _point(row: Row, task: str, measure: Measure) -> dict[str, Any]:
    x, figures = measure.read(row), row.task(task)
    point: dict[str, Any] = {
        "model": clean(row.artifact.model, 60),
        "baseline": row.is_baseline,
    }
    for name, estimate, scale, unit in (
        ("x", x, 1.0, measure.unit),
        ("y", figures.accuracy if figures else None, 100.0, "%"),
    ):
        if estimate is None:
            continue
        point[name] = scale * estimate.value
        point["speed" if name == "x" else "right"] = said("", estimate, unit, scale)[2:]
        if estimate.bounds:
            point[f"{name}_low"], point[f"{name}_high"] = (scale * end for end in estimate.bounds)
    return point


def _front_line(alt: Any, values: Sequence[dict[str, Any]], aspect: Aspect) -> Any:
    """Draw the steps between the points that none has better values than."""
    sign = 1 if aspect == "decode" else -1
    steps, best = [], float("-inf")
    for value in sorted(values, key=lambda value: (-sign * value["x"], -value["y"])):
        if value["y"] > best:
            best = value["y"]
            steps.append({"x": value["x"], "y": value["y"]})
    line = alt.Chart(alt.InlineData(values=steps))
    shape = "step-before" if aspect == "decode" else "step-after"
    return line.mark_line(interpolate=shape, strokeDash=[5, 4], strokeWidth=1.2, color=QUIET)


def _names(alt: Any, values: Sequence[dict[str, Any]], across: Span, upright: Span) -> list[Any]:
    """Write the names of the front and the baselines beside their points, where there is room.

    The model is told by colour and shape; of many points the first ones of the front are named.
    """
    few = len(values) <= MOST_NAMED
    ranked = sorted(values, key=lambda value: (not value["front"], not value["baseline"]))
    points = [
        Point(
            across.share(value["x"]),
            upright.share(value["y"]),
            value["short"][:28] if few or (value["front"] and place < MOST_NAMED) else "",
        )
        for place, value in enumerate(ranked)
    ]
    by_side: dict[Side, list[dict[str, Any]]] = {}
    for value, point, side in zip(ranked, points, placed_labels(points), strict=True):
        if side:
            at = {"x": value["x"], "y": value["y"], "name": point.label}
            by_side.setdefault(side, []).append(at)
    return [
        alt.Chart(alt.InlineData(values=held))
        .mark_text(align=side.align, dx=side.dx, dy=side.dy)
        .encode(x="x:Q", y="y:Q", text="name:N")
        for side, held in by_side.items()
    ]

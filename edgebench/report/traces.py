"""Draw what a machine did while it was measured: power, heat and clocks; memory by context.

Knows the runs behind a few rows: those on the front come first. Readings that are too many to
draw are thinned to the least and the most of each moment, so that no peak is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgebench.analyze.choosing import front
from edgebench.analyze.compare import Group
from edgebench.analyze.rows import Row
from edgebench.figures.windows import NoFigure, unwrap
from edgebench.records.base import clean
from edgebench.records.device import Snapshot
from edgebench.records.energy import Series, Timeline, Window
from edgebench.records.run import Run
from edgebench.report.charts import flat
from edgebench.report.content import Chart
from edgebench.report.drawing import (
    COLOURS,
    PHASES,
    RAILS,
    coloured,
    finished,
    legend,
    listed,
    span,
)
from edgebench.report.format import MIB, number
from edgebench.report.measured import Measured, row_labels, run_of

TRACED = 2  # rows whose power is drawn
LINED = 6  # rows that share a chart of lines
READINGS = 500  # of a rail that are drawn
LONGEST = 32768  # tokens of context that memory is drawn to
PLACES = {"before": 0.0, "at work": 0.4, "after": 0.8}  # of a launch's snapshots between launches
NS = 1e-9
Reading = tuple[int, float]
Data = list[dict[str, Any]]


def leading(group: Group) -> list[Row]:
    """Return the rows with a speed: those that none beats first, then the others."""
    timed = [row for row in group.rows if row.speed]
    best = {row.key for row in front(timed, group.tasks[:1], ["decode", "memory", "accuracy"])}
    return sorted(timed, key=lambda row: row.key not in best)


def power(group: Group, runs: Measured) -> list[Chart]:
    """Return the power of the first rows that have readings, in one launch, by phase."""
    charts: list[Chart] = []
    labels = row_labels(group.rows)
    for row in leading(group):
        run = run_of(row, runs)
        line = _timeline(run, row) if run else None
        chart = _power(line, flat(labels[row.key])) if line else None
        if chart:
            charts.append(chart)
        if len(charts) == TRACED:
            break
    return charts


def _timeline(run: Run, row: Row) -> Timeline | None:
    """Return the readings that the row's energy was computed from, else the first there are."""
    source = row.energy.source if row.energy else None
    told = [line for line in run.timelines if line.series and line.windows]
    named = [line for line in told if any(total.source == source for total in line.totals)]
    return next(iter(named or told), None)


def _power(line: Timeline, label: str) -> Chart | None:
    import altair as alt

    launch = line.windows[0].launch
    windows = [window for window in line.windows if window.launch == launch]
    start, end = windows[0].start_ns, max(window.end_ns for window in windows)
    rails = {
        clean(series.rail, 40): drawn
        for series in line.series[: len(RAILS)]
        if (drawn := _watts(series, start, end))
    }
    if not rails:
        return None
    values = [{"rail": rail, **at} for rail, drawn in rails.items() for at in drawn]
    bands = [_band(window, start) for window in windows]
    phases = [phase for phase in PHASES if any(band["phase"] == phase for band in bands)]
    top = 1.08 * max(value["w"] for value in values)
    y = alt.Y("w:Q", title="watts", scale=alt.Scale(domain=[0, top or 1.0], nice=False))
    x = alt.X("s:Q", title="seconds", scale=alt.Scale(nice=False, domain=[0, (end - start) * NS]))
    shade = alt.Color(
        "phase:N",
        scale=alt.Scale(domain=phases, range=[PHASES[phase] for phase in phases]),
        legend=alt.Legend(title="phase", columns=4, symbolOpacity=0.5),
    )
    drawing = alt.layer(
        alt.Chart(alt.InlineData(values=bands))
        .mark_rect(opacity=0.28)
        .encode(x=alt.X("from:Q"), x2="to:Q", color=shade, tooltip=["phase:N"]),
        alt.Chart(alt.InlineData(values=values))
        .mark_line(strokeWidth=1.4, interpolate="step-after")
        .encode(x=x, y=y, stroke=_stroke(alt, list(rails))),
    )
    means = [_range(rail, [at["w"] for at in drawn], "W") for rail, drawn in rails.items()]
    launches = len({window.launch for window in line.windows})
    which = f"The first of {launches} launches. " if launches > 1 else ""
    caption = f"{which}As the sensor told it: readings may come late, or be means."
    return finished(drawing, f"Power while {label} was measured", caption, listed(means), 240)


def _stroke(alt: Any, rails: Sequence[str]) -> Any:
    if len(rails) < 2:
        return alt.value(RAILS[0])
    scale = alt.Scale(domain=list(rails), range=list(RAILS[: len(rails)]))
    return alt.Stroke("rail:N", scale=scale, legend=legend(alt, rails, "rail"))


def _range(name: str, values: Sequence[float], unit: str) -> str:
    return f"{name}: {number(min(values))} to {number(max(values))} {unit}"


def _band(window: Window, start: int) -> dict[str, Any]:
    ends = {"from": (window.start_ns - start) * NS, "to": (window.end_ns - start) * NS}
    return {"phase": window.phase, **ends}


def _watts(series: Series, start: int, end: int) -> Data:
    """Return a rail's watts between two moments; of a counter, the rise between two readings."""
    times, values = list(series.t_ns), list(series.values)
    if series.unit == "J":
        try:
            joules = unwrap(series).tolist()
        except NoFigure:
            return []
        steps = [
            (then, (after - before) / ((now - then) * NS))
            for then, now, before, after in zip(times, times[1:], joules, joules[1:], strict=False)
            if now > then
        ]
        times, values = [t for t, _ in steps], [w for _, w in steps]
    inside = [(t, w) for t, w in zip(times, values, strict=True) if start <= t <= end]
    return [{"s": round((t - start) * NS, 4), "w": round(w, 4)} for t, w in thinned(inside)]


def thinned(readings: Sequence[Reading], most: int = READINGS) -> Sequence[Reading]:
    """Return at most so many readings: of each stretch of time the least and the most."""
    if len(readings) <= most:
        return readings
    size = -(-len(readings) // (most // 2))
    kept: list[Reading] = []
    for begin in range(0, len(readings), size):
        stretch = readings[begin : begin + size]
        ends = {min(stretch, key=lambda at: at[1]), max(stretch, key=lambda at: at[1])}
        kept += sorted(ends)
    return kept


def heat(group: Group, runs: Measured) -> list[Chart]:
    """Return the hottest sensor and the processors' clock, launch by launch."""
    labels = row_labels(group.rows)
    told: dict[str, Data] = {}
    for row in leading(group)[:LINED]:
        run = run_of(row, runs)
        if run:
            told[flat(labels[row.key])] = _moments(run)
    charts = []
    for figure, title, unit in (
        ("hottest", "Temperature over the case", "°C"),
        ("clock", "Clocks over the case", "GHz"),
    ):
        lines = {
            name: [at | {"value": at[figure]} for at in moments if figure in at]
            for name, moments in told.items()
        }
        lines = {name: line for name, line in lines.items() if line}
        if lines:
            charts.append(_lines(lines, title, unit))
    return charts


def _moments(run: Run) -> Data:
    launches = run.speed.launches if run.speed else ()
    moments = [
        (index + 1 + PLACES[name], f"launch {index + 1}, {name}", snapshot)
        for index, launch in enumerate(launches)
        for name, snapshot in zip(PLACES, (launch.before, launch.loaded, launch.after), strict=True)
    ]
    conditions = run.conditions
    if not any(_reading(snapshot) for _, _, snapshot in moments):
        snapshots = (conditions.before, conditions.loaded or Snapshot(), conditions.after)
        moments = [
            (1 + PLACES[name], name, snapshot)
            for name, snapshot in zip(PLACES, snapshots, strict=True)
        ]
    return [
        {"at": at, "moment": moment, "throttled": bool(snapshot.throttled), **_reading(snapshot)}
        for at, moment, snapshot in moments
    ]


def _reading(snapshot: Snapshot) -> dict[str, float]:
    """Return the hottest sensor, and the mean of the processors' clocks or the GPU's."""
    told = {}
    if snapshot.temperature_c:
        told["hottest"] = max(snapshot.temperature_c.values())
    clocks = [hz for name, hz in snapshot.clocks_hz.items() if name.startswith("cpu")]
    clocks = clocks or [hz for name, hz in snapshot.clocks_hz.items() if name == "gpu"]
    if clocks:
        told["clock"] = sum(clocks) / len(clocks) / 1e9
    return told


def _lines(lines: dict[str, Data], title: str, unit: str) -> Chart:
    import altair as alt

    names = list(lines)
    values = [{"row": name, **at} for name, line in lines.items() for at in line]
    last = max(value["at"] for value in values)
    x = alt.X(
        "at:Q",
        title="launch: before, at work, after",
        scale=alt.Scale(domain=[0.9, last + 0.1], nice=False),
        axis=alt.Axis(values=list(range(1, int(last) + 1)), format="d"),
    )
    scale = span(value["value"] for value in values).scale(alt)
    colour = coloured(alt, "row", names)
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=x, y=alt.Y("value:Q", title=unit, scale=scale), color=colour
    )
    drawing = alt.layer(
        base.mark_line(strokeWidth=1.2),
        base.mark_point(filled=True, size=28).encode(
            tooltip=["row:N", "moment:N", alt.Tooltip("value:Q", format=".3g")]
        ),
        base.transform_filter("datum.throttled").mark_point(
            shape="cross", size=130, color=COLOURS[5], filled=True, angle=45
        ).encode(color=alt.value(COLOURS[5])),
    )  # fmt: skip
    words = [_range(name, [at["value"] for at in line], unit) for name, line in lines.items()]
    what = "The hottest sensor" if unit == "°C" else "The mean of the processors' clocks"
    throttled = any(value["throttled"] for value in values)
    caption = f"{what} in each launch." + (" Crosses: throttled." if throttled else "")
    return finished(drawing, title, caption, listed(words), 240)


def memory_by_context(group: Group, runs: Measured) -> Chart | None:
    """Return memory as the context grows: measured at the workload's, the rest by its cache."""
    import altair as alt

    labels = row_labels(group.rows)
    measured: Data = []
    lines: Data = []
    words: list[str] = []
    for row in leading(group):
        run = run_of(row, runs)
        line = _growth(row, run) if run else None
        if line is None or len(words) == LINED:
            continue
        name = flat(labels[row.key])
        here, a_token, limit = line["context"], line["a_token"], line["limit"]
        measured.append({"row": name, "tokens": here, "mib": line["total"] / MIB})
        by_tokens = {
            tokens: (line["total"] + a_token * (tokens - here)) / MIB
            for tokens in sorted({0, here, limit})
        }
        lines += [{"row": name, "tokens": tokens, "mib": mib} for tokens, mib in by_tokens.items()]
        told = [f"{number(by_tokens[tokens])} MiB at {tokens} tokens" for tokens in (here, limit)]
        words.append(f"{name}: {', '.join(told)}")
    if not words:
        return None
    names = list(dict.fromkeys(at["row"] for at in measured))
    colour = coloured(alt, "row", names)
    x = alt.X("tokens:Q", title="tokens of context", scale=alt.Scale(nice=False))
    y = alt.Y("mib:Q", title="MiB", scale=alt.Scale(domainMin=0))
    drawing = alt.layer(
        alt.Chart(alt.InlineData(values=lines)).mark_line(strokeDash=[5, 3], strokeWidth=1.4),
        alt.Chart(alt.InlineData(values=measured)).mark_point(filled=True, size=60),
    ).encode(x=x, y=y, color=colour)
    caption = (
        "Dots were measured; dashed lines add the KV cache of the other tokens, of the size that "
        "the runtime stated."
    )
    return finished(drawing, "Memory as the context grows", caption, listed(words), 260)


def _growth(row: Row, run: Run) -> dict[str, Any] | None:
    total = row.memory.total_bytes if row.memory else None
    memories = [launch.memory for launch in run.speed.launches] if run.speed else []
    memories += [run.memory] if run.memory else []
    cache = max((memory.kv_cache_bytes or 0 for memory in memories), default=0)
    context = run.runtime.context if run.runtime else 0
    if not total or not cache or not context:
        return None
    limit = max(context, min(row.artifact.context_length or context, LONGEST))
    return {"total": total, "a_token": cache / context, "context": context, "limit": limit}

"""Draw how figures spread: tokens' latencies, divergence by level, one figure over devices.

Knows groups of compared rows and the runs behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgebench.analyze.compare import Group
from edgebench.analyze.divergences import divergence_at
from edgebench.records.base import clean
from edgebench.records.run import Run
from edgebench.report.charts import MOST_BARS, flat, height_of, label_axis, shown_rows
from edgebench.report.content import Chart
from edgebench.report.drawing import (
    COLOURS,
    WIDE,
    coloured,
    finished,
    listed,
    said,
    shaped,
    span,
)
from edgebench.report.format import counted, number
from edgebench.report.measured import Measured, row_labels, run_of

SHARES = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99}
LEAST_TOKENS = 20  # of which a distribution can be told at all


def latency(group: Group, runs: Measured) -> Chart | None:
    """Return how long single generated tokens took, a line for each row."""
    import altair as alt

    values, words = _latencies(group, runs)
    if not values:
        return None
    names = [value["label"] for value in values]
    ends = [value[name] for value in values for name in SHARES if name in value]
    scale = span(ends, may_be_log=True).scale(alt)
    base = alt.Chart(alt.InlineData(values=values)).encode(y=label_axis(alt, names))
    x = alt.X("p5:Q", title="milliseconds a token (less is better)", scale=scale)
    tip = ["label:N", "shown:N"]
    drawing = alt.layer(
        base.mark_rule(strokeWidth=1.5).encode(x=x, x2="p95:Q"),
        base.mark_bar(height={"band": 0.5}, color=COLOURS[0]).encode(
            x="p25:Q", x2="p75:Q", tooltip=tip
        ),
        base.mark_tick(thickness=2, height={"band": 0.6}).encode(x="p50:Q"),
        base.transform_filter("isValid(datum.p99)")
        .mark_point(filled=True, size=45, color=COLOURS[5])
        .encode(x="p99:Q", tooltip=tip),
    )
    caption = (
        "Line: 5th to 95th percentile of all tokens of all launches; bar: the middle half; tick: "
        "the median; dot: the 99th."
    )
    title = "How long a generated token takes"
    return finished(drawing, title, caption, listed(words), height_of(names))


def _latencies(group: Group, runs: Measured) -> tuple[list[dict[str, Any]], list[str]]:
    """Return each row's percentiles in milliseconds, and what is said of them."""
    labels = row_labels(group.rows)
    values: list[dict[str, Any]] = []
    words = []
    for row in shown_rows(group):
        run = run_of(row, runs)
        token_s = _token_s(run) if run else []
        if len(token_s) < LEAST_TOKENS:
            continue
        told = {name: 1000 * _quantile(token_s, share) for name, share in SHARES.items()}
        if len(token_s) < 100:
            del told["p99"]
        shown = ", ".join(f"{name} {number(value)} ms" for name, value in told.items())
        values.append({"label": labels[row.key], "shown": shown, **told})
        middle = f"{number(told['p50'])} ms, 19 of 20 within {number(told['p95'])} ms"
        words.append(f"{flat(labels[row.key])}: half within {middle}")
    return values, words


def _token_s(run: Run) -> list[float]:
    launches = run.speed.launches if run.speed else ()
    return sorted(seconds for launch in launches for seconds in launch.token_s)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return the median-unbiased quantile (Hyndman & Fan 1996, type 8) of ordered values."""
    place = min(max((len(ordered) + 1 / 3) * share - 2 / 3, 0.0), len(ordered) - 1.0)
    low = min(int(place), len(ordered) - 2)
    return ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])


def divergences(group: Group) -> list[Chart]:
    """Return, for each text, how far each level lies from its reference."""
    return [chart for text in group.texts if (chart := _divergence(group, text))]


def _divergence(group: Group, text: str) -> Chart | None:
    import altair as alt

    labels = row_labels(group.rows)
    values: list[dict[str, Any]] = []
    words = []
    for row in [row for row in group.rows if divergence_at(row, text)][:MOST_BARS]:
        far = divergence_at(row, text)
        if far is None or far.mean_kld is None:
            continue
        label, kld = labels[row.key], far.mean_kld
        words.append(said(flat(label), kld, "nats"))
        value = {"label": label, "value": kld.value, "shown": number(kld.value)}
        if kld.bounds:
            value |= {"low": kld.bounds.low, "high": kld.bounds.high}
        values.append(value | {"end": value.get("high", kld.value)})
    if not values:
        return None
    names = [value["label"] for value in values]
    least = min(value.get("low", value["value"]) for value in values)
    most = max(value["end"] for value in values)
    if least > 0 and most > WIDE * least:
        scale = alt.Scale(type="log", domain=[least / 1.5, most * 3], nice=False)
    else:
        scale = alt.Scale(domain=[min(0.0, least), 1.15 * most or 1.0], nice=False)
    base = alt.Chart(alt.InlineData(values=values)).encode(y=label_axis(alt, names))
    x = alt.X("value:Q", title="mean KL divergence, nats a token (less is better)", scale=scale)
    drawing = alt.layer(
        base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.5).encode(
            x=alt.X("low:Q", scale=scale), x2="high:Q"
        ),
        base.mark_point(filled=True, size=60, color=COLOURS[0]).encode(
            x=x, tooltip=["label:N", "shown:N"]
        ),
        base.mark_text(align="left", dx=7).encode(x=alt.X("end:Q", scale=scale), text="shown:N"),
    )  # fmt: skip
    title = f"Distance from the reference at {clean(text, 40)}"
    return finished(drawing, title, "", listed(words), height_of(names))


def over_devices(groups: Sequence[Group]) -> list[Chart]:
    """Return, for each workload that several devices ran, their decode of each artifact."""
    by_workload: dict[str, list[Group]] = {}
    for group in groups:
        if group.workload and any(row.decode for row in group.rows):
            by_workload.setdefault(group.workload.name, []).append(group)
    return [
        _over_devices(name, held)
        for name, held in by_workload.items()
        if len({_device(group) for group in held}) > 1
    ]


def _device(group: Group) -> str:
    return f"{clean(group.device.name, 40)} #{group.rows[0].machine[:6]}"


def _over_devices(workload: str, groups: Sequence[Group]) -> Chart:
    import altair as alt

    rows = [row for group in groups for row in group.rows if row.decode]
    labels = row_labels(rows)
    devices = {_device(group): group.device.name for group in groups}
    several = len(set(devices.values())) < len(devices)
    name_of = {key: key if several else clean(name, 40) for key, name in devices.items()}
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    words = {}
    for group in sorted(groups, key=lambda group: group.newest):
        for row in group.rows:
            if row.decode is None:
                continue
            label, device = labels[row.key], name_of[_device(group)]
            value = {"label": label, "device": device, "value": row.decode.value}
            if row.decode.bounds:
                value |= {"low": row.decode.bounds.low, "high": row.decode.bounds.high}
            newest[label, device] = value | {"shown": said("", row.decode, "tok/s")[2:]}
            words[label, device] = said(f"{flat(label)} on {device}", row.decode, "tok/s")
    chosen = list(dict.fromkeys(label for label, _ in newest))[:MOST_BARS]
    values = [value for (label, _), value in newest.items() if label in chosen]
    axis = span([value["value"] for value in values], may_be_log=True)
    scale = axis.scale(alt) if axis.is_log else alt.Scale(domainMin=0)
    names = list(name_of.values())
    base = alt.Chart(alt.InlineData(values=values)).encode(y=label_axis(alt, chosen))
    x = alt.X("value:Q", title="decode, tokens per second (more is better)", scale=scale)
    drawing = alt.layer(
        base.transform_filter("isValid(datum.low)").mark_rule().encode(x="low:Q", x2="high:Q"),
        base.mark_point(filled=True, size=70).encode(
            x=x,
            color=coloured(alt, "device", names),
            shape=shaped(alt, "device", names),
            tooltip=["label:N", "device:N", "shown:N"],
        ),
    )
    title = f"{counted(len(names), 'device')} at {clean(workload, 40)}"
    caption = "The axis is logarithmic." if axis.is_log else ""
    told = [sentence for (label, _), sentence in words.items() if label in chosen]
    return finished(drawing, title, caption, listed(told), height_of(chosen))

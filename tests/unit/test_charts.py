"""Charts: what is drawn of which figures, where labels stand, what is left out and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import make_artifact, make_launch, make_run, make_speed, make_task_run
from support.studies import make_failure, make_study

from edgebench.analyze.compare import compare
from edgebench.analyze.rows import summarize
from edgebench.records.energy import Series
from edgebench.records.run import Run
from edgebench.report.charts import MOST_BARS, flat, shown_rows
from edgebench.report.content import Chart
from edgebench.report.drawing import (
    HEIGHT,
    NARROW,
    Point,
    Side,
    _box,
    _meet,
    placed_labels,
    span,
)
from edgebench.report.measured import measured, row_labels, run_of
from edgebench.report.overview import Report, make_report
from edgebench.report.spreads import _quantile
from edgebench.report.traces import _watts, thinned

pytest.importorskip("altair")
SECOND = 1_000_000_000


def report_of(runs: Sequence[Run]) -> Report:
    """Return the report of runs."""
    return make_report(compare(summarize(runs)), runs)


def charts_of(report: Report) -> dict[str, Chart]:
    """Return the charts by their titles."""
    return {chart.title: chart for section in report.sections for chart in section.charts}


def data_of(chart: Chart) -> list[dict[str, object]]:
    """Return all values that a chart draws."""
    return [value for values in chart.spec["datasets"].values() for value in values]


def test_a_full_study_is_drawn_in_full() -> None:
    """Every kind of chart is there, with its figures in words and a title on its axis."""
    charts = charts_of(report_of(make_study()))
    assert set(charts) == {
        "Accuracy at basics against speed",
        "Accuracy at basics against energy",
        "Generated tokens a second",
        "Prompt tokens a second",
        "Time to the first token",
        "Memory of the whole deployment",
        "Energy of a generated token",
        "Accuracy at basics",
        "How long a generated token takes",
        "Distance from the reference at passages",
        "Power while f16 was measured",
        "Power while q8_0 was measured",
        "Temperature over the case",
        "Clocks over the case",
        "Memory as the context grows",
    }
    for chart in charts.values():
        assert chart.words
        assert chart.words in chart.spec["description"]
    assert "f16: " in charts["Generated tokens a second"].words
    assert "tok/s (" in charts["Generated tokens a second"].words
    assert "tokens per second" in json.dumps(charts["Generated tokens a second"].spec)


def test_bars_end_at_the_figure_and_lines_at_its_interval() -> None:
    """What is drawn is the row's own estimate."""
    runs = make_study(levels=("f16", "q4_0"))
    (group,) = compare(summarize(runs))
    drawn = {
        value["label"]: value
        for value in data_of(charts_of(report_of(runs))["Generated tokens a second"])
    }
    for row in group.rows:
        assert row.decode
        assert row.decode.bounds
        value = drawn[row.level]
        assert value["value"] == row.decode.value
        assert (value["low"], value["high"]) == tuple(row.decode.bounds)


def test_the_front_is_what_no_other_beats() -> None:
    """A level that is slower and loses more than another is off the front, and drawn faint."""
    runs = []
    for level, rate, right in (("f16", 10.0, 250), ("q8_0", 20.0, 250), ("q4_0", 5.0, 100)):
        artifact = make_artifact(level=level, bits_per_weight=16.0 if level == "f16" else 8.0)
        launches = [make_launch(f"round {index}", rate + index / 100) for index in range(5)]
        answers = [index < right for index in range(300)]
        speed = make_speed(rate, launches=launches)
        runs += [
            make_run(run_id=level, artifact=artifact, speed=speed),
            make_task_run(answers, run_id=f"{level} task", artifact=artifact),
        ]
    chart = charts_of(report_of(runs))["Accuracy at basics against speed"]
    front = {value["label"]: value["front"] for value in data_of(chart) if "front" in value}
    assert front == {"f16": False, "q8_0": True, "q4_0": False}
    assert "On the front: q8_0." in chart.words


def test_a_report_of_a_single_run_shows_its_figures() -> None:
    """A run without tasks, energy or heat still has bars; what isn't drawn is said in a line."""
    report = report_of([make_run()])
    assert "Generated tokens a second" in charts_of(report)
    section = next(section for section in report.sections if section.charts)
    (line,) = [note for note in section.notes if note.startswith("Not drawn: ")]
    assert "accuracy against speed (what was timed answered no task)" in line
    assert "power (no readings are stored)" in line
    assert "temperature and clocks (this machine tells none)" in line
    assert section.tables[0].rows


def test_runs_that_only_failed_are_told_and_not_drawn() -> None:
    """A failure is a warning near the top; nothing is drawn of it."""
    report = report_of([make_failure("too little memory"), *make_study(levels=("f16",))])
    titles = [section.title for section in report.sections]
    assert titles[:2] == ["The answer", "Warnings"]
    assert "f32" not in json.dumps([chart.spec for chart in charts_of(report).values()])
    assert any("too little memory" in note for note in report.sections[1].notes)
    assert "1 of them failed" in report.sections[0].facts[0]


def test_devices_stand_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """One chart for a workload that several devices ran, right after the answer."""
    monkeypatch.setattr("edgebench.report.overview.MOST_CHARTED", 0)
    levels = ("f16", "q4_0")
    runs = make_study(levels=levels) + make_study("raspberry-pi-5", levels=levels, times=0.3)
    report = report_of(runs)
    assert report.sections[1].title == "2 devices side by side, chat"
    (chart,) = report.sections[1].charts
    assert {value["device"] for value in data_of(chart)} == {
        "jetson-orin-nano-8gb",
        "raspberry-pi-5",
    }
    assert "q4_0 on raspberry-pi-5: " in chart.words


def test_of_many_rows_the_bars_are_few_and_say_so() -> None:
    """A hundred rows make no chart of a hundred bars: the table has all."""
    models = {f"model-{index}": 10**8 * (index + 1) for index in range(10)}
    (group,) = compare(summarize(make_study(models=models)))
    rows = shown_rows(group)
    assert len(rows) == MOST_BARS
    baselines = [row for row in group.rows if row.is_baseline]
    assert all(row in rows for row in baselines)


def test_each_row_has_a_label_of_its_own() -> None:
    """Models, levels, formats, files of one name and settings are told apart."""
    runs = make_study(models={"a-135m": 10**8, "b-1b": 10**9}, threads=(2, 4), levels=("f16",))
    other = runs[0].artifact.model_copy(update={"sha256": "another file", "format": "gguf"})
    runs.append(runs[0].model_copy(update={"artifact": other, "run_id": "other"}))
    rows = summarize(runs)
    labels = row_labels(rows)
    assert len(set(labels.values())) == len(labels) == 5
    assert "b-1b\nf16 fake (4 threads)" in labels.values()
    assert flat("a-\nb_\nc\nf16") == "a-b_c f16"


def test_a_rows_run_is_the_newest_good_one() -> None:
    """Tokens and readings are of the run whose figures the row shows."""
    old = make_run(run_id="old", created="2026-01-01T00:00:00Z")
    new = make_run(run_id="new", created="2026-02-01T00:00:00Z")
    (row,) = summarize([new, old])
    run = run_of(row, measured([new, old]))
    assert run
    assert run.run_id == "new"
    task_only = summarize([make_task_run([True, False])])[0]
    assert run_of(task_only, measured([new])) is None


places = st.floats(0.05, 0.95)


@given(st.lists(st.tuples(places, places, st.text("q4_km", min_size=1, max_size=12)), max_size=12))
def test_labels_meet_no_other_and_no_point(drawn: list[tuple[float, float, str]]) -> None:
    """Whatever the points, labels that are shown never overlap and stay inside a phone's plot."""
    points = [Point(*each) for each in drawn]
    boxes = [
        _box(point, side, point.label)
        for point, side in zip(points, placed_labels(points), strict=True)
        if side
    ]
    dots = [_box(point, Side("center", 0, 0), "o") for point in points]
    for index, box in enumerate(boxes):
        assert 0 <= box[0] <= box[1] <= NARROW
        assert 0 <= box[2] <= box[3] <= HEIGHT
        assert not any(_meet(box, other) for other in [*boxes[:index], *dots])


def test_a_lonely_points_label_is_shown() -> None:
    """Where there is room, every point that has a name shows it."""
    sides = placed_labels([Point(0.2, 0.2, "q4_0"), Point(0.8, 0.8, "f16"), Point(0.5, 0.5)])
    assert [bool(side) for side in sides] == [True, True, False]


@pytest.mark.parametrize(
    ("values", "is_log"),
    [([10.0, 20.0], False), ([1.0, 100.0], True), ([0.0, 100.0], False), ([5.0], False)],
)
def test_an_axis_holds_all_values(values: list[float], is_log: bool) -> None:
    """Values that lie far apart get a logarithmic axis, if none is zero."""
    axis = span(values, may_be_log=True)
    assert axis.is_log is is_log
    assert all(0 < axis.share(value) < 1 for value in values)


def test_thinned_readings_keep_their_peaks_and_order() -> None:
    """A spike of one reading among many thousand is still drawn."""
    readings = [(t, 5.0 + (t == 7777) * 20 - (t == 1234) * 4) for t in range(10_000)]
    kept = thinned(readings, 200)
    assert len(kept) <= 200
    assert (7777, 25.0) in kept
    assert (1234, 1.0) in kept
    assert list(kept) == sorted(kept)


def test_a_counters_watts_are_its_rise_a_second_across_a_wrap() -> None:
    """8 W drawn from a counter that wraps at 100 J stay 8 W."""
    joules = tuple((90.0 + 8 * second) % 100 for second in range(5))
    times = tuple(second * SECOND for second in range(5))
    series = Series(
        rail="package", unit="J", kind="measured", wrap_j=100.0, t_ns=times, values=joules
    )
    assert [at["w"] for at in _watts(series, 0, 5 * SECOND)] == pytest.approx([8.0] * 4)
    reset = series.model_copy(update={"wrap_j": None})
    assert _watts(reset, 0, 5 * SECOND) == []


def test_quantiles_are_those_of_the_tokens() -> None:
    """Of 1 to 999 the median is 500 and the 99th percentile close to 990."""
    ordered = [float(value) for value in range(1, 1000)]
    assert _quantile(ordered, 0.5) == pytest.approx(500)
    assert _quantile(ordered, 0.99) == pytest.approx(990, abs=1)
    assert _quantile(ordered, 0.0) == 1


def test_memory_grows_by_the_cache_that_the_runtime_stated() -> None:
    """At the workload's context stands what was measured; beyond, a token's cache for each."""
    runs = make_study(levels=("q4_0",))
    chart = charts_of(report_of(runs))["Memory as the context grows"]
    lines = [value for value in data_of(chart) if "tokens" in value]
    mib = {value["tokens"]: value["mib"] for value in lines}
    here, far = float(str(mib[192])), float(str(mib[8192]))
    assert far - here == pytest.approx(5 / 192 * 8000)


def test_a_title_is_the_persons_own() -> None:
    """--title stands for the one that would be made, without control characters."""
    report = make_report(compare(summarize([make_run()])), [make_run()], "Which\x1b one?")
    assert report.title == "Which  one?"
    assert replace(report, title="x").sections == report.sections

"""Write a report's charts as PNG and SVG files, without a browser.

Knows vl-convert, which draws as a browser would, and how files are named: by their number and
title, in the letters that every system takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from edgebench.errors import MissingExtraError, UsageError
from edgebench.records.base import safe_name
from edgebench.report.content import Chart
from edgebench.report.drawing import CONFIG
from edgebench.report.overview import Report

SCALE = 2.0  # pixels of a PNG for each of a chart
INK = "#1b1e23"  # where a page would give its own
PAPER = "#ffffff"


def need_drawing() -> None:
    """Raise MissingExtraError where what draws charts is not installed."""
    import importlib.util

    for module, package in (("altair", "altair"), ("vl_convert", "vl-convert-python")):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(package, "report")


def chart_library() -> str:
    """Return the script that draws charts in a page: Vega, Vega-Lite and Vega-Embed."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def write_pictures(report: Report, folder: Path, kind: str) -> list[Path]:
    """Write every chart as `png` or `svg`; raise UsageError where the folder can't be written."""
    import vl_convert

    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, chart in _named(report):
            spec = json.dumps(_with_colours(chart))
            path = folder / f"{name}.{kind}"
            if kind == "png":
                raw = vl_convert.vegalite_to_png(spec, scale=SCALE)
            else:
                raw = vl_convert.vegalite_to_svg(spec).encode()
            path.write_bytes(raw)
            paths.append(path)
    except OSError as error:
        raise UsageError(
            f"can't write to {folder}: {error.strerror}", hint="give another folder"
        ) from None
    return paths


def _named(report: Report) -> Iterator[tuple[str, Chart]]:
    charts = [chart for section in report.sections for chart in section.charts]
    for number, chart in enumerate(charts, 1):
        yield f"{number:02d}-{safe_name(chart.title.lower())[:80]}", chart


def _with_colours(chart: Chart) -> dict[str, object]:
    """Give a chart that stands alone its colours and its title: no page says them."""
    config = json.loads(json.dumps(CONFIG).replace("currentColor", INK))
    config |= {"background": PAPER, "padding": 12}
    title = {"text": chart.title, "anchor": "start", "color": INK, "offset": 18, "fontSize": 13}
    return {**chart.spec, "config": config, "title": title}

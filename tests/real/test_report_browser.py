"""The report in a real browser without a network: drawn, quiet, sortable, on a phone, in the dark.

Pictures of it are kept in the folder that EDGEBENCH_SHOTS names, to be looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.browser import Browser, chromium, find_browser
from support.studies import make_failure, make_study

from edgebench.analyze.compare import compare
from edgebench.analyze.rows import summarize
from edgebench.report.overview import make_report

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

EVIL = "<img src=x onerror=alert(1)></script>\"'"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of two models, one of which is named to break out, on two devices."""
    from edgebench.report.html import as_html
    from edgebench.report.pictures import chart_library

    runs = make_study(models={EVIL: 10**8, "calm-1b": 10**9}, levels=("f16", "q8_0", "q4_0"))
    runs += make_study("raspberry-pi-5", models={"calm-1b": 10**9}, levels=("f16",), times=0.2)
    runs.append(make_failure("it did not fit"))
    report = make_report(compare(summarize(runs)), runs)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(as_html(report, chart_library()))
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start one browser for all tests."""
    if find_browser() is None:
        pytest.skip("no chromium is installed")
    with chromium(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture(scope="module")
def desktop(browser: Browser, page: Path) -> Browser:
    """Open the page on a desktop's screen."""
    browser.open(page)
    return browser


def keep(browser: Browser, name: str) -> None:
    """Keep a picture where somebody wants to look at it."""
    if folder := os.environ.get("EDGEBENCH_SHOTS"):
        browser.screenshot(Path(folder) / f"{name}.png")


def test_it_draws_without_a_word_or_a_request(desktop: Browser, page: Path) -> None:
    """Every chart is drawn; the console stays silent and only the page itself was asked for."""
    browser = desktop
    keep(browser, "desktop")
    assert browser.complaints == []
    assert browser.requests == [page.as_uri()]
    charts = browser.evaluate("document.querySelectorAll('figure').length")
    drawn = browser.evaluate("document.querySelectorAll('.chart > svg, .chart svg').length")
    assert drawn == charts > 20
    assert browser.evaluate("document.querySelectorAll('img, iframe, details.vega').length") == 0
    assert browser.evaluate("document.querySelectorAll('.chart a').length") == 0
    assert "onerror=alert(1)" in browser.evaluate("document.body.innerText")


def column(browser: Browser, table: int, index: int) -> list[str]:
    """Return the first lines of a column's cells, from top to bottom."""
    cells = browser.evaluate(
        f"Array.from(document.querySelectorAll('table')[{table}].tBodies[0].rows, "
        f"(row) => row.cells[{index}].innerText.split('\\n')[0].trim())"
    )
    assert isinstance(cells, list)
    return cells


def test_columns_sort_by_number_both_ways(desktop: Browser) -> None:
    """A click sorts upward, another downward; the head says so, and empty cells stay last."""
    browser = desktop
    heads = browser.evaluate(
        "Array.from(document.querySelectorAll('table')[1].querySelectorAll('thead th'), "
        "(head) => head.innerText)"
    )
    index = next(place for place, head in enumerate(heads) if head.startswith("decode"))
    head = f"document.querySelectorAll('table')[1].querySelectorAll('thead th')[{index}]"
    for direction, is_reversed in (("ascending", False), ("descending", True)):
        browser.evaluate(f"{head}.querySelector('button').click()")
        assert browser.evaluate(f"{head}.getAttribute('aria-sort')") == direction
        rates = [float(cell) for cell in column(browser, 1, index) if cell]
        assert len(rates) > 2
        assert rates == sorted(rates, reverse=is_reversed)


def test_in_the_dark_words_and_charts_are_light(desktop: Browser) -> None:
    """The page follows the system's colours, and so do the axes of its charts."""
    browser, colours = desktop, {}
    for dark in (False, True):
        browser.prefer(dark=dark)
        colours[dark] = browser.evaluate(
            "[getComputedStyle(document.body).backgroundColor, "
            "getComputedStyle(document.querySelector('.chart svg text')).fill]"
        )
    keep(browser, "dark")
    browser.prefer(dark=False)
    light_paper, light_ink = colours[False]
    dark_paper, dark_ink = colours[True]
    assert light_paper == "rgb(255, 255, 255)"
    assert light_ink == "rgb(27, 30, 35)"
    assert dark_paper == "rgb(21, 24, 28)"
    assert dark_ink == "rgb(232, 234, 237)"


def test_it_prints(desktop: Browser) -> None:
    """The print has all of it, with the charts' words unfolded."""
    browser = desktop
    printed = browser.print_pdf()
    assert printed.startswith(b"%PDF")
    assert browser.evaluate(
        "Array.from(document.querySelectorAll('details')).every((part) => part.open)"
    )
    if folder := os.environ.get("EDGEBENCH_SHOTS"):
        (Path(folder) / "print.pdf").write_bytes(printed)


def test_a_phone_scrolls_no_page_sideways(browser: Browser, page: Path) -> None:
    """At 390 pixels the page is as wide as the screen; tables scroll in their own frame."""
    browser.open(page, width=390)
    keep(browser, "phone")
    assert browser.evaluate("document.documentElement.scrollWidth") == 390
    widths = browser.evaluate(
        "Array.from(document.querySelectorAll('.chart svg'), "
        "(svg) => svg.getBoundingClientRect().right)"
    )
    assert max(widths) <= 390
    assert browser.evaluate(
        "Array.from(document.querySelectorAll('.wide')).some((part) => part.scrollWidth > 390)"
    )


def test_its_policy_stops_what_would_call_out(browser: Browser, page: Path) -> None:
    """A script, a picture or a request that got in all the same is not let through."""
    browser.open(page)
    browser.events.clear()
    browser.evaluate("""
        window.ran = false;
        const script = document.createElement('script');
        script.textContent = 'window.ran = true';
        document.body.append(script);
        new Image().src = 'http://example.org/x.png';
        fetch('http://example.org/').catch(() => { window.stopped = true; });
        document.body.insertAdjacentHTML('beforeend', '<p onclick="window.ran = true">x</p>');
        document.body.lastElementChild.click();
    """)
    assert browser.evaluate("window.ran") is False
    assert browser.evaluate("new Promise((done) => setTimeout(() => done(1), 50)) && 1") == 1
    assert browser.evaluate("window.stopped") is True
    assert len(browser.complaints) >= 3

"""report: one page, the answer first, that needs no network and shows what runs say as text."""

from __future__ import annotations

import importlib.util
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.builders import make_artifact, make_run, make_task_run
from support.shell import Shell, error_of
from support.studies import make_failure, make_study, store

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

EVIL = "<script>alert(1)</script>\"'</script><!--&amp;\u202egpj"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the drawing script out: it takes seconds to make, and these tests draw nothing."""
    monkeypatch.setattr("edgebench.report.pictures.chart_library", lambda: "/* </script> */")


class Page(HTMLParser):
    """A page as a browser parts it: its elements, and what is text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words = ""
        self.inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.elements.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        self.inside = ""

    def handle_data(self, data: str) -> None:
        """Keep text, a script's apart."""
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside != "style":
            self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(edgebench: Shell, *arguments: str) -> Page:
    """Write a report and return its page."""
    done = edgebench("report", *arguments, "-o", "out.html")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "written to out.html\n"
    assert done.stdout == ""
    return Page((edgebench.cwd / "out.html").read_text())


@pytest.mark.usefixtures("quick")
def test_the_answer_comes_first(edgebench: Shell) -> None:
    """After the title: what to take away, then warnings, figures, and where they come from."""
    store(edgebench.cwd / "profiles", [*make_study(), make_failure("it did not fit")])
    page = page_of(edgebench, "--title", "Which build?")
    headings = [
        "Which build?",
        "The answer",
        "q2_k is 5.",
        "None is shown to be beaten",
        "it did not fit",
        "Accuracy at basics against speed",
        "prefill",
        "sha of tiny-135m",
    ]
    body = page.words[page.words.index("Skip to the answer") :]
    places = [body.find(heading) for heading in headings]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.usefixtures("quick")
def test_what_a_run_says_is_text(edgebench: Shell) -> None:
    """A model named like a script makes no element, ends no script and turns no text around."""
    models = {EVIL: 10**8, "{{7*7}}": 2 * 10**8}
    runs = make_study(models=models, levels=("f16", "q4_0"))
    store(edgebench.cwd / "profiles", runs)
    html_page = page_of(edgebench, "--title", EVIL)
    html = (edgebench.cwd / "out.html").read_text()
    kinds = [script.get("type") for script in html_page.all("script")]
    own = kinds.count(None)
    assert own == 2
    assert set(kinds) == {None, "application/json"}
    specs = [json.loads(told) for told, kind in zip(html_page.scripts, kinds, strict=True) if kind]
    assert "<script>alert(1)</script>" in json.dumps(specs)
    assert "<script>alert(1)" in html_page.words
    assert "{{7*7}}" in html_page.words
    assert "\u202e" not in html
    assert not any(name.startswith("on") for _, given in html_page.elements for name in given)


@pytest.mark.usefixtures("quick")
def test_the_page_lets_nothing_out(edgebench: Shell) -> None:
    """Its policy forbids all requests and all scripts but two, and it links to nothing outside."""
    store(edgebench.cwd / "profiles", make_study(levels=("f16", "q4_0")))
    page = page_of(edgebench)
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert not re.search(r"https?:|script-src[^;]*unsafe", policy)
    assert all((link["href"] or "").startswith("#") for link in page.all("a"))
    assert not [tag for tag, given in page.elements if "src" in given or tag == "link"]


@pytest.mark.usefixtures("quick")
def test_a_screen_reader_finds_its_way(edgebench: Shell) -> None:
    """Landmarks, a heading for each part, captions, heads of rows and columns, charts in words."""
    store(edgebench.cwd / "profiles", make_study(levels=("f16", "q4_0")))
    page = page_of(edgebench)
    assert page.all("html")[0]["lang"] == "en"
    for landmark in ("header", "main", "nav", "footer", "h1"):
        assert len(page.all(landmark)) == 1
    assert len(page.all("caption")) == len(page.all("table"))
    scopes = {head.get("scope") for head in page.all("th")}
    assert scopes == {"col", "row"}
    assert all(head.get("aria-sort") for head in page.all("th") if head["scope"] == "col")
    charts = [part for part in page.all("div") if part.get("role") == "img"]
    assert len(charts) == len(page.all("figure")) > 10
    assert all("q4_0" in (chart["aria-label"] or "") for chart in charts[:3])
    regions = [part for part in page.all("div") if part.get("role") == "region"]
    assert all(part["tabindex"] == "0" and part["aria-label"] for part in regions)
    ids = [given["id"] for _, given in page.elements if "id" in given]
    assert len(ids) == len(set(ids))


def test_a_hundred_artifacts_fit_in_three_megabytes(edgebench: Shell) -> None:
    """The page with its script, charts and tables of 102 artifacts is at most 3 MB."""
    models = {f"model-{index}-of-a-long-name": 10**8 * (index + 1) for index in range(17)}
    store(edgebench.cwd / "profiles", make_study(models=models))
    page = page_of(edgebench)
    assert (edgebench.cwd / "out.html").stat().st_size < 3_000_000
    assert len(page.all("script")) > 10
    assert "17 models on jetson-orin-nano-8gb" in page.words


@pytest.mark.usefixtures("quick")
def test_report_html_is_written_unless_something_else_was_asked(edgebench: Shell) -> None:
    """The page is report.html by default and stdout with -; --json alone prints and writes none."""
    store(edgebench.cwd / "profiles", [make_run()])
    told = edgebench.json("report", "--json")
    assert not (edgebench.cwd / "report.html").exists()
    assert next(section["title"] for section in told["sections"]) == "The answer"
    charts = [chart for section in told["sections"] for chart in section["charts"]]
    assert all(chart["words"] and chart["spec"]["layer"] for chart in charts)
    done = edgebench("report")
    assert done.stderr == "written to report.html\n"
    printed = edgebench("report", "-o", "-")
    assert printed.stdout == (edgebench.cwd / "report.html").read_text()
    assert edgebench("report", "-o", "-", "--json").returncode == 2


def test_pictures_need_no_browser(edgebench: Shell) -> None:
    """--png and --svg write each chart under a safe name, and no page by themselves."""
    artifact = make_artifact(model="../../evil <b>")
    runs = [
        make_run(artifact=artifact),
        make_task_run([True, False] * 9, artifact=artifact, run_id="task"),
    ]
    store(edgebench.cwd / "profiles", runs)
    done = edgebench("report", "--png", "pictures", "--svg", "pictures", "--workload", "short")
    assert done.returncode == 0, done.stderr
    assert not (edgebench.cwd / "report.html").exists()
    names = sorted(path.name for path in (edgebench.cwd / "pictures").iterdir())
    assert "01-accuracy-at-basics-against-speed.png" in names
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)
    assert len({Path(name).stem for name in names}) * 2 == len(names)
    raw = (edgebench.cwd / "pictures" / names[0]).read_bytes()
    assert raw.startswith(b"\x89PNG")
    drawn = (edgebench.cwd / "pictures" / names[1]).read_text()
    assert drawn.startswith("<svg")
    assert "<script" not in drawn


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--workload", "shrot"], "no runs of workload 'shrot'"),
        (["--device", "jetson-nano"], "no runs of device 'jetson-nano'"),
        (["--baseline", "q3"], "no run of level 'q3'"),
        (["nowhere"], "no runs at nowhere"),
        (["-o", "nowhere/report.html"], "can't write nowhere/report.html"),
        (["--svg", "profiles/cpu/tiny.jsonl/x"], "can't write to profiles"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_what_was_mistyped_is_said(edgebench: Shell, arguments: list[str], words: str) -> None:
    """One clear line and exit code 2."""
    store(edgebench.cwd / "profiles", [make_run()])
    done = edgebench("report", *arguments)
    assert done.returncode == 2
    assert words in error_of(done)


def test_without_the_extra_it_says_what_to_install(
    edgebench: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 7, with the line for pip; nothing was written."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "vl_convert" else find(name)
    )
    done = edgebench("report")
    assert done.returncode == 7
    assert 'pip install "edgebench[report]"' in done.stderr
    assert not (edgebench.cwd / "report.html").exists()

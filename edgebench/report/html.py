"""Write a report as one HTML file that opens offline: styles, script and data are all inside.

Knows the content model and the page's template. What a run says reaches the page as text alone:
the template escapes it, and charts' data can't end their script. The page's policy lets no
request out, and runs no script but the two whose hashes it names; the charts' expressions are
interpreted, not compiled, so that nothing needs `eval`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from edgebench import __version__
from edgebench.report.drawing import CONFIG
from edgebench.report.overview import Report

_BROKEN_NAME = re.compile(r"(?<=[-_])\n")  # a page breaks long names itself
PAGE = Path(__file__).with_name("page")


def as_html(report: Report, library: str) -> str:
    """Return the page; `library` is the script that draws charts."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    scripts = [_whole(library), _whole((PAGE / "page.js").read_text())]
    environment = Environment(loader=FileSystemLoader(PAGE), autoescape=True)
    environment.filters |= {"script_json": _script_json, "lines": _lines}
    return environment.get_template("page.html").render(
        report=report,
        config=CONFIG,
        version=__version__,
        style=Markup((PAGE / "page.css").read_text()),
        scripts=[Markup(script) for script in scripts],
        script_hashes=Markup(" ".join(_hash(script) for script in scripts)),
    )


def _whole(script: str) -> str:
    """Keep a script's strings from ending its element."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _script_json(value: Any) -> Any:
    """Return JSON that can stand in a script element: it holds no `<`, `>` or `&`."""
    from markupsafe import Markup

    words = json.dumps(value, separators=(",", ":"))
    for sign in "<>&":
        words = words.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(words)


def _lines(cell: str) -> Any:
    """Return a cell with what stands beneath its figure in an element of its own."""
    from markupsafe import Markup, escape

    first, *beneath = _BROKEN_NAME.sub("", cell).split("\n")
    return Markup(escape(first)) + Markup("").join(
        Markup('<span class="beneath">{}</span>').format(line) for line in beneath
    )

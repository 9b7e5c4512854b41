"""Write a contract's result as JUnit XML, which CI systems show: a test case for each demand.

Knows the format alone. A demand that fails is a failure, an inconclusive one an error: both turn a
job red, and a person sees which is which.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from edgebench.analyze.verdict import Line, Result
from edgebench.report.checks import demand_words, interval_words

# What XML 1.0 can't hold in any way, escaped or not: most control characters, halves of pairs.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(result: Result, name: str) -> bytes:
    """Return the document; `name` is what the contract is called."""
    lines = result.lines
    failures = sum(line.verdict == "FAIL" for line in lines)
    errors = sum(line.verdict == "INCONCLUSIVE" for line in lines) + (not lines)
    counts = {
        "tests": str(max(1, len(lines))),
        "failures": str(failures),
        "errors": str(errors),
    }
    root = ElementTree.Element("testsuites", {"name": "edgebench check", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(name), **counts})
    properties = ElementTree.SubElement(suite, "properties")
    told = {
        "verdict": result.verdict,
        "artifact": result.artifact or "",
        "sha256": result.sha256 or "",
        "device": result.device,
        "confidence": f"{result.confidence:g}",
    }
    for key, value in told.items():
        ElementTree.SubElement(properties, "property", {"name": key, "value": _clean(value)})
    who = result.candidates[0].artifact if result.candidates else result.device
    for line in lines:
        _case(suite, line, who)
    if not lines:
        case = ElementTree.SubElement(suite, "testcase", {"name": "runs", "classname": _clean(who)})
        ElementTree.SubElement(case, "error", {"message": _clean(result.reason)})
    ElementTree.indent(root)
    raw: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return raw + b"\n"


def _case(suite: ElementTree.Element, line: Line, who: str) -> None:
    fields = {"name": _clean(demand_words(line)), "classname": _clean(who)}
    case = ElementTree.SubElement(suite, "testcase", fields)
    if line.verdict == "PASS":
        return
    kind = "failure" if line.verdict == "FAIL" else "error"
    told = [f"it has {interval_words(line)}"] if line.estimate else []
    told += [line.reason] if line.reason else []
    attributes = {"type": line.verdict, "message": _clean("; ".join(told))}
    child = ElementTree.SubElement(case, kind, attributes)
    if line.command:
        child.text = _clean(f"to decide, type: {line.command}")


def _clean(words: str) -> str:
    """Return words without characters that no XML document can hold, of sensible length."""
    return _NOT_XML.sub(" ", words)[:2000]

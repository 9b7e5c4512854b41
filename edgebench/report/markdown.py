"""Write sections as Markdown. Knows the content model; what came from files can't break it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgebench.records.base import clean
from edgebench.report.content import Section, Table


def as_markdown(sections: Iterable[Section]) -> str:
    """Return the sections as Markdown."""
    return "\n".join("\n".join(_lines(section)) for section in sections)


def _lines(section: Section) -> list[str]:
    lines = [f"**{_escape(section.title)}**", ""]
    for fact in section.facts:
        lines += [_escape(fact), ""]
    if section.verdict:
        lines += [" ".join(_escape(sentence) for sentence in section.verdict), ""]
    for table in section.tables:
        lines += _table(table.filled())
    if section.notes:
        lines += [*(f"- {_escape(note)}" for note in section.notes), ""]
    return lines


def _table(table: Table) -> list[str]:
    lines = [f"**{_escape(table.title)}**", ""] if table.title else []
    lines += [
        _row([column.name for column in table.columns]),
        _row(["---", *["---:"] * (len(table.columns) - 1)]),
        *(_row([_one_line(cell) for cell in cells]) for cells in table.rows),
        "",
    ]
    notes = (*table.notes, *table.details)
    return lines + ([*(f"- {_escape(note)}" for note in notes), ""] if notes else [])


def _one_line(cell: str) -> str:
    first, _, beneath = cell.partition("\n")
    return f"{first} ({beneath})" if beneath else first or "-"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |"


def _escape(words: str) -> str:
    return clean(words, 2000).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")

"""Ask SQL of what `compare` reads and shows, and print the answer or write it to a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgebench.analyze.compare import Group
    from edgebench.report.query import Answer
    from edgebench.run.heads import Seen

SHOWN = 1000  # rows of a table; other forms have all


@dataclass(frozen=True)
class Question:
    """A query, the form that its answer is wanted in, and the file that it goes to, if any."""

    sql: str | None
    layout: str
    parquet: Path | None


def answered(question: Question, runs: Sequence[Seen], groups: Sequence[Group]) -> str | None:
    """Return the answer as a document; None where it was written as Parquet instead."""
    from edgebench.errors import UsageError
    from edgebench.report.query import ALL_ROWS, Database, whole_file
    from edgebench.report.query_columns import rows_table, runs_table

    if question.layout == "model-card":
        raise UsageError("--sql has no model card", hint="--format table, markdown, csv or json")
    sql = ALL_ROWS if question.sql is None else question.sql
    tables = [runs_table(runs), rows_table(groups)]
    if question.parquet is not None:
        with whole_file(question.parquet) as part:
            Database(tables, part).write_parquet(sql, part)
        return None
    return _document(Database(tables).ask(sql), question.layout)


def _document(answer: Answer, layout: str) -> str:
    if layout == "json":
        from edgebench.cli.stored import as_json

        columns = [
            {"name": name, "type": kind}
            for name, kind in zip(answer.names, answer.types, strict=True)
        ]
        return as_json({"columns": columns, "rows": [list(row) for row in answer.rows]})
    if layout == "csv":
        import csv
        import io

        from edgebench.report.csv_file import safe_cell

        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([safe_cell(name) for name in answer.names])
        writer.writerows([safe_cell(cell) for cell in row] for row in answer.rows)
        return out.getvalue()
    return _table(answer, layout)


def _table(answer: Answer, layout: str) -> str:
    """Return the answer as a table; where it is too wide, its last columns are left out by name."""
    from edgebench.report.content import Column, Section, Table

    rows = [tuple(_cell(cell) for cell in row) for row in answer.rows[:SHOWN]]
    more = len(answer.rows) - len(rows)
    notes = (f"{more} more rows; --format csv has them all.",) if more else ()
    if layout == "markdown":
        from edgebench.report.markdown import as_markdown

        columns = tuple(Column(name) for name in answer.names)
        return as_markdown([Section("Answer", tables=(Table("", columns, tuple(rows), notes),))])
    import io

    from rich.console import Console

    from edgebench.report.terminal import print_table

    width = Console().width
    count = _fitting(answer.names, rows, width)
    if count < len(answer.names):
        left = ", ".join(answer.names[count:][:5]) + ", ..." * (len(answer.names) - count > 5)
        words = f"Left out to fit {width} columns: {left}; --format csv has them all."
        notes = (*notes, words)
    columns = tuple(Column(name) for name in answer.names[:count])
    out = io.StringIO()
    shown = Table("", columns, tuple(row[:count] for row in rows), notes)
    print_table(Console(file=out, width=width), shown, "--format csv")
    return out.getvalue()


def _fitting(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> int:
    """Return how many of the first columns have room, and at least one."""
    from rich.cells import cell_len

    from edgebench.report.terminal import GAP

    used = 0
    for place, name in enumerate(names):
        used += max([cell_len(name), *(cell_len(row[place]) for row in rows)]) + GAP
        if used - GAP > width:
            return max(1, place)
    return len(names)


def _cell(value: object) -> str:
    from edgebench.records.base import clean

    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else clean(str(value))

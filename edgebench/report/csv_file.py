"""Write compared rows as CSV in SI units, for a spreadsheet. An absent figure is empty."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import zip_longest

from edgebench.analyze.compare import Group
from edgebench.records.base import clean
from edgebench.report.columns import FIGURES, Line, names_of, value_of

FORMULA = ("=", "+", "-", "@")
BLANK = ("\t", "\r", "\n")


def as_csv(groups: Iterable[Group]) -> str:
    """Return rows as CSV, with as many lines as a row has tasks or texts, whichever is more.

    Text that a spreadsheet could take for a formula begins with an apostrophe; numbers stay.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([name for figure in FIGURES for name in names_of(figure)])
    for group in groups:
        for line in lines_of(group):
            cells = [cell for figure in FIGURES for cell in value_of(figure, line)]
            writer.writerow([safe_cell(cell) for cell in cells])
    return out.getvalue()


def lines_of(group: Group) -> Iterator[Line]:
    """Give a group's lines: of each row as many as it has tasks or texts, and at least one."""
    for row in group.rows:
        for task, text in list(zip_longest(row.tasks, row.divergences)) or [(None, None)]:
            yield Line(group, row, task, text)


def safe_cell(cell: object) -> object:
    """Return a cell whose text no spreadsheet takes for a formula, and that is one clean line."""
    if not isinstance(cell, str):
        return cell
    words = clean(cell, None)
    # A spreadsheet skips leading spaces; a tab or a line break has become one.
    return f"'{words}" if words.lstrip().startswith(FORMULA) or cell.startswith(BLANK) else words

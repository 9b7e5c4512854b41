"""Show sections on a terminal of any width: what has no room is left out by name, never cut.

Knows the content model and the console. Text is never read as markup.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from edgebench.records.base import clean
from edgebench.report.content import Section, Table

GAP = 1  # columns of space between two cells


def print_sections(
    console: Console, sections: Iterable[Section], whole: str = "--format markdown"
) -> None:
    """Print each section: title, facts, verdict, tables with their notes.

    `whole` is the option that leaves no column out.
    """
    for index, section in enumerate(sections):
        if index:
            console.print()
        console.print(_shown(section.title, "bold"))
        for line in (*section.facts, *section.verdict):
            console.print(_shown(line))
        for table in section.tables:
            print_table(console, table, whole)
        for note in section.notes:
            console.print(_shown(note))


def _shown(words: str, style: str = "") -> Text:
    """Return words as text, each line clean: what came from a file can't move the cursor."""
    return Text("\n".join(clean(line, None) for line in words.split("\n")), style=style)


def print_table(console: Console, table: Table, whole: str) -> None:
    """Print a table with its notes; what has no room is named. `whole` leaves no column out."""
    fitted, dropped = fit(table, console.width)
    console.print(_grid(fitted))
    for note in (*table.notes, *table.details):
        console.print(_shown(note))
    if dropped:
        console.print(
            Text(
                f"Left out to fit {console.width} columns: {', '.join(dropped)}; a wider window "
                f"or {whole} shows all."
            )
        )


def fit(table: Table, width: int) -> tuple[Table, list[str]]:
    """Leave out columns, the least important first, until the rest has room; name them."""
    table = table.filled()
    dropped: list[tuple[int, str]] = []
    order = {column.header: place for place, column in enumerate(table.columns)}
    while _width(table) > width:
        ranked = [
            (column.rank, index)
            for index, column in enumerate(table.columns)
            if column.rank is not None
        ]
        if not ranked or len(table.columns) <= 2:
            break
        index = min(ranked)[1]
        column = table.columns[index]
        dropped.append((order[column.header], column.name))
        table = table.without(index)
    return table, [name for _, name in sorted(dropped)]


def _width(table: Table) -> int:
    widths = [
        max(_longest(column.header), *(_longest(cells[index]) for cells in table.rows), 0)
        for index, column in enumerate(table.columns)
    ]
    return sum(widths) + GAP * (len(widths) - 1)


def _longest(cell: str) -> int:
    return max(map(cell_len, cell.split("\n")))


def _grid(table: Table) -> Grid:
    grid = Grid(
        box=None,
        padding=(0, GAP, 0, 0),
        header_style="bold",
        pad_edge=False,
        title=_shown(table.title, "bold") if table.title else None,
        title_justify="left",
    )
    for index, column in enumerate(table.columns):
        side = "left" if index == 0 else "right"
        grid.add_column(_shown(column.header), justify=side, no_wrap=True)  # type: ignore[arg-type]
    for cells in table.rows:
        grid.add_row(*(_shown(cell or "-" * bool(index)) for index, cell in enumerate(cells)))
    return grid

"""What a report is made of, whatever it is shown on: sections of sentences, charts, tables, notes.

Knows no runs and no way to show anything. Cells are finished words; a line break in a cell puts
an interval beneath its figure. A chart holds its figures in words too, for where none is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

Part = TypeVar("Part")


@dataclass(frozen=True)
class Column:
    """A column: its header, and how soon it is left out where there is no room for all.

    The lowest rank goes first; a column of rank None always stays.
    """

    header: str
    rank: int | None = None

    @property
    def name(self) -> str:
        """Return the header on one line."""
        return self.header.replace("\n", " ")


@dataclass(frozen=True)
class Table:
    """Rows of cells beneath columns; a cell without a figure is empty."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()  # the statistics behind the figures, for who asks

    def without(self, index: int) -> Table:
        """Return the table without one column."""
        return replace(
            self,
            columns=_without(self.columns, index),
            rows=tuple(_without(cells, index) for cells in self.rows),
        )

    def filled(self) -> Table:
        """Return the table without the columns that have no cell."""
        table = self
        for index in reversed(range(len(self.columns))):
            if self.rows and not any(cells[index] for cells in self.rows):
                table = table.without(index)
        return table


@dataclass(frozen=True)
class Chart:
    """A drawing by Vega-Lite's grammar, how to read it, and its figures in words."""

    title: str
    spec: Mapping[str, Any]
    caption: str = ""
    words: str = ""


@dataclass(frozen=True)
class Section:
    """A title, what was measured, the verdict in plain words, charts, tables, and notes."""

    title: str
    facts: tuple[str, ...] = ()
    verdict: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()

    def brief(self) -> Section:
        """Return the section without the statistics behind its figures."""
        return replace(self, tables=tuple(replace(table, details=()) for table in self.tables))


def _without(parts: Sequence[Part], index: int) -> tuple[Part, ...]:
    return (*parts[:index], *parts[index + 1 :])

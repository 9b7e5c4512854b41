"""Names for the rows of one table: the artifact's, and what tells two of one name apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edgebench.analyze.rows import Row


def names_of(rows: Sequence[Row]) -> dict[str, str]:
    """Return each artifact's name by its content: `m-q8_0`, or `m-q8_0 #3fa9c1` of two files."""
    counts = Counter(row.artifact.name for row in rows)
    return {
        row.content: row.artifact.name
        + (f" #{row.artifact.sha256[:6]}" if counts[row.artifact.name] > 1 else "")
        for row in rows
    }

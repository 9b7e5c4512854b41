"""Ask SQL of stored runs: DuckDB in memory, which reads and writes no file but a result's own.

Knows tables of columns, one query at a time, and how its result is fetched or written as Parquet.
Prints nothing.
"""

from __future__ import annotations

import datetime
import decimal
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebench.errors import MissingExtraError, UsageError
from edgebench.records.base import clean
from edgebench.report.query_columns import MOMENT, TEXT, SqlTable

MOST_ROWS = 1_000_000  # that are printed; a file may have more
HINT = 'see what there is with --sql "describe rows" and --sql "describe runs"'
ALL_ROWS = "from rows"
_EMPTY = {TEXT: "object", MOMENT: "datetime64[us]"}


@dataclass(frozen=True)
class Answer:
    """What a query came to: its columns' names and types, and its rows as JSON can hold them."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class Database:
    """Tables in memory that can be read and not changed, by queries that can't leave it."""

    def __init__(self, tables: Sequence[SqlTable], result: Path | None = None) -> None:
        """Fill the tables; `result` is the one file that may be written afterwards.

        Raises MissingExtraError where DuckDB is not installed.
        """
        try:
            import duckdb
        except ImportError:
            raise MissingExtraError("duckdb", "query") from None
        self._duckdb: Any = duckdb
        self._connection: Any = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "temp_directory": "",
            },
        )
        for table in tables:
            self._fill(table)
        if result is not None:
            quoted = str(result).replace("'", "''")
            self._connection.execute(f"set allowed_paths=['{quoted}']")
        self._connection.execute("set enable_external_access=false")
        self._connection.execute("set lock_configuration=true")

    def _fill(self, table: SqlTable) -> None:
        columns = ", ".join(f'"{column.name}" {column.type}' for column in table.columns)
        self._connection.execute(f"create table {table.name} ({columns})")
        if not table.values or not len(table.values[0]):
            return
        arrays = {
            column.name: _array(values, column.type)
            for column, values in zip(table.columns, table.values, strict=True)
        }
        self._connection.register("given", arrays)
        self._connection.execute(f"insert into {table.name} select * from given")
        self._connection.unregister("given")

    def ask(self, sql: str) -> Answer:
        """Return what a query comes to; raise UsageError where it isn't one, or fails."""
        with self._faults():
            cursor = self._connection.execute(self._query(sql))
            described = cursor.description or []
            rows = cursor.fetchmany(MOST_ROWS + 1)
        if len(rows) > MOST_ROWS:
            raise UsageError(
                f"the result has more than {MOST_ROWS} rows",
                hint="add a limit to the query, or write it with --parquet FILE",
            )
        return Answer(
            names=tuple(str(column[0]) for column in described),
            types=tuple(str(column[1]) for column in described),
            rows=tuple(tuple(_plain(cell) for cell in row) for row in rows),
        )

    def write_parquet(self, sql: str, path: Path) -> None:
        """Write what a query comes to; raise UsageError as `ask` does, or where it can't write."""
        with self._faults():
            self._connection.sql(self._query(sql)).write_parquet(str(path), compression="zstd")

    def _query(self, sql: str) -> Any:
        """Return the one statement that is typed, where it only reads."""
        statements = self._connection.extract_statements(sql)
        kinds = self._duckdb.StatementType
        if len(statements) != 1 or statements[0].type not in (kinds.SELECT, kinds.EXPLAIN):
            raise UsageError("--sql takes one query, which reads and changes nothing", hint=HINT)
        return statements[0]

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (self._duckdb.Error, RuntimeError, ValueError, OverflowError) as error:
            first, *others = str(error).split("\n")
            told = (clean(line, 200) for line in others)
            near = next((line for line in told if line.startswith(("Cand", "Did you"))), HINT)
            raise UsageError(f"SQL: {clean(first, 300)}", hint=near) from None


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a name to write to, which becomes `path` where all went well and is gone where not."""
    part = path.absolute().with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.unlink(missing_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise UsageError(
            f"can't write {path}: {error.strerror}", hint="give another name"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def _array(values: Sequence[Any], kind: str) -> Any:
    """Return a column as numpy has it, with what is missing marked."""
    import numpy as np

    if kind in (TEXT, MOMENT):
        return np.array(list(values), dtype=_EMPTY[kind])
    missing = np.array([value is None for value in values])
    numbers = np.array(
        [0 if value is None else value for value in values],
        dtype={"DOUBLE": float, "BIGINT": np.int64, "BOOLEAN": bool}[kind],
    )
    return np.ma.masked_array(numbers, mask=missing)


def _plain(value: Any) -> Any:
    """Return a value of SQL as JSON has it; a number that JSON can't hold as text."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(child) for child in value]
    return str(value)

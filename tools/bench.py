"""Run benchmarks and print one table: figure, wanted, measured, spread.

    python tools/bench.py                              all of them, about two hours
    python tools/bench.py speed wall --set pairs=3     two of them, with fewer pairs
    python tools/bench.py --list                       their names, arguments and durations

Run them on an otherwise idle machine. Exit code: 0 where all is as wanted, 1 where a figure is
missed or could not be measured, 2 on wrong usage.
"""

from __future__ import annotations

import argparse
import inspect
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import DURATIONS, Figure, NotMeasurableError, Range, measure_of, summary

HEAD = ("figure", "wanted", "measured", "spread", "n", "note")


def main(typed: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks; all by default")
    parser.add_argument("--list", action="store_true", help="list the benchmarks")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="changes",
        help="an argument of the benchmarks, as --list shows them; may be given several times",
    )  # fmt: skip
    options = parser.parse_args(typed)
    if unknown := set(options.names) - set(DURATIONS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; known: {', '.join(DURATIONS)}")
    names = options.names or list(DURATIONS)
    if options.list:
        return _list(names)
    try:
        calls = {name: arguments(name, options.changes) for name in names}
        _check_used(names, options.changes)
    except ValueError as error:
        parser.error(str(error))
    rows: list[tuple[str, ...]] = []
    failed = False
    for name, given in calls.items():
        print(f"{name}: {summary(name)} (about {DURATIONS[name]})", file=sys.stderr)
        try:
            figures = measure_of(name)(**given)
        except (NotMeasurableError, RuntimeError, subprocess.CalledProcessError) as error:
            rows.append((name, "", "not measured", "", "", str(error)))
            failed = True
            continue
        rows += [_row(figure) for figure in figures]
        failed |= any(figure.met is False for figure in figures)
    print(table([HEAD, *rows]))
    return 1 if failed else 0


def arguments(name: str, changes: Sequence[str]) -> dict[str, Any]:
    """Return a benchmark's arguments out of those typed; raise ValueError on a bad value."""
    defaults = _defaults(name)
    given: dict[str, Any] = {}
    for change in changes:
        key, _, value = change.partition("=")
        if key in defaults:
            given[key] = type(defaults[key])(value)
    return given


def _check_used(names: Sequence[str], changes: Sequence[str]) -> None:
    known = {key for name in names for key in _defaults(name)}
    for change in changes:
        if change.partition("=")[0] not in known:
            raise ValueError(f"--set {change}: arguments here are {', '.join(sorted(known))}")


def _defaults(name: str) -> dict[str, Any]:
    parameters = inspect.signature(measure_of(name)).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}


def _list(names: Sequence[str]) -> int:
    rows = [("name", "takes", "arguments", "shows")]
    for name in names:
        typed = " ".join(f"{key}={value}" for key, value in _defaults(name).items())
        rows.append((name, DURATIONS[name], typed, summary(name)))
    print(table(rows))
    return 0


def _row(figure: Figure) -> tuple[str, ...]:
    verdict = {True: "", False: " MISSED", None: ""}[figure.met]
    spread = figure.spread or Range(None, None)
    return (
        figure.name,
        str(figure.wanted or "-"),
        f"{figure.measured:.4g}{verdict}",
        ""
        if spread.low is None or spread.high is None
        else f"{spread.low:.4g} to {spread.high:.4g}",
        str(figure.n),
        figure.note,
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text in columns, as wide as their longest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

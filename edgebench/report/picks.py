"""Say a pick in words: the decision, what was rejected and why, what to measure next."""

from __future__ import annotations

import os
import shlex
import textwrap
from collections.abc import Sequence

from edgebench.analyze.compare import Group
from edgebench.analyze.pick import Pick
from edgebench.records.base import Estimate
from edgebench.report.format import MIB, number, plain

_UNITS = {
    "max-memory": (1 / MIB, "MiB"),
    "min-decode": (1.0, "tok/s"),
    "max-ttft": (1.0, "s"),
    "max-energy": (1.0, "J/tok"),
    "max-accuracy-loss": (100.0, "points lost"),
}


def pick_lines(decision: Pick) -> list[str]:
    """Return the lines that tell a person the decision."""
    head = {
        "picked": f"Picked: {decision.artifact}",
        "none": "Nothing fits: every artifact breaks a constraint.",
        "undecided": "Undecided: the evidence does not decide.",
    }[decision.decision]
    lines = [head, f"  {decision.reason}."]
    if decision.decision == "undecided" and decision.satisfying:
        lines.append(f"  satisfying for certain: {', '.join(decision.satisfying)}")
    lines += [
        f"  rejected {one.artifact}: {one.constraint} {_value(one.constraint, one.limit)}, "
        f"measured {_interval(one.constraint, one.estimate)}"
        for one in decision.rejected
    ]
    for one in decision.measure_next:
        line = f"  open {one.artifact}: {one.constraint}"
        if one.limit is not None:
            line += f" {_value(one.constraint, one.limit)}"
        if one.estimate:
            line += f", measured {_interval(one.constraint, one.estimate)}"
        lines.append(f"{line}; {one.message}")
    lines.append(f"  best trade-offs (Pareto): {', '.join(decision.pareto)}")
    return [part for line in _shorten(lines, decision) for part in _wrap(plain(line, 2000))]


def _shorten(lines: Sequence[str], decision: Pick) -> list[str]:
    """Leave out the model's name, which all artifacts share, after the first line."""
    names = {*decision.pareto, *decision.satisfying, *(one.artifact for one in decision.rejected)}
    shared = os.path.commonprefix(sorted(names))  # noqa: RUF071 - by character is meant
    shared = shared[: shared.rfind("-") + 1]
    if len(names) < 2 or not shared:
        return list(lines)
    return [lines[0], *(line.replace(shared, "") for line in lines[1:])]


def _wrap(line: str) -> list[str]:
    return textwrap.wrap(line, 80, subsequent_indent="    ", break_long_words=False) or [""]


def _value(constraint: str, value: float) -> str:
    factor, unit = _UNITS.get(constraint, (1.0, ""))
    return f"{number(value * factor)} {unit}".strip()


def _interval(constraint: str, estimate: Estimate | None) -> str:
    if estimate is None:
        return "nothing"
    factor, unit = _UNITS.get(constraint, (1.0, ""))
    value, low, high = (
        number(part * factor) for part in (estimate.value, estimate.low, estimate.high)
    )
    if low == high:
        return f"{value} {unit}"
    return f"{value} {unit} [{low}, {high}]"


def suggestion(groups: Sequence[Group], device: str, where: str | None) -> str:
    """Return the command to type next: the most accurate level of those that are fast enough.

    "Fast enough" is set at about 60 % of the fastest level, so that the question has two sides.
    """
    speeds = [row.decode.value for group in groups for row in group.rows if row.decode]
    if not speeds:
        return f"edgebench compare {shlex.quote(where)}" if where else "edgebench compare"
    floor = 0.6 * max(speeds)
    rounded = float(f"{floor:.1g}")
    words = ["edgebench", "pick", *([where] if where else []), "--device", device]
    return shlex.join([*words, "--min-decode", f"{rounded:g}", "--objective", "accuracy"])

"""Say a contract's result in words: the verdict, each demand, what would decide. Judges none."""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.analyze.verdict import Judged, Line, Result
from edgebench.records.base import Estimate, clean
from edgebench.report.format import number, size
from edgebench.report.losers import UNITS

OF_BYTES = ("max-memory", "max-size")


def check_lines(result: Result) -> list[str]:
    """Return the lines that tell a person the result."""
    lines = [_head(result)]
    if result.reason:
        lines.append(f"  {result.reason}")
    best, others = result.candidates[:1], result.candidates[1:]
    for judged in best:
        width = max((len(demand_words(line)) for line in judged.lines), default=0)
        lines += [_line(line, width) for line in judged.lines]
    lines += [_other(judged) for judged in others]
    commands = list(dict.fromkeys(line.command for line in result.lines if line.command))
    lines += ["To decide, type:"] if commands else []
    return [clean(line, 2000) for line in [*lines, *(f"  {command}" for command in commands)]]


def _head(result: Result) -> str:
    who = result.artifact or (result.candidates[0].artifact if result.candidates else "")
    about = f"{who} on {result.device}" if who else result.device
    return f"{result.verdict}: {about}, at {100 * result.confidence:g} % confidence"


def demand_words(line: Line) -> str:
    """Return a demand in words: `min-decode 20 tok/s at chat`."""
    words = f"{line.demand} {quantity(line.demand, line.limit)}"
    words += f" {line.about}" if line.about else ""
    return words + (f" at {line.workload}" if line.workload else "")


def _line(line: Line, width: int) -> str:
    told = [f"it has {interval_words(line)}"] if line.estimate else []
    told += [line.reason] if line.reason else []
    return f"  {line.verdict:<12}  {demand_words(line):<{width}}  {'; '.join(told)}".rstrip()


def interval_words(line: Line) -> str:
    """Return a demand's figure with its interval."""
    return _interval(line.demand, line.estimate) if line.estimate else ""


def _interval(demand: str, estimate: Estimate) -> str:
    if demand in OF_BYTES:
        return size(estimate.value)
    factor, unit = UNITS.get(demand, (1.0, ""))
    value = number(estimate.value * factor)
    if estimate.bounds is None or estimate.bounds.low == estimate.bounds.high:
        return f"{value} {unit} (n={estimate.n})".replace("  ", " ")
    low, high = (number(end * factor) for end in estimate.bounds)
    return f"{value} {unit} [{low}, {high}] (n={estimate.n})"


def quantity(demand: str, value: float) -> str:
    """Return a limit with its unit, without needless zeros."""
    if demand in OF_BYTES:
        return size(value)
    factor, unit = UNITS.get(demand, (1.0, ""))
    return f"{value * factor:.6g} {unit}".strip()


def _other(judged: Judged) -> str:
    return f"  {judged.artifact}: {judged.verdict}{_because(judged.lines, judged.verdict)}"


def _because(lines: Sequence[Line], verdict: str) -> str:
    if verdict == "PASS":
        return ", too"
    told = [demand_words(line) for line in lines if line.verdict == verdict]
    return f", {'; '.join(told)}"

"""Say a pick in words: the decision, what was rejected and why, what to measure next."""

from __future__ import annotations

import os
import shlex
import textwrap
from collections.abc import Sequence

from edgebench.analyze.advice import place
from edgebench.analyze.compare import Group
from edgebench.analyze.pick import Next, Pick, Rejection
from edgebench.records.base import Estimate, clean
from edgebench.report.format import MIB, duration, number, point_words

_UNITS = {
    "max-memory": (1 / MIB, "MiB"),
    "min-decode": (1.0, "tok/s"),
    "max-ttft": (1.0, "s"),
    "max-energy": (1.0, "J/tok"),
    "max-accuracy-loss": (100.0, "points lost"),
    "max-divergence": (1.0, "nats a token"),
}


def pick_lines(decision: Pick) -> list[str]:
    """Return the lines that tell a person the decision."""
    head = {
        "picked": f"Picked: {decision.artifact}",
        "none": "Nothing fits: every level breaks a constraint or failed.",
        "undecided": "Undecided: the evidence doesn't decide.",
    }[decision.decision]
    lines = [head] if decision.decision == "none" else [head, f"  {decision.reason}."]
    if decision.baseline:
        over = f", at {', '.join(decision.tasks)}" if decision.tasks else ""
        lines.append(f"  loss counts from {decision.baseline}{over}")
    if decision.decision == "undecided" and decision.satisfying:
        lines.append(f"  satisfying for certain: {', '.join(decision.satisfying)}")
    lines += [_rejected(rejection) for rejection in decision.rejected]
    lines += [f"  not considered {aside.artifact}: {aside.reason}" for aside in decision.left_out]
    lines += [f"  ! {warning}" for warning in decision.warnings]
    if len(decision.pareto) > 1:
        lines.append(f"  best trade-offs (Pareto): {', '.join(decision.pareto)}")
    lines += [_open(question) for question in decision.measure_next]
    lines += [
        f"{_open(question)} (it wouldn't be the better pick)" for question in decision.left_open
    ]
    shown = [part for line in _shorten(lines, decision) for part in _wrap(clean(line, 2000))]
    return shown + _commands(decision)


def _rejected(rejection: Rejection) -> str:
    about = f" at {rejection.about}" if rejection.about else ""
    if rejection.limit is None or rejection.estimate is None:
        return f"  rejected {rejection.artifact}: {rejection.reason or rejection.constraint}"
    limit = _value(rejection.constraint, rejection.limit)
    line = f"  rejected {rejection.artifact}: {rejection.constraint} {limit}{about}, "
    line += f"it has {_interval(rejection.constraint, rejection.estimate)}"
    return f"{line}, {rejection.reason}" if rejection.reason else line


def _open(question: Next) -> str:
    line = f"  open {question.artifact}: {question.constraint}"
    if question.limit is not None:
        line += f" {_value(question.constraint, question.limit)}"
    if question.about:
        line += f" at {question.about}"
    if question.estimate:
        line += f", it has {_interval(question.constraint, question.estimate)}"
    return f"{line}; {question.message}"


def _commands(decision: Pick) -> list[str]:
    """Return the commands that would close the question, unbroken, so that they can be copied."""
    advices = {
        question.advice.command: question.advice
        for question in decision.measure_next
        if question.advice
    }
    lines = ["To decide, type:"] if advices else []
    for advice in advices.values():
        told = [f"takes about {duration(advice.takes_s)}"] if advice.takes_s else []
        told += [f"decides with {100 * advice.chance:.0f} %"] if advice.chance else []
        told += [advice.note] if advice.note else []
        lines.append(f"  {clean(advice.command, 2000)}")
        lines += [f"    {'; '.join(told)}"] if told else []
    return lines


def _shorten(lines: Sequence[str], decision: Pick) -> list[str]:
    """Leave out the model's name, which all artifacts share, after the first line."""
    names = {
        *decision.pareto,
        *decision.satisfying,
        *decision.checks,
        *(rejection.artifact for rejection in decision.rejected),
        *(question.artifact for question in decision.measure_next),
    }
    shared = os.path.commonprefix(sorted(names))  # noqa: RUF071 - by character is meant
    shared = shared[: shared.rfind("-") + 1]
    if len(names) < 2 or not shared:
        return list(lines)
    return [lines[0], *(line.replace(shared, "") for line in lines[1:])]


def _wrap(line: str) -> list[str]:
    return textwrap.wrap(line, 80, subsequent_indent="    ", break_long_words=False) or [""]


def _value(constraint: str, value: float) -> str:
    if constraint == "max-accuracy-loss":
        return point_words(value)
    factor, unit = _UNITS.get(constraint, (1.0, ""))
    return f"{_tidy(value * factor)} {unit}".strip()


def _tidy(value: float) -> str:
    words = number(value)
    return words.rstrip("0").rstrip(".") if "." in words else words


def _interval(constraint: str, estimate: Estimate) -> str:
    factor, unit = _UNITS.get(constraint, (1.0, ""))
    value = number(estimate.value * factor)
    if estimate.bounds is None:
        return f"{value} {unit} (n={estimate.n})"
    low, high = (number(end * factor) for end in estimate.bounds)
    return f"{value} {unit}" if low == high else f"{value} {unit} [{low}, {high}]"


def suggestion(groups: Sequence[Group], device: str, where: str | None) -> str:
    """Return the command to type next: the most accurate level of those that are fast enough.

    "Fast enough" is set at about 60 % of the fastest level, so that the question has two sides.
    Where no speed was measured it is measured next.
    """
    timed = [row for group in groups for row in group.rows if row.decode]
    rows = [row for group in groups for row in group.rows]
    output = ["--output", where] if where else []
    if not timed and rows:
        paths = list(dict.fromkeys(place(row) for row in rows))
        folders = {os.path.dirname(path) for path in paths} - {""}
        if len(paths) > 1 and len(folders) == 1:
            paths = list(folders)
        words = ["edgebench", "profile", *paths, "--device", device, "--tasks", "none"]
        return shlex.join([*words, *output])
    if not rows:
        return profile_hint(device)
    floor = 0.6 * max(row.decode.value for row in timed if row.decode)
    words = ["edgebench", "pick", *([where] if where else []), "--device", device]
    words += ["--min-decode", f"{float(f'{floor:.1g}'):g}"]
    words += ["--objective", "accuracy" if any(row.tasks for row in rows) else "memory"]
    models = {group.model for group in groups}
    workloads = sorted({group.workload.name for group in groups if group.workload})
    if len(workloads) > 1 and len(models) == 1:
        words += ["--workload", workloads[0]]
    return shlex.join(words)


def profile_hint(device: str) -> str:
    """Return the command that measures the bundled model."""
    return shlex.join(["edgebench", "profile", "--device", device])

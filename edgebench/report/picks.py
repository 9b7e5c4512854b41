"""Say a pick in words: the decision, what was rejected and why, what to measure next."""

from __future__ import annotations

import os
import shlex
import textwrap
from collections.abc import Sequence

from edgebench.analyze.advice import place
from edgebench.analyze.compare import Group
from edgebench.analyze.decision import Next, Pick
from edgebench.records.base import clean
from edgebench.report.format import duration
from edgebench.report.losers import (
    MOST,
    explained,
    has_words,
    joined,
    limit_words,
    loser_lines,
)


def pick_lines(decision: Pick, explain: bool = False) -> list[str]:
    """Return the lines that tell a person the decision; with `explain` every figure behind it."""
    head = {
        "picked": f"Picked: {decision.artifact}",
        "none": "Nothing fits: every candidate breaks a limit or failed.",
        "undecided": "Undecided: the evidence doesn't decide.",
    }[decision.decision]
    most = None if explain else MOST
    lines = [head] if decision.decision == "none" else [head, f"  {decision.reason}."]
    if decision.baseline and _about_loss(decision):
        over = f", at {', '.join(decision.tasks)}" if decision.tasks else ""
        held = decision.baseline
        held = "each model's reference" if held == "reference" else held
        lines.append(f"  loss counts from {held}{over}")
    if decision.decision == "undecided" and decision.satisfying:
        lines.append(f"  sure to keep every limit: {joined(decision.satisfying, most)}")
    if explain and decision.artifact:
        lines += [f"    {explained(check)}" for check in decision.checks.get(decision.artifact, ())]
    lines += loser_lines(decision, explain)
    lines += [f"  not considered {aside.artifact}: {aside.reason}" for aside in decision.left_out]
    lines += [f"  ! {warning}" for warning in decision.warnings]
    if len(decision.pareto) > 1:
        lines.append(f"  best trade-offs (Pareto): {joined(decision.pareto, most)}")
    lines += _questions(decision, explain)
    shown = [part for line in _shorten(lines, decision) for part in _wrap(clean(line, 2000))]
    return shown + _commands(decision, explain) + _running(decision, explain)


def _about_loss(decision: Pick) -> bool:
    checks = (check for told in decision.checks.values() for check in told)
    return any(check.constraint == "max-accuracy-loss" for check in checks)


def _questions(decision: Pick, explain: bool) -> list[str]:
    lines = [_open(questions) for questions in _alike(decision.measure_next)]
    lines += [
        f"{_open(questions)} (it wouldn't be the better pick)"
        for questions in _alike(decision.left_open)
    ]
    if explain or len(lines) <= MOST:
        return lines
    left = len(lines) - MOST
    return [
        *lines[:MOST],
        f"  {left} more {'is' if left == 1 else 'are'} open; --explain lists all",
    ]


def _alike(questions: Sequence[Next]) -> list[list[Next]]:
    """Put together what is one question: answers are the same whatever the threads."""
    groups: dict[tuple[object, ...], list[Next]] = {}
    for it in questions:
        estimate = (it.estimate.value, it.estimate.n) if it.estimate else ()
        key = (it.constraint, it.about, estimate or it.artifact, it.message)
        groups.setdefault(key, []).append(it)
    return list(groups.values())


def _open(questions: Sequence[Next]) -> str:
    question = questions[0]
    names = joined([it.artifact for it in questions])
    line = f"  open {names}: {question.constraint}"
    if question.limit is not None:
        line += f" {limit_words(question.constraint, question.limit)}"
    if question.about:
        line += f" at {question.about}"
    if question.estimate:
        line += f", it {has_words(question.constraint, question.estimate)}"
    return f"{line}; {question.message}"


def _commands(decision: Pick, explain: bool) -> list[str]:
    """Return the commands that would close the question, unbroken, so that they can be copied."""
    advices = {
        questions[0].advice.command: questions[0].advice
        for questions in _alike(decision.measure_next)
        if questions[0].advice
    }
    lines = ["To decide, type:"] if advices else []
    for advice in list(advices.values())[: None if explain else MOST]:
        told = [f"takes about {duration(advice.takes_s)}"] if advice.takes_s else []
        told += [f"decides with {100 * advice.chance:.0f} %"] if advice.chance else []
        told += [advice.note] if advice.note else []
        lines.append(f"  {clean(advice.command, 2000)}")
        lines += [f"    {'; '.join(told)}"] if told else []
    return lines


def _running(decision: Pick, explain: bool) -> list[str]:
    """Return what to type to run the winner: the first way, or all of them."""
    ways = decision.winner.run if decision.winner else ()
    runs = [way for way in ways if explain or way.program != "edgebench"]
    lines = []
    for way in runs if explain else runs[:1]:
        how = "To run it as it was measured"
        how += " in Python" if way.language == "python" else ""
        how = "To measure it again" if way.program == "edgebench" else f"{how} ({way.program})"
        lines.append(f"{how}:")
        indent = "" if way.language == "python" else "  "  # Python minds how far a line is in
        lines += [f"{indent}{clean(line, 4000)}" for line in way.text.splitlines()]
    return lines


def _shorten(lines: Sequence[str], decision: Pick) -> list[str]:
    """Leave out the model's name, which all artifacts share, after the first line."""
    names = {
        *decision.pareto,
        *decision.satisfying,
        *decision.checks,
        *(loser.artifact for loser in decision.losers),
        *(question.artifact for question in decision.measure_next),
    }
    shared = os.path.commonprefix(sorted(names))  # noqa: RUF071 - by character is meant
    shared = shared[: shared.rfind("-") + 1]
    if len(names) < 2 or not shared:
        return list(lines)
    return [lines[0], *(line.replace(shared, "") for line in lines[1:])]


def _wrap(line: str) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    wrapper = textwrap.TextWrapper(80, subsequent_indent=indent)
    wrapper.break_long_words = wrapper.break_on_hyphens = False  # so that names can be copied
    return wrapper.wrap(line) or [""]


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
    models = {model for group in groups for model in group.models}
    workloads = sorted({group.workload.name for group in groups if group.workload})
    if len(workloads) > 1 and len(models) == 1:
        words += ["--workload", workloads[0]]
    return shlex.join(words)


def profile_hint(device: str) -> str:
    """Return the command that measures the bundled model."""
    return shlex.join(["edgebench", "profile", "--device", device])

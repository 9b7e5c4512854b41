"""Say why a pick is the one it is: only what is shown, and ties by their name. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgebench.analyze.choosing import ASPECTS, Objective, lead, reasons_to_prefer, value_of
from edgebench.analyze.rows import Row

BETTER = {
    "accuracy": "more accurate",
    "divergence": "nearer to the reference",
    "decode": "faster",
    "prefill": "faster at reading a prompt",
    "memory": "smaller in memory",
    "energy": "more frugal",
}


@dataclass(frozen=True)
class Chosen:
    """The best row, the one with the best figure, those alike, and all others that hold."""

    best: Row
    top: Row
    peers: Sequence[Row]
    holding: Sequence[Row]


def reason_words(
    chosen: Chosen | None,
    objective: Objective,
    tasks: Sequence[str],
    names: Mapping[str, str],
    undecided: bool,
) -> str:
    """Say in a sentence why a row is picked, or why none is."""
    if chosen is None:
        return (
            "nothing is shown to satisfy every constraint"
            if undecided
            else "every level breaks a constraint or failed"
        )
    best = names[chosen.best.key]
    if chosen.best is chosen.top:
        words = f"{best} has the best {objective} of those that satisfy every constraint"
    else:
        words = _not_the_top(chosen, objective, tasks, names)
    others = [row for row in chosen.peers if row is not chosen.top]
    if chosen.best is chosen.top and others:
        words += _peers(chosen.best, others, objective, tasks, names)
    if undecided:
        words += "; others may be better still, but the evidence doesn't decide"
    return words


def _not_the_top(
    chosen: Chosen, objective: Objective, tasks: Sequence[str], names: Mapping[str, str]
) -> str:
    best, top = names[chosen.best.key], names[chosen.top.key]
    standing = lead(objective, chosen.top, chosen.best, tasks)
    tie = standing is not None and standing.by == 0
    start = (
        f"{best} and {top} tie in {objective}"
        if tie
        else (f"{top} has the best {objective}, but {best} can't be told from it there")
    )
    return f"{start}; {best} is {_why(chosen.best, chosen.top, objective, tasks)}"


def _peers(
    best: Row,
    peers: Sequence[Row],
    objective: Objective,
    tasks: Sequence[str],
    names: Mapping[str, str],
) -> str:
    """Say who can't be told from the best, in what it is better, and who ties."""
    value = value_of(objective, best, tasks)
    ties = [row for row in peers if value_of(objective, row, tasks) == value]
    close = [row for row in peers if row not in ties]
    words = ""
    for rows, said in ((ties, "tie" if len(ties) > 1 else "ties"), (close, "can't be told from")):
        if rows:
            listed = ", ".join(names[row.key] for row in rows)
            there = f"{said} with it there" if rows is ties else f"{said} it there"
            reasons = {_why(best, row, objective, tasks) for row in rows}
            why = f", it is {reasons.pop()}" if len(reasons) == 1 else ""
            words += f"; {listed} {there}{why}"
    return words


def _why(best: Row, other: Row, objective: Objective, tasks: Sequence[str]) -> str:
    """Return what a row is shown to be the better in, else that it is the smaller."""
    aspects = [aspect for aspect in ASPECTS if aspect != objective]
    better = reasons_to_prefer(best, other, tasks, aspects)
    if "divergence" in better and all(
        divergence.mean_kld is None for divergence in best.divergences
    ):
        return "the reference itself"
    if better:
        return " and ".join(BETTER[aspect] for aspect in better[:2])
    if best.artifact.size_bytes < other.artifact.size_bytes:
        return "the smaller"
    memory = lead("memory", best, other, tasks)
    return BETTER["memory"] if memory and memory.by > 0 else "as good, and the first by name"

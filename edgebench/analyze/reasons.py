"""Say why a pick is the one it is: only what is shown, and ties by their name. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgebench.analyze.choosing import lead, reasons_to_prefer
from edgebench.analyze.losers import Standing
from edgebench.analyze.rows import Row

BETTER = {
    "accuracy": "more accurate",
    "divergence": "nearer to the reference",
    "decode": "faster",
    "prefill": "faster at reading a prompt",
    "memory": "smaller in memory",
    "energy": "more frugal",
}
BEST = {
    "decode": "decodes fastest",
    "prefill": "reads a prompt fastest",
    "memory": "takes the least memory",
    "energy": "takes the least energy",
    "accuracy": "answers best",
}


@dataclass(frozen=True)
class Chosen:
    """The best row, the one with the best figure, those alike, and all others that hold."""

    best: Row
    top: Row
    peers: Sequence[Row]
    holding: Sequence[Row]


def reason_words(chosen: Chosen | None, standing: Standing, undecided: bool) -> str:
    """Say in a sentence why a row is picked, or why none is."""
    if chosen is None:
        return (
            "nothing is shown to keep every limit"
            if undecided
            else "every candidate breaks a limit or failed"
        )
    best = standing.names[chosen.best.key]
    if chosen.best is chosen.top:
        limited = any(standing.checks.values())
        words = f"{best} {_is_best(standing)}"
        words += " of those that keep every limit" if limited else ""
    else:
        words = _not_the_top(chosen, standing)
    others = [row for row in chosen.peers if row is not chosen.top]
    if chosen.best is chosen.top and others:
        words += _peers(chosen.best, others, standing)
    if undecided:
        words += "; others may be better still, but the evidence doesn't decide"
    return words


def _is_best(standing: Standing) -> str:
    only = standing.objective.only
    return BEST[only] if only else f"is the best {standing.objective.words}"


def _not_the_top(chosen: Chosen, standing: Standing) -> str:
    best, top = standing.names[chosen.best.key], standing.names[chosen.top.key]
    led = standing.objective.lead(chosen.top, chosen.best, standing.tasks)
    start = f"{top} {_is_best(standing)}, but {best} can't be told from it there"
    if led is not None and led.by == 0:
        start = f"{best} and {top} tie in {standing.objective.words}"
    return f"{start}; {best} is {_why(chosen.best, chosen.top, standing)}"


def _peers(best: Row, peers: Sequence[Row], standing: Standing) -> str:
    """Say who can't be told from the best, in what it is better, and who ties."""
    value = standing.objective.value(best, standing.tasks)
    ties = [row for row in peers if standing.objective.value(row, standing.tasks) == value]
    close = [row for row in peers if row not in ties]
    words = ""
    for rows, said in ((ties, "tie" if len(ties) > 1 else "ties"), (close, "can't be told from")):
        if rows:
            there = f"{said} with it there" if rows is ties else f"{said} it there"
            reasons = {_why(best, row, standing) for row in rows}
            why = f", it is {reasons.pop()}" if len(reasons) == 1 else ""
            words += f"; {_listed(rows, standing)} {there}{why}"
    return words


def _listed(rows: Sequence[Row], standing: Standing) -> str:
    names = [standing.names[row.key] for row in rows]
    return (
        ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
    )


def _why(best: Row, other: Row, standing: Standing) -> str:
    """Return what a row is shown to be the better in, else that it is the smaller."""
    better = reasons_to_prefer(best, other, standing.tasks, standing.objective.left)
    if "divergence" in better and all(
        divergence.mean_kld is None for divergence in best.divergences
    ):
        return "the reference itself"
    if better:
        # "Faster" says it for reading a prompt as well.
        told = [aspect for aspect in better if aspect != "prefill" or "decode" not in better]
        return " and ".join(BETTER[aspect] for aspect in told[:2])
    if best.artifact.size_bytes < other.artifact.size_bytes:
        return "the smaller"
    memory = lead("memory", best, other, standing.tasks)
    return BETTER["memory"] if memory and memory.by > 0 else "as good, and comes first by name"

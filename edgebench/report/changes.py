"""Say what changed between two sets of runs: a verdict, a table of changes, what has no partner.

Knows changes. Judges nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.analyze.changes import Change, Changes
from edgebench.records.base import clean
from edgebench.report.content import Column, Section, Table
from edgebench.report.format import DAY, broken, counted, number, signed

NAMES = {
    "decode": ("decode", "slower", "faster"),
    "prefill": ("prefill", "slower", "faster"),
    "ttft": ("first token", "later", "sooner"),
    "energy": ("energy", "hungrier", "more frugal"),
    "memory": ("memory", "larger", "smaller"),
    "size": ("file", "larger", "smaller"),
    "accuracy": ("accuracy", "worse", "better"),
    "divergence": ("divergence", "farther", "nearer"),
}
SCALES = {"memory": (2.0**-20, " MiB"), "size": (2.0**-20, " MiB"), "accuracy": (100.0, " %")}
SHOWN = 12  # changes that are listed unless more is asked for
UNITS = {"decode": " tok/s", "prefill": " tok/s", "ttft": " s", "energy": " J/tok"}


def changes_section(changes: Changes, least: float | None, explain: bool) -> Section:
    """Return the section; with `explain` also what isn't shown to have changed."""
    shown = [change for change in changes.changes if change.is_shown]
    told = sorted(changes.changes if explain else shown, key=lambda change: change.by)
    listed = told if explain else told[:SHOWN]
    devices = ", ".join(device.name for device in changes.devices)
    where = f" on {devices}" if devices else ""
    title = f"What changed{where}, {_span(changes)}"
    facts = [device.cpu or "" for device in changes.devices]
    facts += [_builds(changes)]
    notes = [f"In the earlier runs alone: {clean(name, 200)}." for name in changes.only_before]
    notes += [f"In the later runs alone: {clean(name, 200)}." for name in changes.only_after]
    if len(listed) < len(told):
        left = len(told) - len(listed)
        notes.append(f"{counted(left, 'smaller change')} not listed; --explain lists all.")
    cells = tuple(_cells(change, explain, len(changes.devices) > 1) for change in listed)
    table = Table("", _columns(explain), cells).filled()
    return Section(
        title=clean(title),
        facts=(clean("; ".join(fact for fact in facts if fact), 600),),
        verdict=tuple(_verdict(changes, shown, least)),
        tables=(table,) if told else (),
        notes=tuple(notes[:20]),
    )


def _span(changes: Changes) -> str:
    return f"{changes.newest_before[:DAY] or '?'} to {changes.newest_after[:DAY] or '?'}"


def _builds(changes: Changes) -> str:
    before, after = ", ".join(changes.builds_before), ", ".join(changes.builds_after)
    return before if before == after else f"{before} before, {after} after"


def _verdict(changes: Changes, shown: Sequence[Change], least: float | None) -> list[str]:
    if not changes.changes:
        return ["The two sets have no measurement in common: there is nothing to compare."]
    count = counted(len(changes.changes), "figure")
    worse = [change for change in shown if change.by < 0]
    better = [change for change in shown if change.by > 0]
    sentences = []
    if shown:
        sentences.append(
            f"Of {count}, {len(worse)} became worse and {len(better)} better, beyond noise."
        )
        sentences += [words for figure in NAMES for words in _by_figure(figure, shown)]
    else:
        sentences.append(f"Nothing is shown to have changed ({count} compared).")
    unknown = sum(bool(change.why_not) for change in changes.changes)
    if unknown:
        sentences.append(f"{counted(unknown, 'figure')} can't be judged (--explain says why).")
    if least is not None:
        failed = changes.regressions(least)
        limit = f"{100 * least:g} %"
        sentences.append(
            f"{counted(len(failed), 'regression')} of more than {limit}."
            if failed
            else f"No regression of more than {limit}."
        )
    return sentences


def _by_figure(figure: str, shown: Sequence[Change]) -> list[str]:
    """Say in how many rows a figure became worse, or better, and by how much."""
    name, worse, better = NAMES[figure]
    unit = "points" if figure == "accuracy" else "%"
    words = []
    for direction, word in ((-1, worse), (1, better)):
        sizes = [
            abs(100 * change.by)
            for change in shown
            if change.figure == figure and change.by * direction > 0
        ]
        if sizes:
            span = number(min(sizes))
            if number(max(sizes)) != span:
                span += f" to {number(max(sizes))}"
            words.append(f"{name.capitalize()}: {len(sizes)} {word}, by {span} {unit}.")
    return words


def _columns(explain: bool) -> tuple[Column, ...]:
    columns = (
        Column("artifact"),
        Column("device"),
        Column("workload", 2),
        Column("figure"),
        Column("before", 3),
        Column("after", 4),
        Column("change"),
    )
    return (*columns, Column("p\n(Holm)", 1)) if explain else columns


def _cells(change: Change, explain: bool, several: bool) -> tuple[str, ...]:
    factor, unit = SCALES.get(change.figure, (1.0, UNITS.get(change.figure, "")))
    name = NAMES[change.figure][0]
    row, _, settings = clean(change.row, 100).partition(" (")
    cells = (
        broken(row, 20) + (f"\n{settings.rstrip(')')}" if settings else ""),
        broken(clean(change.device, 40)) if several else "",
        clean(change.workload or "", 30),
        name + (f"\n{clean(change.about, 20)}" if change.about else ""),
        f"{number(change.before * factor)}{unit}",
        f"{number(change.after * factor)}{unit}",
        _change_cell(change),
    )
    p_value = "" if change.p_holm is None else f"{change.p_holm:.2g}"
    return (*cells, p_value) if explain else cells


def _change_cell(change: Change) -> str:
    """Return by how much it became better or worse, in words, over the interval."""
    _, worse, better = NAMES[change.figure]
    unit = " points" if change.figure == "accuracy" else " %"
    word = better if change.by > 0 else worse
    amount = f"{number(abs(100 * change.by))}{unit} {word}" if change.by else "the same"
    if change.why_not:
        return f"{amount}\ncan't be judged"
    if change.low is None or change.high is None:
        return amount
    return f"{amount}\n{signed(100 * change.low)} to {signed(100 * change.high)}"

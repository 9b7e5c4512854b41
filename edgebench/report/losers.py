"""Say why each loser lost, as a person would: what it breaks, or how much better the pick is.

Knows a decision's records. Many losers are told by groups, unless all are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from edgebench.analyze.constraints import Check
from edgebench.analyze.decision import Comparison, Loser, Pick
from edgebench.records.base import Estimate
from edgebench.report.format import MIB, number, point_words

_SET_TO = re.compile(r"(.*?) \(([^()]*)\)( on .*)?")
MOST = 8  # losers that are told one by one
# figure -> what it is multiplied with, and its unit
UNITS = {
    "max-memory": (1 / MIB, "MiB"),
    "max-size": (1 / MIB, "MiB"),
    "min-decode": (1.0, "tok/s"),
    "min-prefill": (1.0, "tok/s"),
    "max-ttft": (1.0, "s"),
    "max-latency": (1000.0, "ms"),
    "max-energy": (1.0, "J/tok"),
    "max-accuracy-loss": (100.0, "points"),
    "min-accuracy": (100.0, "%"),
    "max-divergence": (1.0, "nats a token"),
    "decode": (1.0, "tok/s"),
    "prefill": (1.0, "tok/s of a prompt"),
    "memory": (1 / MIB, "MiB"),
    "energy": (1.0, "J/tok"),
    "accuracy": (100.0, "%"),
    "divergence": (1.0, "nats a token"),
}
_DOES = {
    "max-memory": "takes {} of memory",
    "max-size": "takes {} on disk",
    "min-decode": "decodes {}",
    "min-prefill": "reads a prompt at {}",
    "max-ttft": "takes {} to its first token",
    "max-latency": "has a {about} of {} for a token",
    "max-energy": "takes {}",
    "min-accuracy": "gets {} of {about} right",
    "max-divergence": "strays by {} at {about}",
}
_MANY_DO = {
    "max-memory": "take too much memory",
    "max-size": "are too large",
    "min-decode": "decode too slowly",
    "min-prefill": "read a prompt too slowly",
    "max-ttft": "take too long to the first token",
    "max-latency": "have tokens that take too long",
    "max-energy": "take too much energy",
    "max-accuracy-loss": "lose too much",
    "min-accuracy": "get too little right",
    "max-divergence": "stray too far",
}
_BETTER: dict[str, Callable[[float], str]] = {
    "decode": lambda by: _faster(by),
    "prefill": lambda by: f"{_faster(by)} at it",
    "memory": lambda by: f"takes {_less(by)} less",
    "energy": lambda by: f"takes {_less(by)} less",
    "accuracy": lambda by: f"gets {point_words(round(by, 4))} more",
}
_HAS = {
    "decode": "decodes {}",
    "prefill": "reads a prompt at {}",
    "memory": "takes {} of memory",
    "energy": "takes {}",
    "accuracy": "gets {} right",
    "divergence": "strays by {}",
}


def loser_lines(decision: Pick, explain: bool) -> list[str]:
    """Return a line a loser, or one a group of them where there are many."""
    told = [loser for loser in decision.losers if loser.why in ("failed", "breaks", "worse")]
    alike = [loser for loser in decision.losers if loser.why == "alike"]
    if explain:
        return [line for loser in decision.losers for line in _explained(loser, decision)]
    named = all(loser.artifact in decision.reason for loser in alike)
    lines = [] if named else [_alike(alike, decision)]
    if len(told) <= MOST:
        return [f"  {_line(loser, decision)}" for loser in told] + lines
    groups: dict[tuple[str, str], list[Loser]] = {}
    for loser in told:
        about = loser.breaks[0].constraint if loser.breaks else ""
        groups.setdefault((loser.why, about), []).append(loser)
    for members in groups.values():
        few = len(members) <= 2
        lines += (
            [f"  {_line(it, decision)}" for it in members] if few else [_group(members, decision)]
        )
    return [*lines, "  --explain lists them all"]


def joined(names: Sequence[str], most: int | None = MOST) -> str:
    """List names, an artifact's settings together: `m-q8_0 (1 thread; 2 threads) on pi-5`."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in names:
        match = _SET_TO.fullmatch(name)
        base, settings, place = match.groups("") if match else (name, "", "")
        groups.setdefault((base, place), []).append(settings)
    shown = list(groups.items())[:most]
    words = [
        base + (f" ({'; '.join(settings)})" if any(settings) else "") + place
        for (base, place), settings in shown
    ]
    left = len(names) - sum(len(settings) for _, settings in shown)
    return ", ".join(words) + (f" and {left} more" if left else "")


def _line(loser: Loser, decision: Pick) -> str:
    if loser.why == "failed":
        return f"{loser.artifact} failed: {loser.reason}"
    if loser.why == "breaks":
        return f"{loser.artifact} is out: it {'; it '.join(map(check_words, loser.breaks))}"
    aspect = _asked(loser, decision)
    if aspect is None:
        return f"{loser.artifact}: the pick is {_percent(loser.behind or 0)} better by your weights"
    has = _HAS[aspect.aspect].format(quantity(aspect.aspect, aspect.loser))
    return f"{loser.artifact} {has}; the pick {_better(aspect)}"


def _better(comparison: Comparison) -> str:
    words = _BETTER[comparison.aspect](comparison.by)
    return words if words.startswith(("takes", "gets")) else f"is {words}"


def _asked(loser: Loser, decision: Pick) -> Comparison | None:
    """Return the comparison in what was asked for, where that is one respect."""
    if len(decision.weights) > 1:
        return None
    return next((it for it in loser.compared if it.aspect in decision.weights), None)


def _alike(alike: Sequence[Loser], decision: Pick) -> str:
    listed = joined([loser.artifact for loser in alike])
    told = [it for loser in alike if (it := _asked(loser, decision))]
    figures = [it.loser.value for it in told]
    words = f"  can't be told from it: {listed}"
    if not figures:
        return words
    own = quantity(told[0].aspect, told[0].winner)
    return f"{words} ({_span(told[0].aspect, figures)}; the pick has {own})"


def _group(members: Sequence[Loser], decision: Pick) -> str:
    what = "others" if decision.artifact else "candidates"
    count, first = f"{len(members)} {what}", members[0]
    if first.why == "failed":
        return f"  {count} failed: {first.reason} (the first)"
    if first.why == "breaks":
        checks = [member.breaks[0] for member in members]
        figures = [check.estimate.value for check in checks if check.estimate]
        name = checks[0].constraint
        seen = f": {_span(name, figures)}" if figures else ""
        return f"  {count} {_MANY_DO[name]}{seen}, {_asks(checks[0])}"
    behind = [member.behind or 0.0 for member in members]
    told = [it for member in members if (it := _asked(member, decision))]
    words = {
        "decode": "slower",
        "prefill": "slower at reading a prompt",
        "accuracy": "less accurate",
    }
    aspect = told[0].aspect if told else ""
    worse = words.get(aspect, "worse" if not aspect else f"behind in {aspect}")
    if aspect == "accuracy":
        return (
            f"  {count} are {worse}: by {100 * min(behind):.1f} to {100 * max(behind):.1f} points"
        )
    least, most = 1 + min(behind), 1 + max(behind)
    return f"  {count} are {worse}: {least:.2f} to {most:.2f} times"


def _span(name: str, figures: Sequence[float]) -> str:
    factor, unit = UNITS[name]
    least, most = number(min(figures) * factor), number(max(figures) * factor)
    return f"{least} {unit}" if least == most else f"{least} to {most} {unit}"


# a check


def check_words(check: Check) -> str:
    """Say what a row does and what was asked, to follow its name or "it"."""
    if check.estimate is None or (check.reason and check.verdict == "broken"):
        return f"has no figure: {check.reason}" if check.verdict == "open" else check.reason
    if check.constraint == "max-accuracy-loss":
        does = _loss(check.estimate, check.about)
    else:
        told = quantity(check.constraint, check.estimate)
        does = _DOES[check.constraint].format(told, about=check.about)
    return f"{does}, {_asks(check)}"


def _asks(check: Check) -> str:
    asks = "you ask for" if check.constraint.startswith("min") else "you allow"
    return f"{asks} {limit_words(check.constraint, check.limit)}"


def limit_words(name: str, limit: float) -> str:
    """Return a limit as it is typed: "30 tok/s", "1 point"."""
    if name == "max-accuracy-loss":
        return point_words(limit)
    factor, unit = UNITS.get(name, (1.0, ""))
    words = number(limit * factor)
    words = words.rstrip("0").rstrip(".") if "." in words else words
    return f"{words} {unit}".strip()


def quantity(name: str, estimate: Estimate) -> str:
    """Return a figure with its unit and its interval."""
    factor, unit = UNITS.get(name, (1.0, ""))
    words = f"{number(estimate.value * factor)} {unit}"
    if estimate.bounds is None or estimate.bounds.low == estimate.bounds.high:
        return words
    low, high = (number(end * factor) for end in estimate.bounds)
    return f"{words} ({low} to {high})"


def has_words(name: str, estimate: Estimate) -> str:
    """Return "has 44.0 tok/s (43.1 to 45.0)", "loses 0.5 points", "gains 0.5 points"."""
    if name == "max-accuracy-loss":
        return _loss(estimate, "")
    return f"has {quantity(name, estimate)}"


def _loss(loss: Estimate, task: str) -> str:
    """Say a loss, or a gain as a gain."""
    words = _lost(loss.value)
    if loss.bounds and loss.bounds.low != loss.bounds.high:
        low, high = 100 * loss.bounds.low, 100 * loss.bounds.high
        if low >= 0:
            words += f" ({low:.1f} to {high:.1f})"
        elif high <= 0:
            words += f" ({-high:.1f} to {-low:.1f})"
        else:
            words += f" (between {-low:.1f} gained and {high:.1f} lost)"
    return f"{words} at {task}" if task else words


def _lost(share: float) -> str:
    if share == 0:
        return "loses nothing"
    return f"{'loses' if share > 0 else 'gains'} {abs(100 * share):.1f} points"


# how much better


def _faster(by: float) -> str:
    if by < 0:
        return f"{_percent(1 - 1 / (1 + -by) if by > -1 else 1.0)} slower"
    return f"{_percent(by)} faster" if by < 0.5 else f"{1 + by:.2g} times as fast"


def _less(by: float) -> str:
    return _percent(1 - 1 / (1 + by))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if abs(share) < 0.1 else f"{100 * share:.0f} %"


# everything, for --explain


def _explained(loser: Loser, decision: Pick) -> list[str]:
    if loser.why in ("open", "unmeasured", "beside"):
        words = {"open": "is open", "unmeasured": "can't be held against the pick"}
        lines = [f"  {loser.artifact} {words.get(loser.why, 'was not considered')}"]
    elif loser.why == "alike":
        lines = [f"  {loser.artifact} can't be told from the pick in what was asked"]
    else:
        lines = [f"  {_line(loser, decision)}"]
    lines += [f"    {compared_words(it)}" for it in loser.compared]
    return lines + [f"    {explained(check)}" for check in (*loser.breaks, *loser.open)]


def compared_words(comparison: Comparison) -> str:
    """Say both figures of one respect, and how sure it is that they differ."""
    mine = quantity(comparison.aspect, comparison.winner)
    theirs = quantity(comparison.aspect, comparison.loser)
    sure = "shown" if comparison.is_shown else "may be chance"
    if comparison.p_value is not None:
        sure += f", p = {comparison.p_value:.2g}"
    return f"{comparison.aspect}: {theirs} against the pick's {mine}; {sure}"


def explained(check: Check) -> str:
    """Say a check's figure, limit, verdict and p-values."""
    told = [
        f"p of {name} {p:.2g}"
        for name, p in (("holding", check.p_holds), ("breaking", check.p_breaks))
        if p is not None
    ]
    about = f" at {check.about}" if check.about else ""
    limit = limit_words(check.constraint, check.limit)
    figure = f", it {has_words(check.constraint, check.estimate)}" if check.estimate else ""
    told += [check.reason] if check.reason else []
    words = f"{check.constraint} {limit}{about}{figure}: {check.verdict}"
    return f"{words} ({'; '.join(told)})" if told else words

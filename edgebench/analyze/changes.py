"""What became slower, larger or worse between two sets of runs, beyond noise.

Knows rows that are one model, level, format, settings and workload on one machine, whatever build
ran them and when. A speed changed where its launches are shown to differ (Holm over all of them),
an accuracy where the same items are answered otherwise, an energy where intervals are apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field

from edgebench.analyze.choosing import intervals_apart
from edgebench.analyze.pairs import between, shared_items
from edgebench.analyze.rows import Row
from edgebench.analyze.setups import Job
from edgebench.analyze.speeds import LaunchFigures
from edgebench.records.base import Estimate, Record, Told
from edgebench.records.device import DeviceInfo
from edgebench.stats.changes import times_as_much
from edgebench.stats.estimates import holm
from edgebench.stats.loss import difference_p, loses_at_most

LEVEL = 0.05
Figure = Literal["decode", "prefill", "ttft", "energy", "memory", "size", "accuracy", "divergence"]
Key = tuple[object, ...]


class Change(Record):
    """One figure of one row, before and after.

    `by` is the share by which it became better, below zero where it became worse: 0.1 is 10 %
    faster, smaller or more frugal; of an accuracy 0.1 is 10 points.
    """

    row: Told
    device: Told
    workload: Told | None
    figure: Figure
    about: Told = Field(default="", description="the task or text")
    before: float
    after: float
    by: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    is_shown: bool = Field(description="that it changed at all is more than chance")
    why_not: Told = Field(default="", description="why nothing can be said")

    def is_regression(self, least: float) -> bool:
        """Return whether it is shown to be worse, and by more than `least` as far as is known."""
        return self.is_shown and self.by < -least


class Changes(Record):
    """All figures that two sets of runs have in common."""

    devices: tuple[DeviceInfo, ...]
    builds_before: tuple[Told, ...]
    builds_after: tuple[Told, ...]
    newest_before: Told
    newest_after: Told
    changes: tuple[Change, ...]
    only_before: tuple[Told, ...] = ()
    only_after: tuple[Told, ...] = ()

    def regressions(self, least: float) -> list[Change]:
        """Return what is shown to be worse by more than a share."""
        return [change for change in self.changes if change.is_regression(least)]


def changes_between(before: Sequence[Row], after: Sequence[Row]) -> Changes:
    """Hold each row against the row of the earlier set that is the same but for build and date."""
    earlier, later = _newest(before), _newest(after)
    shared = [key for key in later if key in earlier]
    told = [change for key in shared for change in _changes_of(earlier[key], later[key])]
    rows = [later[key] for key in shared]
    return Changes(
        devices=tuple({row.machine: row.device for row in rows}.values()),
        builds_before=_builds([earlier[key] for key in shared]),
        builds_after=_builds(rows),
        newest_before=max((row.newest for row in earlier.values()), default=""),
        newest_after=max((row.newest for row in later.values()), default=""),
        changes=tuple(_corrected(told)),
        only_before=tuple(_name(row) for key, row in earlier.items() if key not in later),
        only_after=tuple(_name(row) for key, row in later.items() if key not in earlier),
    )


def _newest(rows: Sequence[Row]) -> dict[Key, Row]:
    """Return the newest good row of each identity."""
    newest: dict[Key, Row] = {}
    for row in sorted((row for row in rows if row.is_good), key=lambda row: row.newest):
        newest[_identity(row)] = row
    return newest


def _identity(row: Row) -> Key:
    artifact = row.artifact
    return (
        row.machine,
        row.device.name,
        row.setup,
        artifact.model,
        artifact.level,
        artifact.format,
        row.used,
        Job.of(row.workload, row.after_prompt) if row.workload else None,
    )


def _name(row: Row) -> str:
    words = [row.artifact.name, f"({row.used})" if row.used else ""]
    words.append(row.workload.name if row.workload else "")
    return " ".join(word for word in (*words, f"on {row.device.name}") if word)


def _builds(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(sorted({row.runtime for row in rows if row.runtime}))


def _changes_of(before: Row, after: Row) -> list[Change]:
    return [
        *_speeds(before, after),
        *_sizes(before, after),
        *_energy(before, after),
        *_accuracies(before, after),
        *_divergences(before, after),
    ]


def _change(row: Row, figure: Figure, values: tuple[float, float], **fields: object) -> Change:
    told = {
        "row": f"{row.artifact.name} ({row.used})" if row.used else row.artifact.name,
        "device": row.device.name,
        "workload": row.workload.name if row.workload else None,
        "figure": figure,
        "before": values[0],
        "after": values[1],
        **fields,
    }
    return Change.model_validate(told)


def _speeds(before: Row, after: Row) -> list[Change]:
    if before.speed is None or after.speed is None:
        return []
    readings: dict[Figure, Callable[[LaunchFigures], float]] = {
        "decode": lambda launch: launch.decode_tokens_per_s,
        "prefill": lambda launch: launch.prefill_tokens_per_s,
        "ttft": lambda launch: launch.ttft_s,
    }
    changes = []
    for figure, read in readings.items():
        mine = [read(launch) for launch in before.speed.launches]
        theirs = [read(launch) for launch in after.speed.launches]
        if not mine or not theirs:
            continue
        times = times_as_much(mine, theirs)
        # A time is better where it is shorter.
        turned = _turned(times.ratio) if figure == "ttft" else times.ratio
        bounds = turned.bounds
        values = {
            "decode": (before.speed.decode.value, after.speed.decode.value),
            "prefill": (before.speed.prefill.value, after.speed.prefill.value),
            "ttft": (before.speed.ttft_s.value, after.speed.ttft_s.value),
        }[figure]
        changes.append(
            _change(
                after,
                figure,
                values,
                by=turned.value - 1,
                low=bounds.low - 1 if bounds else None,
                high=bounds.high - 1 if bounds else None,
                p_value=times.p_value,
                is_shown=False,  # told once all are known
                why_not="" if bounds else times.ratio.method,
            )
        )
    return changes


def _turned(ratio: Estimate) -> Estimate:
    bounds = ratio.bounds
    return ratio.model_copy(
        update={
            "value": 1 / ratio.value,
            "low": 1 / bounds.high if bounds else None,
            "high": 1 / bounds.low if bounds else None,
        }
    )


def _sizes(before: Row, after: Row) -> list[Change]:
    """Compare bytes: those of a file are exact, memory moves by a page or two without a change."""
    sizes = (before.artifact.size_bytes, after.artifact.size_bytes)
    changes = [_exact(after, "size", sizes, 0.0)] if all(sizes) else []
    first = before.memory.total_bytes if before.memory else None
    second = after.memory.total_bytes if after.memory else None
    if first and second:
        changes.append(_exact(after, "memory", (first, second), 0.01))
    return changes


def _exact(row: Row, figure: Figure, sizes: tuple[int, int], least: float) -> Change:
    by = sizes[0] / sizes[1] - 1
    values = (float(sizes[0]), float(sizes[1]))
    return _change(row, figure, values, by=by, is_shown=abs(by) > least)


def _energy(before: Row, after: Row) -> list[Change]:
    if before.energy is None or after.energy is None:
        return []
    first, second = before.energy.j_per_token, after.energy.j_per_token
    if before.energy.source != after.energy.source or not second.value:
        return []
    known = first.bounds is not None and second.bounds is not None
    return [
        _change(
            after,
            "energy",
            (first.value, second.value),
            by=first.value / second.value - 1,
            is_shown=intervals_apart(first, second),
            why_not="" if known else "too few launches for an interval",
        )
    ]


def _accuracies(before: Row, after: Row) -> list[Change]:
    changes = []
    for task in after.tasks:
        earlier = before.task(task.task)
        items = shared_items(task, earlier) if earlier else None
        if earlier is None:
            continue
        values = (earlier.accuracy.value, task.accuracy.value)
        by = values[1] - values[0]
        if items is None:
            why = "other items, or another version of the task"
            fields = {"by": by, "is_shown": False, "why_not": why}
        else:
            answers = between(*items)
            bounds = loses_at_most(*answers, 0.0, LEVEL / 2).difference.bounds
            fields = {
                "by": by,
                "low": bounds.low if bounds else None,
                "high": bounds.high if bounds else None,
                "p_value": difference_p(*answers),
                "is_shown": False,
            }
        changes.append(_change(after, "accuracy", values, about=task.task, **fields))
    return changes


def _divergences(before: Row, after: Row) -> list[Change]:
    known = {divergence.text: divergence for divergence in before.divergences}
    changes = []
    for divergence in after.divergences:
        earlier = known.get(divergence.text)
        if earlier is None or earlier.mean_kld is None or divergence.mean_kld is None:
            continue
        if earlier.text_sha256 != divergence.text_sha256 or divergence.mean_kld.value <= 0:
            continue
        changes.append(
            _change(
                after,
                "divergence",
                (earlier.mean_kld.value, divergence.mean_kld.value),
                about=divergence.text,
                by=earlier.mean_kld.value / divergence.mean_kld.value - 1,
                is_shown=intervals_apart(earlier.mean_kld, divergence.mean_kld),
            )
        )
    return changes


def _corrected(changes: Sequence[Change]) -> list[Change]:
    """Correct the p-values over all changes that have one (Holm), and say which are shown."""
    told = [change for change in changes if change.p_value is not None]
    adjusted = iter(holm([change.p_value or 0.0 for change in told]))
    corrected = []
    for change in changes:
        if change.p_value is None:
            corrected.append(change)
            continue
        p_holm = next(adjusted)
        update = {"p_holm": p_holm, "is_shown": p_holm < LEVEL and change.by != 0}
        corrected.append(change.model_copy(update=update))
    return corrected

"""Where the time of cases went, as lines and as JSON. Knows runs; measures nothing."""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.records.base import clean
from edgebench.records.run import Run
from edgebench.records.timing import Timing

# What a case's time is spent on, by the field that says so.
PARTS = {
    "start_s": "start",
    "load_s": "load",
    "warm_up_s": "warm-up",
    "trials_s": "measure",
    "meters_s": "meters",
    "answers_s": "answer",
    "other_s": "other",
}
NAME = 20  # characters of a case's name
WIDTH = 8


def timing_lines(runs: Sequence[Run]) -> list[str]:
    """Return a table of seconds: a line a case, and all together where there are several."""
    entries = timings(runs)
    if not entries:
        return ["Where the time went isn't known of runs before 0.2."]
    if len(entries) > 1:
        entries = [*entries, {"case": "all", **_sum(entries)}]
    used = [name for name in PARTS if any(entry[name] for entry in entries)]
    header = "".join(f"{PARTS[name]:>{WIDTH}}" for name in used)
    lines = [f"{'Seconds went into':<{NAME}}{header}{'in all':>{WIDTH}}"]
    for entry in entries:
        told = "".join(f"{_seconds(entry[name]):>{WIDTH}}" for name in (*used, "wall_s"))
        lines.append(f"{clean(str(entry['case']), NAME - 1):<{NAME}}{told}")
    return lines


def timings(runs: Sequence[Run]) -> list[dict[str, str | float]]:
    """Return each case's name and seconds by part; `other_s` is the host's own share."""
    return [
        {"case": f"{run.artifact.level} {run.label}", **_parts(run, run.timing)}
        for run in runs
        if run.timing is not None
    ]


def _parts(run: Run, timing: Timing) -> dict[str, float]:
    parts = timing.model_dump()
    return {**parts, "other_s": max(0.0, run.wall_s - timing.told_s), "wall_s": run.wall_s}


def _sum(entries: Sequence[dict[str, str | float]]) -> dict[str, str | float]:
    return {name: sum(float(entry[name]) for entry in entries) for name in (*PARTS, "wall_s")}


def _seconds(value: str | float) -> str:
    seconds = float(value)
    return f"{seconds:.1f}" if seconds >= 0.05 else ("-" if seconds == 0 else "0.0")

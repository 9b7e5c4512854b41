"""Where the time of cases went, as lines and as JSON. Knows runs; measures nothing."""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.plan.cases import settings_apart
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
NAMES = (20, 36)  # characters of a case's name, at least and at most
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
    name_width = min(max(NAMES[0], *(len(str(entry["case"])) + 1 for entry in entries)), NAMES[1])
    lines = [f"{'Seconds went into':<{name_width}}{header}{'in all':>{WIDTH}}"]
    for entry in entries:
        told = "".join(f"{_seconds(entry[name]):>{WIDTH}}" for name in (*used, "wall_s"))
        lines.append(f"{clean(str(entry['case']), name_width - 1):<{name_width}}{told}")
    return lines


def timings(runs: Sequence[Run]) -> list[dict[str, str | float]]:
    """Return each case's name and seconds by part; `other_s` is the host's own share."""
    apart = settings_apart([run.settings for run in runs])
    is_one_model = len({run.artifact.model for run in runs}) == 1
    artifacts = [run.artifact.level if is_one_model else run.artifact.name for run in runs]
    names = [
        " ".join(filter(None, (artifact, run.label, apart[run.settings])))
        for artifact, run in zip(artifacts, runs, strict=True)
    ]
    return [
        {"case": name, **_parts(run, run.timing)}
        for name, run in zip(names, runs, strict=True)
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

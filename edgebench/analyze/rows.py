"""Make one row of each artifact, set-up and workload from the stored runs.

Knows which runs belong together: runs of different power modes, settings or builds are never
pooled. Of runs of one case the newest good one counts. Compares nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from edgebench.records.accuracy import Accuracy, Divergence, ItemResult, RaceResult
from edgebench.records.artifact import Artifact
from edgebench.records.base import Count, Estimate, Record, Text
from edgebench.records.energy import Energy
from edgebench.records.run import Run
from edgebench.records.settings import Settings
from edgebench.stats.resampling import clusters_of


class TaskFigures(Record):
    """An artifact's accuracy at one task, and its paired difference from the baseline level."""

    task: Text
    n: Count
    chance: float
    accuracy: Estimate
    difference: Estimate | None = None
    p_value: float | None = None
    p_holm: float | None = None
    why_no_difference: Text | None = None
    task_sha256: Text = ""
    metric: Text = ""
    majority: float | None = None
    skipped: Count = 0
    population: Count | None = None
    clusters: Count | None = None
    race: RaceResult | None = None
    margin: float | None = None
    no_worse: Literal["holds", "worse", "open"] | None = Field(
        default=None, description="than the baseline by more than the margin"
    )
    items_needed: Count | None = Field(default=None, description="more, to decide no_worse")
    items: tuple[ItemResult, ...] = Field(default=(), exclude=True)


class Row(Record):
    """The figures of one artifact in one set-up with one workload."""

    device: Text
    board: Text | None
    setup: Text
    runtime: Text = ""
    cache: Text = ""
    workload: Text | None
    artifact: Text
    model: Text
    level: Text
    format: Text
    sha256: Text
    size_bytes: Count
    bits_per_weight: float
    requantized_from: Text | None
    fallback_tensors: Count | None
    tensors: Count
    prefill: Estimate | None = None
    decode: Estimate | None = None
    ttft_s: Estimate | None = None
    load_s: float | None = None
    peak_rss_bytes: Count | None = None
    energy_j_per_token: Estimate | None = None
    energy_source: Text | None = None
    energy_kind: Text | None = None
    energy_reason: Text | None = None
    tasks: tuple[TaskFigures, ...] = ()
    divergences: tuple[Divergence, ...] = ()
    warnings: tuple[Text, ...] = ()
    failures: tuple[Text, ...] = ()
    newest: Text = ""


@dataclass(frozen=True)
class Key:
    """What runs must share to stand in one row."""

    device: str
    board: str | None
    setup: Setup
    sha256: str


@dataclass(frozen=True)
class Setup:
    """What else than the artifact decides a run's speed, in words.

    `shared` is what every runtime has in common: power mode, threads and typed settings. `cache`
    is the KV cache's type, which an ONNX artifact decides itself.
    """

    shared: str
    runtime: str
    cache: str


def setup_of(run: Run) -> Setup:
    """Name a run's set-up."""
    defaults = Settings().model_dump()
    used = run.settings.model_dump()
    words = _conditions(run)
    runtime = ""
    if run.runtime:
        # What `auto` came to: the same settings are another set-up on a machine of more cores.
        used["threads"] = defaults["threads"]
        words.append(f"{run.runtime.threads} threads")
        build = hashlib.sha256(run.runtime.build.encode()).hexdigest()[:8]
        runtime = f"{run.runtime.version}, build {build}"
    words += [f"{name}={value}" for name, value in used.items() if value != defaults[name]]
    return Setup(", ".join(words), runtime, run.runtime.kv_type if run.runtime else "")


def _conditions(run: Run) -> list[str]:
    """Name the conditions under which runs are not pooled with those under others."""
    before = run.conditions.before
    words = [run.device.power_mode] if run.device.power_mode else []
    if before.governor:
        words.append(f"governor {before.governor}")
    if before.clocks_fixed is not None:
        words.append("clocks fixed" if before.clocks_fixed else "clocks free")
    if before.on_battery:
        words.append("on battery")
    return words


def summarize(runs: Iterable[Run]) -> list[Row]:
    """Return one row for each artifact, set-up and workload, in the order first seen."""
    by_key: dict[Key, list[Run]] = {}
    for run in _with_setup(list(runs)):
        key = Key(run[0].device.name, run[0].device.board, run[1], run[0].artifact.sha256)
        by_key.setdefault(key, []).append(run[0])
    return [row for key, members in by_key.items() for row in _rows(key, members)]


def _with_setup(runs: Sequence[Run]) -> list[tuple[Run, Setup]]:
    """Pair runs with their set-up; a run that never opened a runtime takes its artifact's."""
    known = {run.artifact.sha256: setup_of(run) for run in runs if run.runtime}
    return [
        (run, setup_of(run) if run.runtime else known.get(run.artifact.sha256, setup_of(run)))
        for run in runs
    ]


def _rows(key: Key, runs: Sequence[Run]) -> list[Row]:
    newest: dict[str, Run] = {}
    failed: dict[str, Run] = {}
    for run in runs:
        if run.status == "ok":
            newest[run.case_id] = run
            failed.pop(run.case_id, None)
        elif run.case_id not in newest:
            failed[run.case_id] = run
    good = list(newest.values())
    failures = tuple(_failure(run) for run in failed.values())
    answered = _Answered(
        _tasks(good), _divergences(good), failures, good, max(one.created for one in runs)
    )
    speeds = {run.label: run for run in good if run.speed}
    broken = {run.label: run for run in failed.values() if run.workload}
    labels: list[str | None] = list(dict.fromkeys([*speeds, *broken]))
    return [
        _row(key, runs[-1].artifact, label, speeds.get(label or ""), answered)
        for label in labels or [None]
    ]


@dataclass(frozen=True)
class _Answered:
    """What all rows of an artifact share: its tasks and divergences, failures and good runs."""

    tasks: tuple[TaskFigures, ...]
    divergences: tuple[Divergence, ...]
    failures: tuple[str, ...]
    good: Sequence[Run]
    newest: str

    def warnings(self, run: Run | None) -> tuple[str, ...]:
        """Return what is to be known of a workload's run, and of the tasks' runs."""
        told = [one for one in self.good if one is run or one.task]
        return tuple(dict.fromkeys(text for one in told for text in one.conditions.warnings))


def _tasks(runs: Sequence[Run]) -> tuple[TaskFigures, ...]:
    """Return each task's figures; of several runs the one with the most items, then the newest."""
    best: dict[str, Accuracy] = {}
    for run in runs:
        found = run.accuracy
        if found and (found.task not in best or found.n >= best[found.task].n):
            best[found.task] = found
    return tuple(_task(found) for found in best.values())


def _divergences(runs: Sequence[Run]) -> tuple[Divergence, ...]:
    """Return the newest divergence over each text."""
    newest = {run.divergence.text: run.divergence for run in runs if run.divergence}
    return tuple(newest.values())


def _row(
    key: Key, artifact: Artifact, label: str | None, run: Run | None, answered: _Answered
) -> Row:
    speed = run.speed if run else None
    energy = best_energy(run.energy) if run else None
    fallbacks = artifact.fallback_tensors
    return Row(
        device=key.device,
        board=key.board,
        setup=key.setup.shared,
        runtime=key.setup.runtime,
        cache=key.setup.cache,
        workload=label,
        artifact=artifact.name,
        model=artifact.model,
        level=artifact.level,
        format=artifact.format,
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        bits_per_weight=artifact.bits_per_weight,
        requantized_from=artifact.requantized_from,
        fallback_tensors=None if fallbacks is None else len(fallbacks),
        tensors=sum(artifact.tensor_types.values()),
        prefill=speed.prefill.tokens_per_s if speed else None,
        decode=speed.decode.tokens_per_s if speed else None,
        ttft_s=speed.ttft_s if speed else None,
        load_s=speed.load_s if speed else None,
        peak_rss_bytes=run.memory.peak_rss_bytes if run and run.memory else None,
        energy_j_per_token=energy.decode.j_per_token if energy and energy.decode else None,
        energy_source=energy.source if energy else None,
        energy_kind=energy.kind if energy else None,
        energy_reason=_no_energy(run, energy) if run else None,
        tasks=answered.tasks,
        divergences=answered.divergences,
        warnings=answered.warnings(run),
        failures=answered.failures,
        newest=answered.newest,
    )


def best_energy(found: Sequence[Energy]) -> Energy | None:
    """Return the source to show: one with figures, measured before derived before estimated."""
    kinds = ("measured", "derived", "estimated")
    ordered = sorted(found, key=lambda one: (one.decode is None, kinds.index(one.kind)))
    return ordered[0] if ordered else None


def _no_energy(run: Run, energy: Energy | None) -> str | None:
    if energy is None:
        return run.energy_reason
    return None if energy.decode else f"{energy.source}: {energy.reason}"


def _task(accuracy: Accuracy) -> TaskFigures:
    clusters = clusters_of([item.cluster for item in accuracy.items])
    return TaskFigures(
        task=accuracy.task,
        n=accuracy.n,
        chance=accuracy.chance,
        accuracy=accuracy.value,
        task_sha256=accuracy.task_sha256,
        metric=accuracy.metric,
        majority=accuracy.majority,
        skipped=len(accuracy.skipped),
        population=accuracy.population,
        clusters=len(set(clusters)) if clusters else None,
        race=accuracy.race,
        items=accuracy.items,
    )


def _failure(run: Run) -> str:
    error = run.error
    return f"{run.label} {run.status}: {error.message if error else 'no reason given'}"

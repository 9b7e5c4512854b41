"""What runs must share to be set side by side: the machine, the set-up, the bytes of the artifact.

Knows the names of conditions and settings, which moment a run is from, and where a run belongs
that failed before it could say. Makes no figures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from edgebench.records.artifact import Artifact
from edgebench.records.device import DeviceInfo, Snapshot
from edgebench.records.run import Run
from edgebench.records.settings import NOT_ARITHMETIC, Settings, Workload

QUARTER_GIB = 2**28
_DEFAULTS = Settings().model_dump()


@dataclass(frozen=True)
class Setup:
    """What else than the artifact decides a run's figures, in words.

    `conditions` are the machine's: power mode, governor, battery. `settings` are the threads that
    were used and what was typed; `cache` is the KV cache's type, which an ONNX artifact decides
    itself. `arithmetic` is the part of all this on which answers depend, and not only speed.
    """

    conditions: str
    settings: str
    runtime: str
    cache: str
    arithmetic: str


@dataclass(frozen=True)
class Job:
    """What a workload asks for, whatever it is called and however often it is repeated."""

    prompt_tokens: int
    generate_tokens: int
    depth: int
    after_prompt: bool  # decode starts there; in runs before 0.2 it starts where the prompt does
    duration_s: float | None = None  # of a sustained workload

    @classmethod
    def of(cls, workload: Workload, after_prompt: bool) -> Job:
        """Return the job that a workload is."""
        sizes = workload.prompt_tokens, workload.generate_tokens, workload.depth
        return cls(*sizes, after_prompt, workload.duration_s)


@dataclass(frozen=True)
class Placed:
    """A run with the machine and the set-up that it belongs to."""

    run: Run
    machine: str
    setup: Setup
    after_prompt: bool

    @property
    def content(self) -> str:
        """Tell the artifact's bytes."""
        return content_of(self.run.artifact)


def content_of(artifact: Artifact) -> str:
    """Tell an artifact by its bytes: a file that was made again is another one of the same name."""
    return "+".join([artifact.sha256, *sorted(artifact.files.values())])


def when(run: Run) -> datetime:
    """Return the moment a run was made; the beginning of time where it can't be read."""
    try:
        moment = datetime.fromisoformat(run.created.replace("Z", "+00:00"))
    except ValueError:
        return datetime.min.replace(tzinfo=timezone.utc)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def parts_of(device: DeviceInfo) -> str:
    """Tell a machine by processor, board and memory, as runs before 0.2 do."""
    memory = round(device.memory_bytes / QUARTER_GIB) if device.memory_bytes else ""
    return f"{device.cpu or ''}|{device.board or ''}|{memory}"


def machines_by_parts(runs: Iterable[Run]) -> dict[str, str]:
    """Return the one machine that has these parts, for the runs that name none."""
    known: dict[str, set[str]] = {}
    for run in runs:
        if run.device.machine:
            known.setdefault(parts_of(run.device), set()).add(run.device.machine)
    return {parts: next(iter(names)) for parts, names in known.items() if len(names) == 1}


def setup_of(run: Run) -> Setup:
    """Name a run's set-up."""
    used = run.settings.model_dump()
    words = []
    runtime = ""
    if run.runtime:
        # What `auto` came to: the same settings are another set-up on a machine of more cores.
        used["threads"] = _DEFAULTS["threads"]
        words.append(f"{run.runtime.threads} threads" if run.runtime.threads > 1 else "1 thread")
        build = hashlib.sha256(run.runtime.build.encode()).hexdigest()[:8]
        runtime = f"{run.runtime.name} {run.runtime.version}, build {build}"
    changed = {name: value for name, value in used.items() if value != _DEFAULTS[name]}
    words += [f"{name}={value}" for name, value in changed.items()]
    cache = run.runtime.kv_type if run.runtime else ""
    arithmetic = [f"{name}={changed[name]}" for name in changed if name not in NOT_ARITHMETIC]
    return Setup(
        conditions=", ".join(_conditions(run)),
        settings=", ".join(words),
        runtime=runtime,
        cache=cache,
        arithmetic=", ".join([runtime, cache, *arithmetic]),
    )


def changes_of(settings: Settings) -> int:
    """Count the settings that differ from their defaults and change what a model answers."""
    used = settings.model_dump(exclude=set(NOT_ARITHMETIC))
    return sum(value != _DEFAULTS[name] for name, value in used.items())


def _conditions(run: Run) -> list[str]:
    """Name the conditions under which runs are not pooled with those under others."""
    before = _first_snapshot(run)
    words = [run.device.power_mode] if run.device.power_mode else []
    if before.governor:
        words.append(f"governor {before.governor}")
    if before.clocks_fixed is not None:
        words.append("clocks fixed" if before.clocks_fixed else "clocks free")
    if before.on_battery:
        words.append("on battery")
    return words


def _first_snapshot(run: Run) -> Snapshot:
    launches = run.speed.launches if run.speed else ()
    return (
        launches[0].before
        if launches and not run.conditions.before.governor
        else (run.conditions.before)
    )


def placed(runs: Iterable[Run]) -> list[Placed]:
    """Return the runs from the oldest to the newest, each with its machine and set-up.

    A run that failed before its runtime was open stands where the run nearest in time with the
    same settings stands, if there is one.
    """
    ordered = sorted(runs, key=when)
    opened = [run for run in ordered if run.runtime]
    timed = [run for run in ordered if run.speed]
    machines = machines_by_parts(ordered)
    told = []
    for run in ordered:
        stand_in = run if run.runtime else _nearest(run, opened)
        parts = parts_of(stand_in.device)
        machine = stand_in.device.machine or machines.get(parts, parts)
        told.append(Placed(run, machine, setup_of(stand_in), _after_prompt(run, timed)))
    return told


def _nearest(run: Run, opened: Sequence[Run]) -> Run:
    """Return the run nearest in time that has the same device and settings, or the run itself."""
    alike = [
        other
        for other in opened
        if other.device.name == run.device.name
        and other.settings == run.settings
        and other.artifact.format == run.artifact.format
        and _may_be_one(other.device, run.device)
    ]
    return min(alike, key=lambda other: abs(when(other) - when(run)), default=run)


def _may_be_one(device: DeviceInfo, other: DeviceInfo) -> bool:
    """Return whether two devices may be one machine: nothing that both tell is different."""
    told = [(device.machine, other.machine), (device.board, other.board), (device.cpu, other.cpu)]
    return all(mine == theirs for mine, theirs in told if mine and theirs)


def _after_prompt(run: Run, timed: Sequence[Run]) -> bool:
    if run.speed:
        return run.speed.decode_from is not None
    same = [other for other in timed if other.label == run.label]
    nearest = min(same, key=lambda other: abs(when(other) - when(run)), default=None)
    return nearest is None or nearest.speed is None or nearest.speed.decode_from is not None

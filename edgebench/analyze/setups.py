"""What runs must share to be set side by side: the machine, the set-up, the bytes of the artifact.

Knows the names of conditions and settings, which moment a run is from, and where a run belongs
that failed before it could say. Makes no figures.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from edgebench.records.artifact import Artifact
from edgebench.records.device import DeviceInfo
from edgebench.records.settings import NOT_ARITHMETIC, Settings, Workload
from edgebench.run.heads import Head, Seen

QUARTER_GIB = 2**28
_DEFAULTS = Settings().model_dump()
Key = tuple[object, ...]


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


class Placed(NamedTuple):
    """A run with the machine and the set-up that it belongs to."""

    seen: Seen
    machine: str
    setup: Setup
    after_prompt: bool

    @property
    def head(self) -> Head:
        """Return what the run has in common with others of its case."""
        return self.seen.head

    @property
    def content(self) -> str:
        """Tell the artifact's bytes."""
        return self.head.content


@dataclass(frozen=True)
class Place:
    """What the runs of one row share beside the workload."""

    machine: str
    device: str
    board: str | None
    conditions: str
    settings: str
    runtime: str
    cache: str
    content: str

    @classmethod
    def of(cls, placed_run: Placed) -> Place:
        """Return the place of a run."""
        device, setup = placed_run.head.device, placed_run.setup
        return cls(
            placed_run.machine,
            device.name,
            device.board,
            setup.conditions,
            setup.settings,
            setup.runtime,
            setup.cache,
            placed_run.content,
        )


@dataclass(frozen=True)
class Answering:
    """What decides an artifact's answers: its bytes and how they were computed."""

    machine: str
    arithmetic: str
    content: str

    @classmethod
    def of(cls, placed_run: Placed) -> Answering:
        """Return what decided a run's answers."""
        return cls(placed_run.machine, placed_run.setup.arithmetic, placed_run.content)


def content_of(artifact: Artifact) -> str:
    """Tell an artifact by its bytes."""
    return artifact.content


def parts_of(device: DeviceInfo) -> str:
    """Tell a machine by processor, board and memory, as runs before 0.2 do."""
    memory = round(device.memory_bytes / QUARTER_GIB) if device.memory_bytes else ""
    return f"{device.cpu or ''}|{device.board or ''}|{memory}"


def machines_by_parts(devices: Iterable[DeviceInfo]) -> dict[str, str]:
    """Return the one machine that has these parts, for the runs that name none."""
    known: dict[str, set[str]] = {}
    for device in devices:
        if device.machine:
            known.setdefault(parts_of(device), set()).add(device.machine)
    return {parts: next(iter(names)) for parts, names in known.items() if len(names) == 1}


def setup_of(run: Head) -> Setup:
    """Name the set-up of runs with this head."""
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


def _conditions(run: Head) -> list[str]:
    """Name the conditions under which runs are not pooled with those under others."""
    before = run.snapshot
    words = [run.device.power_mode] if run.device.power_mode else []
    if before.governor:
        words.append(f"governor {before.governor}")
    if before.clocks_fixed is not None:
        words.append("clocks fixed" if before.clocks_fixed else "clocks free")
    if before.on_battery:
        words.append("on battery")
    return words


def placed(runs: Iterable[Seen]) -> list[Placed]:
    """Return the runs from the oldest to the newest, each with its machine and set-up.

    A run that failed before its runtime was open stands where the run nearest in time with the
    same settings stands, if there is one.
    """
    ordered = sorted(runs, key=lambda seen: seen.moment)
    heads = {id(seen.head): seen.head for seen in ordered}
    machines = machines_by_parts(head.device for head in heads.values())
    # Once a head: runs by the hundred thousand share a few hundred of them.
    setups = {key: setup_of(head) for key, head in heads.items()}
    parts = {key: parts_of(head.device) for key, head in heads.items()}
    opened, timed = _Opened(ordered), _Timed(ordered, heads.values())
    told = []
    for seen in ordered:
        head = seen.head
        stand_in = head if head.runtime else opened.nearest(seen)
        key = id(stand_in)
        machine = stand_in.device.machine or machines.get(parts[key], parts[key])
        after_prompt = head.after_prompt if head.has_speed else timed.after_prompt(seen)
        told.append(Placed(seen, machine, setups[key], after_prompt))
    return told


class _InTime:
    """Runs from the oldest to the newest, and which of them is nearest to a moment."""

    def __init__(self) -> None:
        self._moments: list[datetime] = []
        self._seen: list[tuple[int, Seen]] = []

    def add(self, order: int, seen: Seen) -> None:
        """Add one that isn't older than those that are there, and its place among all."""
        self._moments.append(seen.moment)
        self._seen.append((order, seen))

    def nearest(self, moment: datetime) -> tuple[timedelta, int, Seen]:
        """Return how far the nearest is, its place and itself: of several the first."""
        after = bisect_left(self._moments, moment)
        places = [after] if after < len(self._seen) else []
        if after:
            places.append(bisect_left(self._moments, self._moments[after - 1]))
        away = ((abs(self._moments[place] - moment), *self._seen[place]) for place in places)
        return min(away, key=lambda told: told[:2])


class _Opened:
    """The runs whose runtime was open, for those that failed before they could say."""

    def __init__(self, ordered: Sequence[Seen]) -> None:
        self._ordered = ordered

    @cached_property
    def _by_device(self) -> dict[Key, dict[Key, _InTime]]:
        by_device: dict[Key, dict[Key, _InTime]] = {}
        by_head: dict[int, _InTime] = {}
        for order, seen in enumerate(self._ordered):
            head = seen.head
            if head.runtime is None:
                continue
            if id(head) not in by_head:
                machine = (head.device.machine, head.device.board, head.device.cpu)
                alike = by_device.setdefault(self._key(head), {})
                by_head[id(head)] = alike.setdefault(machine, _InTime())
            by_head[id(head)].add(order, seen)
        return by_device

    @staticmethod
    def _key(head: Head) -> Key:
        return head.device.name, head.settings, head.format

    def nearest(self, seen: Seen) -> Head:
        """Return the head of the run nearest in time that has the same device and settings.

        It is the run's own where there is none.
        """
        device = seen.head.device
        mine = (device.machine, device.board, device.cpu)
        nearest = [
            runs.nearest(seen.moment)
            for theirs, runs in self._by_device.get(self._key(seen.head), {}).items()
            # Nothing that both tell is different: they may be one machine.
            if all(a == b for a, b in zip(mine, theirs, strict=True) if a and b)
        ]
        return min(nearest, key=lambda told: told[:2])[2].head if nearest else seen.head


class _Timed:
    """The runs that have a speed, for those of the same workload that have none."""

    def __init__(self, ordered: Sequence[Seen], heads: Iterable[Head]) -> None:
        self._ordered = ordered
        self._labels = {head.label for head in heads if head.has_speed}

    @cached_property
    def _by_label(self) -> dict[str, _InTime]:
        by_label = {label: _InTime() for label in self._labels}
        for order, seen in enumerate(self._ordered):
            if seen.head.has_speed:
                by_label[seen.head.label].add(order, seen)
        return by_label

    def after_prompt(self, seen: Seen) -> bool:
        """Return whether decode started after the prompt in the run nearest in time."""
        label = seen.head.label
        if label not in self._labels:
            return True
        return self._by_label[label].nearest(seen.moment)[2].head.after_prompt

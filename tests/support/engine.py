"""Sweeps in this process: a bench whose workers are the real server on the fake runtime.

`Scripted` stands between the sweep and its workers, and does to them what a test wants: a start
that fails, another machine, a reply that says that other programs were at work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgebench.plan.cases import Case
from edgebench.plan.devices import THIS_MACHINE, Device
from edgebench.plan.planner import Work, plan
from edgebench.records.artifact import Artifact
from edgebench.records.messages import AnyRequest, Hello, Result
from edgebench.records.run import Run
from edgebench.records.settings import Settings, Workload
from edgebench.records.task import Task, TextTask
from edgebench.run.bench import Bench
from edgebench.run.sweep import run_cases
from edgebench.run.transports import Tell, Worker, WorkerError
from edgebench.run.transports.memory import MemoryTransport
from edgebench.sources.artifacts import find_artifacts
from edgebench.worker.server import Server

SMALL = Workload(name="8+2", prompt_tokens=8, generate_tokens=2, repetitions=1, launches=3)


def _as_it_is(name: str, result: Result) -> Result:
    return result


@dataclass
class Scripted:
    """A transport that starts servers here, remembers their names, and meddles where asked."""

    edit: Callable[[str, Result], Result] = _as_it_is
    refuse: Callable[[str], bool] = lambda name: False
    started: list[str] = field(default_factory=list)

    def start(self, device: Device, name: str) -> Worker:
        """Start a server, or fail as a machine that can't be reached does."""
        self.started.append(name)
        if self.refuse(name):
            raise WorkerError.of("failed", "Start", "no route to the device", "switch it on")
        return ScriptedWorker(MemoryTransport(Server).start(device, name), name, self.edit)

    def deliver(self, artifact: Artifact) -> Artifact:
        """Return the artifact: its files are here."""
        return artifact

    def started_for(self, level: str) -> int:
        """Return how many workers were started for a level."""
        return sum(f"-{level}-" in name for name in self.started)


@dataclass
class ScriptedWorker:
    """A worker whose hello and results are edited."""

    worker: Worker
    name: str
    edit: Callable[[str, Result], Result]

    @property
    def hello(self) -> Hello:
        """What it said first, edited."""
        told = self.edit(self.name, self.worker.hello)
        assert isinstance(told, Hello)
        return told

    def request(self, message: AnyRequest, timeout_s: float, tell: Tell) -> Result:
        """Ask the worker and edit what it says."""
        return self.edit(self.name, self.worker.request(message, timeout_s, tell))

    def close(self) -> None:
        """End the worker."""
        self.worker.close()


@dataclass
class Watcher:
    """An observer that remembers, and interrupts where a test wants."""

    interrupt: Callable[[str, Case], bool] = lambda event, case: False
    events: list[tuple[str, str]] = field(default_factory=list)

    def started(self, case: Case) -> None:
        """Hear that a case begins."""
        self._hear("started", case)

    def ticked(self, case: Case, done: int, total: int) -> None:
        """Hear of a part."""
        self._hear("ticked", case)

    def ended(self, case: Case, run: Run) -> None:
        """Hear that a case is stored."""
        self._hear("ended", case)

    def _hear(self, event: str, case: Case) -> None:
        self.events.append((event, f"{case.subject.artifact.level} {case.work}"))
        if self.interrupt(event, case):
            raise KeyboardInterrupt


@dataclass
class Engine:
    """Artifacts below a folder, and what becomes of them in a sweep."""

    folder: Path
    transport: Scripted = field(default_factory=Scripted)
    watcher: Watcher = field(default_factory=Watcher)
    runs: list[Run] = field(default_factory=list)
    known: dict[str, Run] = field(default_factory=dict)

    @property
    def bench(self) -> Bench:
        """Return where cases run, with what a worker says of this machine."""
        hello = MemoryTransport(Server).start(THIS_MACHINE, "hello").hello
        return Bench(
            self.transport, THIS_MACHINE, hello, self.runs.append, self.watcher, 60.0, self.known
        )

    def cases(
        self,
        workload: Workload | None = None,
        tasks: Sequence[Task | TextTask] = (),
        tolerance: float | None = None,
    ) -> list[Case]:
        """Plan the folder's artifacts."""
        artifacts = find_artifacts([self.folder])
        work = Work((workload,) if workload else (), tuple(tasks), ("none",), tolerance)
        return plan(artifacts, "cpu", [Settings()], work)

    def run(self, cases: Sequence[Case], retries: int = 0) -> dict[str, Run]:
        """Run cases; return the runs by `model level work`."""
        run_cases(cases, self.bench, retries)
        return self.by_name

    @property
    def by_name(self) -> dict[str, Run]:
        """Return what was stored, each case once."""
        named = {f"{run.artifact.name} {run.label}": run for run in self.runs}
        assert len(named) == len(self.runs)
        return named

"""Which cases need not be measured again: those whose good run is stored, from this machine.

Knows what makes a stored run good enough for what was asked now, and whose launches a new run may
go on from.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from edgebench.plan.cases import Case, SpeedCase
from edgebench.records.device import DeviceInfo
from edgebench.records.run import Run
from edgebench.run.bench import Bench


@dataclass(frozen=True)
class Standing:
    """What is stored of a plan, by case id: good runs, and those of too few launches."""

    stored: dict[str, Run]
    begun: dict[str, Run]


def standing(runs: Iterable[Run], cases: Sequence[Case], bench: Bench) -> Standing:
    """Return what is stored of a plan, reading the runs once."""
    wanted = {bench.case_id(case): case for case in cases}
    newest = list(_newest_good(runs, wanted, bench).values())
    return Standing(resumable(newest, cases, bench), begun(newest, cases, bench))


def resumable(runs: Iterable[Run], cases: Sequence[Case], bench: Bench) -> dict[str, Run]:
    """Return the newest run of each case by its id, where that run is good enough.

    It is where it went well, on this machine, with as many launches as are wanted now.
    """
    wanted = {bench.case_id(case): case for case in cases}
    return {
        name: run
        for name, run in _newest_good(runs, wanted, bench).items()
        if _launches(run) >= _wanted(wanted[name])
    }


def begun(runs: Iterable[Run], cases: Sequence[Case], bench: Bench) -> dict[str, Run]:
    """Return the newest run of each case of speed whose launches are a part of those wanted now.

    Each launch must have timed the workload as often as is wanted now.
    """
    wanted = {bench.case_id(case): case for case in cases if isinstance(case, SpeedCase)}
    return {
        name: run
        for name, run in _newest_good(runs, wanted, bench).items()
        if 0 < _launches(run) < _wanted(wanted[name])
        and run.workload
        and run.workload.repetitions == wanted[name].workload.repetitions
    }


def _newest_good(runs: Iterable[Run], wanted: Container[str], bench: Bench) -> dict[str, Run]:
    """Return the newest run of each case on this machine, where that one went well."""
    newest: dict[str, Run] = {}
    for run in runs:
        if run.case_id in wanted and is_here(run.device, bench.device_info):
            held = newest.get(run.case_id)
            if held is None or run.created >= held.created:
                newest[run.case_id] = run
    return {name: run for name, run in newest.items() if run.status == "ok"}


def is_here(stored: DeviceInfo, here: DeviceInfo) -> bool:
    """Return whether a run is of this machine; one of before 0.2 does not tell, its parts do."""
    if stored.machine is not None:
        return stored.machine == here.machine
    return (stored.board, stored.cpu, stored.memory_bytes) == (
        here.board,
        here.cpu,
        here.memory_bytes,
    )


def _launches(run: Run) -> int:
    return len(run.speed.launches) if run.speed else 0


def _wanted(case: Case) -> int:
    return case.workload.launches if isinstance(case, SpeedCase) else 0

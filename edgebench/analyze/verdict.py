"""Hold a contract against stored runs: PASS, FAIL or INCONCLUSIVE for each demand and in all.

A demand passes where it is shown to hold and fails where it is shown to be broken, each at the
contract's confidence. Where any artifact will do, as many as are still in question share the chance
of error, since the one that passes may be the lucky one (Bonferroni); that none will do is said
where each breaks a demand, and a candidate's own demands share that chance. Measures nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from edgebench.analyze.advice import advise
from edgebench.analyze.compare import Group
from edgebench.analyze.constraints import Check, Question, checks_of
from edgebench.analyze.contract import Contract
from edgebench.analyze.names import names_of
from edgebench.analyze.rows import Row
from edgebench.plan.workloads import parse_workload
from edgebench.records.base import Estimate, Record, Told
from edgebench.records.settings import Workload
from edgebench.stats.launches import LEAST_FOR_BOUND
from edgebench.stats.selection import Alphas

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
OUTCOMES: dict[str, Outcome] = {"holds": "PASS", "broken": "FAIL", "open": "INCONCLUSIVE"}


class Line(Record):
    """One demand and how a candidate stands to it."""

    demand: Told
    workload: Told = ""
    about: Told = Field(default="", description="the task, text or percentile")
    limit: float
    verdict: Outcome
    estimate: Estimate | None = None
    reason: Told = ""
    command: Told = Field(default="", description="what would decide, where it is inconclusive")


class Judged(Record):
    """One artifact in one choice of settings, and how it stands to every demand."""

    artifact: Told
    sha256: Told
    used: Told = Field(default="", description="the settings it was measured with")
    verdict: Outcome
    lines: tuple[Line, ...]


class Result(Record):
    """What a contract comes to."""

    schema_: Literal["edgebench.check/1"] = Field(default="edgebench.check/1", alias="schema")
    verdict: Outcome
    artifact: Told | None = Field(description="one that is shown to satisfy everything")
    sha256: Told | None
    device: Told
    confidence: float
    candidates: tuple[Judged, ...] = Field(description="the one that the verdict is about first")
    reason: Told = ""

    @property
    def lines(self) -> tuple[Line, ...]:
        """Return the demands, as the candidate that the verdict is about stands to them."""
        return self.candidates[0].lines if self.candidates else ()


@dataclass(frozen=True)
class _Candidate:
    """An artifact's rows, by the contract's workloads, and one of any workload."""

    timed: dict[str, Row | None]
    any_row: Row


def held_against(contract: Contract, groups: Sequence[Group], artifact: str) -> Result:
    """Judge the rows of a device's groups, as `compare` gives them.

    `artifact` is a name, `sha256:HEX` or `any`; whoever named a path has looked it up.
    """
    bench = _Bench(contract, groups)
    candidates = bench.candidates(artifact)
    alpha = 1 - contract.confidence
    count = max(1, len(bench.checks(candidates[0])) if candidates else 1)
    shown = Alphas(holds=alpha, holds_shared=alpha, broken=alpha / count)
    contenders = sum(not bench.is_broken(candidate, shown) for candidate in candidates)
    each = alpha / max(1, contenders)
    strict = Alphas(holds=each, holds_shared=each, broken=alpha / count)
    judged = [bench.judged(candidate, strict) for candidate in candidates]
    order = {"PASS": 0, "INCONCLUSIVE": 1, "FAIL": 2}
    judged.sort(key=lambda one: (order[one.verdict], -_passed(one)))
    best = judged[0] if judged else None
    passing = best if best and best.verdict == "PASS" else None
    return Result(
        verdict=best.verdict if best else "INCONCLUSIVE",
        artifact=passing.artifact if passing else None,
        sha256=passing.sha256 if passing else None,
        device=contract.device,
        confidence=contract.confidence,
        candidates=tuple(judged),
        reason="" if best else f"no run of {artifact} is stored",
    )


def _passed(judged: Judged) -> int:
    return sum(line.verdict == "PASS" for line in judged.lines)


class _Bench:
    """The newest groups of a contract's workloads, and what is asked of their rows."""

    def __init__(self, contract: Contract, groups: Sequence[Group]) -> None:
        self.contract = contract
        self.groups = {name: _newest_of(groups, name) for name in contract.workloads}
        chosen = [group for group in self.groups.values() if group]
        if not chosen:
            newest = max(groups, key=lambda group: group.newest, default=None)
            chosen = [newest] if newest else []
        self.rows = [row for group in chosen for row in group.rows]
        self.names = names_of(_each_once(self.rows))
        tasks = dict.fromkeys(task for group in chosen for task in group.tasks)
        texts = tuple(dict.fromkeys(text for group in chosen for text in group.texts))
        self.answers = Question(
            limits=contract.constraints.of_artifacts,
            tasks=contract.tasks or tuple(tasks),
            texts=texts,
            shared=(),
        )

    def candidates(self, artifact: str) -> list[_Candidate]:
        """Return what the contract is about: rows that were timed, where any were."""
        named = [row for row in self.rows if _is_named(row, artifact)]
        timed = [row for row in named if row.workload] or named
        return [self._candidate(key) for key in dict.fromkeys(row.key for row in timed)]

    def _candidate(self, key: str) -> _Candidate:
        rows = [row for row in self.rows if row.key == key]
        timed = {name: self._at(name, key) for name in self.contract.workloads}
        return _Candidate(timed, max(rows, key=lambda row: (len(row.tasks), row.newest)))

    def _at(self, workload: str, key: str) -> Row | None:
        group = self.groups[workload]
        told = [row for row in group.rows if row.key == key and row.workload] if group else []
        return told[0] if told else None

    def checks(self, candidate: _Candidate) -> list[tuple[str, Row, Check]]:
        """Return every demand with the row that it is held against; open where there is none."""
        told: list[tuple[str, Row, Check]] = []
        for name, row in candidate.timed.items():
            limits = self.contract.workloads[name].over(self.contract.constraints)
            question = Question(limits=limits.of_workloads, tasks=(), texts=(), shared=())
            judged = row or _unmeasured(candidate.any_row, name)
            checks = checks_of(judged, question)
            failure = judged.failure(name)
            if failure and not failure.is_task:
                broken = {"verdict": "broken", "reason": failure.words}
                none = {"p_holds": None, "p_breaks": None}
                checks = [check.model_copy(update={**broken, **none}) for check in checks]
            told += [(name, judged, check) for check in checks]
        told += [("", candidate.any_row, c) for c in checks_of(candidate.any_row, self.answers)]
        return told

    def is_broken(self, candidate: _Candidate, alphas: Alphas) -> bool:
        """Return whether a demand is shown to be broken."""
        checks = self.checks(candidate)
        return any(check.judged(alphas, ()).verdict == "broken" for _, _, check in checks)

    def judged(self, candidate: _Candidate, alphas: Alphas) -> Judged:
        """Hold a candidate against every demand."""
        lines = tuple(
            self._line(name, row, check.judged(alphas, ()), alphas)
            for name, row, check in self.checks(candidate)
        )
        verdicts = {line.verdict for line in lines}
        verdict: Outcome = "PASS"
        if "FAIL" in verdicts:
            verdict = "FAIL"
        elif "INCONCLUSIVE" in verdicts:
            verdict = "INCONCLUSIVE"
        row = candidate.any_row
        return Judged(
            artifact=self.names[row.key],
            sha256=row.artifact.sha256,
            used=row.used,
            verdict=verdict,
            lines=lines,
        )

    def _line(self, workload: str, row: Row, check: Check, alphas: Alphas) -> Line:
        reason, command = check.reason, ""
        if check.verdict == "open":
            reason, advice = advise(row, check, self._baseline_of(row), alphas.holds)
            command = advice.command if advice else ""
        return Line(
            demand=check.constraint,
            workload=workload,
            about=check.about,
            limit=check.limit,
            verdict=OUTCOMES[check.verdict],
            estimate=check.estimate,
            reason=reason,
            command=command,
        )

    def _baseline_of(self, row: Row) -> Row | None:
        alike = (
            other
            for other in self.rows
            if other.is_baseline and other.artifact.name == row.baseline
        )
        return next(alike, None)


def _newest_of(groups: Sequence[Group], name: str) -> Group | None:
    """Return the newest group of a workload, by its sizes, whatever it was called."""
    wanted = parse_workload(name, 1, 1)
    fitting = [
        group for group in groups if group.workload and _sizes(group.workload) == _sizes(wanted)
    ]
    good = [group for group in fitting if group.newest] or fitting
    return max(good, key=lambda group: group.newest, default=None)


def _sizes(workload: Workload | None) -> tuple[int, int, int] | None:
    if workload is None:
        return None
    return workload.prompt_tokens, workload.generate_tokens, workload.depth


def _each_once(rows: Sequence[Row]) -> list[Row]:
    return list({row.key: row for row in rows}.values())


def _is_named(row: Row, artifact: str) -> bool:
    if artifact == "any":
        return True
    if artifact.startswith("sha256:"):
        return row.artifact.sha256.startswith(artifact.removeprefix("sha256:").lower())
    return row.artifact.name == artifact


def _unmeasured(row: Row, workload: str) -> Row:
    """Return a row as it would be at a workload at which it was not measured."""
    update = {
        "workload": parse_workload(workload, 1, LEAST_FOR_BOUND),
        "speed": None,
        "memory": None,
        "energy": None,
        "energy_reason": None,
        "failures": (),
    }
    return row.model_copy(update=update)

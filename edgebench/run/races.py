"""Levels that race against one reference: each answers items until its race is decided.

Knows the order of items, which is one random order for all, and when a race is over. The bounds
are those of `stats/sequential.py`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from edgebench.plan.cases import ItemsCase, Race
from edgebench.plan.planner import memory_bytes
from edgebench.records.accuracy import RaceResult
from edgebench.records.task import Item, Task
from edgebench.run.bench import Bench
from edgebench.run.case import CaseRun
from edgebench.run.items import Answers
from edgebench.run.transports import WorkerError
from edgebench.stats.sequential import Race as Bets
from edgebench.stats.sequential import cluster_means, race_alpha

RACE_ITEMS = 32  # asked at a time
RACE_SEED = 5
MEMORY_SHARE = 0.8  # of what is free


class Contest:
    """Levels' races against one reference, which answers as many items as the longest of them.

    One level and the reference are loaded at a time; where memory does not hold both, the reference
    answers everything first, alone.
    """

    def __init__(self, cases: Sequence[tuple[ItemsCase, Race]], bench: Bench) -> None:
        self._bench = bench
        first, race = cases[0]
        self._task, self._race = first.task, race
        self._levels = [case for case, _ in cases if not _is_reference(case, race)]
        self._is_wanted = len(self._levels) < len(cases)
        own = replace(first, subject=replace(first.subject, artifact=race.reference))
        self._reference = Answers(CaseRun(own, bench), first.task)
        self._recall(own)
        self._batches = _batches(first.task)
        self._order = [item for batch in self._batches for item in batch]

    def _recall(self, case: ItemsCase) -> None:
        """Take the reference's answers of a run that is stored."""
        stored = self._bench.stored.get(self._bench.case_id(case))
        if stored and stored.accuracy:
            self._reference.results = {item.id: item for item in stored.accuracy.items}
            self._reference.skips = {skip.id: skip for skip in stored.accuracy.skipped}

    def run(self) -> None:
        """Race all levels, then store what the reference answered for them."""
        try:
            if not self._fits_together():
                self._reference.run.step(lambda: self._reference.ask(self._order), quiet=True)
                self._reference.run.close()
            for case in self._levels:
                self._run_level(case)
            if self._is_wanted:
                if not self._levels:
                    self._reference.run.step(lambda: self._reference.ask(self._order))
                self._reference.store()
        finally:
            self._reference.run.close()

    def _fits_together(self) -> bool:
        """Return whether the reference and the largest level are held by memory at once."""
        context = self._reference.context
        subjects = [case.subject for case in self._levels]
        largest = max((memory_bytes(subject, context) for subject in subjects), default=0)
        both = largest + memory_bytes(self._reference.run.case.subject, context)
        return both < MEMORY_SHARE * self._bench.hello.free_bytes

    def _run_level(self, case: ItemsCase) -> None:
        level = Answers(CaseRun(case, self._bench), case.task)
        told: list[RaceResult] = []
        try:
            level.run.step(lambda: told.extend(self._raced(level)))
            level.store(told[0] if told else None)
        finally:
            level.run.close()

    def _raced(self, level: Answers) -> list[RaceResult]:
        """Ask items in turn until the race is decided; return its result, or none at all."""
        bets = self._bets()
        asked: list[Item] = []
        for batch in self._batches:
            level.ask(batch)
            self._let_reference_answer(batch)
            asked += batch
            # A race that can't be judged goes on to the last item: the answers count without it.
            bets = level.absent.guarded("race", partial(self._judged, asked, level)) or bets
            self._bench.observer.ticked(level.run.case, len(asked), len(self._order))
            if bets.verdict != "open":
                break
        if "race" in level.absent.reasons:
            return []
        return level.absent.guarded("race", lambda: self._result(bets, len(asked))) or []

    def _result(self, bets: Bets, items: int) -> list[RaceResult]:
        bets.finish()
        return [self._told(bets, items)] if bets.n else []

    def _let_reference_answer(self, items: Sequence[Item]) -> None:
        reference = self._reference
        reference.run.step(lambda: reference.ask(items), quiet=True)
        if failure := reference.run.failure:
            name = self._race.reference.name
            message = f"the reference {name} failed: {failure.error.message}"
            raise WorkerError.of("failed", "NoReference", message)

    def _judged(self, asked: Sequence[Item], level: Answers) -> Bets:
        """Judge anew over all items so far that both answered; a cluster counts as one."""
        ours, theirs = level.results, self._reference.results
        both = [item for item in asked if item.id in ours and item.id in theirs]
        differences = [
            float(ours[item.id].correct) - float(theirs[item.id].correct) for item in both
        ]
        bets = self._bets()
        bets.update(cluster_means(differences, [item.cluster or item.id for item in both]))
        return bets

    def _bets(self) -> Bets:
        race = self._race
        return Bets(race.tolerance, race_alpha(max(1, race.rivals)), race.last_share)

    def _told(self, bets: Bets, items: int) -> RaceResult:
        points = f"{100 * self._race.tolerance:g} points"
        words = {
            "within": f"it loses at most {points} against the reference",
            "outside": f"it loses more than {points} against the reference",
            "open": "the items ended before the race was decided",
        }
        return RaceResult(
            reference=self._race.reference.name,
            tolerance=self._race.tolerance,
            verdict=bets.verdict,
            items=items,
            population=len(self._order),
            bounds=bets.bounds,
            about="model",
            last_share=self._race.last_share,
            reason=f"after {items} of {len(self._order)} items: {words[bets.verdict]}",
        )


def _is_reference(case: ItemsCase, race: Race) -> bool:
    return case.subject.artifact.sha256 == race.reference.sha256


def _batches(task: Task) -> list[list[Item]]:
    """Return the items in one random order, in parts that cut no cluster apart."""
    clusters: dict[str, list[Item]] = {}
    for item in task.items:
        clusters.setdefault(item.cluster or f"item {item.id}", []).append(item)
    shuffled = list(clusters.values())
    random.Random(RACE_SEED).shuffle(shuffled)
    batches: list[list[Item]] = [[]]
    for members in shuffled:
        if len(batches[-1]) >= RACE_ITEMS:
            batches.append([])
        batches[-1] += members
    return batches

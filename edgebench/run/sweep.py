"""Run cases: speed in rounds, then tasks whose items are all asked, then texts, then races.

Knows the order of kinds. What becomes of a case is known to the module of its kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgebench.plan.cases import Case, ItemsCase, Race, SpeedCase, TextCase
from edgebench.run.bench import Bench, Tolerant
from edgebench.run.items import answer_items
from edgebench.run.races import Contest
from edgebench.run.rounds import measure_rounds
from edgebench.run.texts import compare_texts


def run_cases(cases: Sequence[Case], bench: Bench, retries: int = 0) -> None:
    """Run cases, speed before answers; every one of them is stored through the bench.

    On Ctrl-C the workers are ended and KeyboardInterrupt goes on; what is done stays stored.
    """
    bench = replace(bench, observer=Tolerant(bench.observer))
    measure_rounds([case for case in cases if isinstance(case, SpeedCase)], bench, retries)
    for case in cases:
        if isinstance(case, ItemsCase) and case.race is None:
            answer_items(case, bench)
    for texts in _texts(cases):
        compare_texts(texts, bench)
    for contest in _contests(cases):
        Contest(contest, bench).run()


def _texts(cases: Sequence[Case]) -> list[list[TextCase]]:
    """Group texts that are held against one reference, which reads first."""
    groups: dict[tuple[str, str], list[TextCase]] = {}
    for case in cases:
        if isinstance(case, TextCase):
            groups.setdefault((case.task.sha256, case.reference.sha256), []).append(case)
    return list(groups.values())


def _contests(cases: Sequence[Case]) -> list[list[tuple[ItemsCase, Race]]]:
    """Group races against one reference, whose answers serve all of them."""
    groups: dict[tuple[str, str], list[tuple[ItemsCase, Race]]] = {}
    for case in cases:
        if isinstance(case, ItemsCase) and case.race:
            key = (case.task.name, case.race.reference.sha256)  # a sweep's tasks differ in name
            groups.setdefault(key, []).append((case, case.race))
    return list(groups.values())

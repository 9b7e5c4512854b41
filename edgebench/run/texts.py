"""Hold levels against their reference over a text, which the reference reads first.

Knows what the reference's kept distributions depend on. Compares nothing itself; workers do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from edgebench.plan.cases import TextCase, settings_inputs
from edgebench.records.device import Conditions, Snapshot
from edgebench.records.formats import FORMATS, required_version
from edgebench.records.messages import CompareText, DivergenceResult
from edgebench.run.bench import Bench
from edgebench.run.case import CaseRun, Figures
from edgebench.run.transports import WorkerError

CONTEXT = 2048


def compare_texts(cases: Sequence[TextCase], bench: Bench) -> None:
    """Compare levels with their common reference, and store their runs."""
    for case in sorted(cases, key=lambda case: not case.is_reference):
        comparison = _Comparison(case, bench)
        try:
            comparison.run.step(comparison.compare)
            comparison.run.store(comparison.figures())
        finally:
            comparison.run.close()


class _Comparison:
    """One artifact's comparison with its reference."""

    def __init__(self, case: TextCase, bench: Bench) -> None:
        self.case, self.run = case, CaseRun(case, bench)
        self._result: DivergenceResult | None = None

    def compare(self) -> None:
        """Compare; where the reference is not kept on the device any more, let it read first."""
        result = self.ask()
        if result.divergence is None:
            self._remake()
            result = self.ask()
        if result.divergence is None:
            raise WorkerError.of(
                "failed", "NoReference", "the reference's distributions were not kept"
            )
        self._result = result

    def ask(self) -> DivergenceResult:
        """Ask the worker, which is started where it is not there yet."""
        case = self.case
        if not self.run.is_open:
            limit = case.subject.artifact.context_length or CONTEXT
            self.run.open(min(CONTEXT, limit))
        request = CompareText(
            task=case.task,
            key=_reference_key(case, self.run.bench),
            reference=case.reference.name,
            reference_sha256=case.reference.sha256,
            make=case.is_reference,
        )
        return self.run.ask(request, DivergenceResult)

    def _remake(self) -> None:
        case = self.case
        subject = replace(case.subject, artifact=case.reference, settings=case.reference_settings)
        maker = _Comparison(replace(case, subject=subject), self.run.bench)
        try:
            maker.run.step(lambda: _drop(maker.ask()), quiet=True)
        finally:
            maker.run.close()
        if failure := maker.run.failure:
            message = f"the reference {case.reference.name} failed: {failure.error.message}"
            raise WorkerError.of("failed", "NoReference", message)

    def figures(self) -> Figures:
        """Return what the comparison came to."""
        result, opened = self._result, self.run.opened
        if self.run.failure or result is None:
            return Figures()
        return Figures(
            divergence=result.divergence,
            memory=result.memory,
            conditions=Conditions(
                before=opened.before if opened else Snapshot(),
                after=result.after,
                warnings=(*(opened.warnings if opened else ()), *result.warnings),
            ),
        )


def _drop(result: DivergenceResult) -> None:
    """Want nothing of a result but that it was made."""


def _reference_key(case: TextCase, bench: Bench) -> str:
    """Name what the reference's distributions depend on."""
    reference, task = case.reference, case.task
    runtime = FORMATS[reference.format]
    version = required_version(runtime, bench.hello.runtimes)
    inputs = [
        [reference.sha256, *sorted(reference.files.values())],
        [runtime, version],
        task.sha256,
        task.chunks,
        settings_inputs(case.reference_settings),
    ]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]

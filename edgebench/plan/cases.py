"""Plan a sweep: artifacts x workloads and tasks -> cases with stable ids.

Knows workloads' names and how long a case may take. Runs nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgebench.errors import UsageError, nearest
from edgebench.records.artifact import Artifact
from edgebench.records.settings import Settings, Workload
from edgebench.records.task import Task, TextTask

# name -> (prompt, generated): what people do with a model on a small board.
WORKLOADS = {
    "chat": (512, 128),
    "rag": (2048, 128),
    "summarize": (4096, 256),
    "short": (64, 32),
    "generate": (32, 512),
}
CHUNK_TOKENS = 512
_SIZES = re.compile(r"(\d{1,7})\+(\d{1,7})(?:@(\d{1,7}))?")


@dataclass(frozen=True)
class Case:
    """One artifact on one device with one workload or one task."""

    artifact: Artifact
    device: str
    runtime: str
    settings: Settings
    workload: Workload | None = None
    task: Task | TextTask | None = None
    meters: tuple[str, ...] = ("auto",)
    reference: Artifact | None = None  # what divergences and races are held against
    tolerance: float | None = None  # of a race
    rivals: int = 0  # levels that race at once, between which its chance of error is shared

    @property
    def label(self) -> str:
        """Name the case for a person."""
        what = self.workload.name if self.workload else (self.task.name if self.task else "?")
        return f"{self.artifact.level} {what}"


def parse_workload(text: str, repetitions: int) -> Workload | None:
    """Read `chat`, `512+128`, `512+128@4096` or `none`.

    Raises UsageError on anything else.
    """
    if text == "none":
        return None
    if text in WORKLOADS:
        prompt, generate = WORKLOADS[text]
        return Workload(
            name=text, prompt_tokens=prompt, generate_tokens=generate, repetitions=repetitions
        )
    match = _SIZES.fullmatch(text)
    if not match or not int(match[1]) or not int(match[2]):
        raise UsageError(
            f"unknown workload {text!r}",
            hint=f"{nearest(text, [*WORKLOADS, 'none'])} Or write prompt+generated@depth, "
            "for example 512+128@4096",
        )
    return Workload(
        name=text,
        prompt_tokens=int(match[1]),
        generate_tokens=int(match[2]),
        depth=int(match[3] or 0),
        repetitions=repetitions,
    )


def case_id(case: Case, runtime_version: str) -> str:
    """Return the case's id: the same for the same inputs, another for any change of them.

    Repetitions are left out: more of them are a better measurement of the same case.
    """
    workload = case.workload.model_dump(exclude={"repetitions", "name"}) if case.workload else None
    what: dict[str, object] = {
        "artifact": [case.artifact.sha256, *sorted(case.artifact.files.values())],
        "device": case.device,
        "runtime": [case.runtime, runtime_version],
        "settings": case.settings.model_dump(),
        "workload": workload,
        "task": _task_key(case.task),
    }
    if case.reference:
        what["against"] = [case.reference.sha256, case.tolerance, case.rivals]
    if case.meters != ("auto",) and case.workload:
        what["meters"] = list(case.meters)
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return digest[:16]


def _task_key(task: Task | TextTask | None) -> list[object] | None:
    if isinstance(task, TextTask):
        return [task.name, task.sha256, task.chunks]
    return [task.name, task.metric, task.sha256] if task else None


def reference_of(artifacts: Sequence[Artifact]) -> Artifact:
    """Return what the others are held against: the checkpoint in torch, else the most bits."""
    return max(artifacts, key=lambda one: (one.format == "torch", one.bits_per_weight))


def estimate_s(case: Case) -> float:
    """Guess the seconds that a case takes, from the size of its weights on a slow processor.

    A guess to plan a coffee by, not a prediction: 20 GFLOP/s for prompts, 8 GB/s for tokens.
    """
    flop_a_token = 2.0 * case.artifact.parameters
    prompt_s = flop_a_token / 20e9
    token_s = case.artifact.size_bytes / 8e9
    start_s = 2.0
    if case.workload:
        work = case.workload
        once = work.prompt_tokens * prompt_s + work.generate_tokens * token_s
        return start_s + (work.repetitions + 1) * once + work.depth * prompt_s
    if isinstance(case.task, TextTask):
        return start_s + min(case.task.chunks * CHUNK_TOKENS, len(case.task.text) / 4) * prompt_s
    if case.task:
        read = sum(
            sum(len(text) for text in (*item.contexts, *item.continuations)) / 4
            for item in case.task.items
        )
        written = sum(case.task.generation.max_tokens for item in case.task.items if item.answers)
        return start_s + read * prompt_s + written / 2 * token_s
    return start_s


def in_order(cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """Split cases into those of speed and those of accuracy, each in the given order."""
    return (
        [case for case in cases if case.workload is not None],
        [case for case in cases if case.workload is None],
    )

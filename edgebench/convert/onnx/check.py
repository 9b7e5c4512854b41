"""Does an ONNX export compute what its checkpoint does? Log-probabilities held against torch's.

Knows the prompts, and how far rounding may move a figure. torch runs in `reference_process.py`,
the graph in a program of the worker's, as it will be measured.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgebench.convert.child import run_step
from edgebench.convert.jobs import ReferenceJob
from edgebench.convert.tokens import PROBES, CheckpointTokenizer
from edgebench.errors import BadFileError
from edgebench.records.artifact import ExportCheck
from edgebench.records.base import Record
from edgebench.records.logits import LogitsJob
from edgebench.sources.checkpoint import Allowed, Checkpoint
from edgebench.sources.onnx_file import GRAPH
from edgebench.stats.logits import log_softmax

PROMPT_TOKENS = 48
# The largest difference of a log-probability that the type's own rounding explains.
TOLERANCE = {"fp32": 5e-3, "fp16": 0.1}
SAME_TOP = {"fp32": 0.99, "fp16": 0.95}


class DisagreementError(BadFileError):
    """A graph runs, and computes something else than its checkpoint."""


def check_logits(
    checkpoint: Checkpoint, allowed: Allowed, level: str, folder: Path, log: Path
) -> ExportCheck:
    """Compare a graph's log-probabilities with torch's; raise DisagreementError where not."""
    prompts = _prompts(checkpoint, allowed)
    with _scratch(folder) as scratch:
        ours, theirs = scratch / "reference.npz", scratch / "candidate.npz"
        reference = ReferenceJob(
            checkpoint=str(checkpoint.path.resolve()),
            prompts=prompts,
            target=str(ours),
            code=allowed.code,
            safetensors=checkpoint.weights[0].suffix == ".safetensors",
        )
        candidate = LogitsJob(graph=str(folder / GRAPH), prompts=prompts, target=str(theirs))
        steps: dict[str, tuple[str, Record]] = {
            "reference": ("edgebench.convert.onnx.reference_process", reference),
            "candidate": ("edgebench.worker.logits", candidate),
        }
        for whose, (module, job) in steps.items():
            done = run_step(module, job, log)
            if done.code:
                raise BadFileError(
                    f"the {whose}'s logits of {checkpoint.path} {done.how}: {done.reason}"
                )
        check = _compare(ours, theirs, level)
    if check.max_logprob_difference > check.tolerance or check.same_top < SAME_TOP[level]:
        raise DisagreementError(
            f"the ONNX export of {checkpoint.path} disagrees with torch: "
            f"log-probabilities differ by up to {check.max_logprob_difference:.3g} "
            f"(rounding explains {check.tolerance:g}), the same top token at {check.same_top:.0%}",
            hint="try the other --graph, and report the model's architecture",
        )
    return check


def _prompts(checkpoint: Checkpoint, allowed: Allowed) -> tuple[tuple[int, ...], ...]:
    tokenizer = CheckpointTokenizer(checkpoint.path, allowed.code)
    prompts = [tokenizer.encode(text, True)[:PROMPT_TOKENS] for text in PROBES]
    return tuple(prompt for prompt in prompts if len(prompt) > 1)[:4]


def _compare(reference: Path, candidate: Path, level: str) -> ExportCheck:
    import numpy as np

    worst, same, rows = 0.0, 0, 0
    with np.load(reference) as ours, np.load(candidate) as theirs:
        for name in ours.files:
            a, b = ours[name], theirs[name]
            width = min(a.shape[1], b.shape[1])
            a, b = log_softmax(a[:, :width]), log_softmax(b[:, :width])
            if not np.isfinite(b).all():
                raise DisagreementError("the ONNX export gives logits that are not finite")
            worst = max(worst, float(np.abs(a - b).max()))
            same += int((a.argmax(1) == b.argmax(1)).sum())
            rows += len(a)
        return ExportCheck(
            reference="torch fp32",
            prompts=len(ours.files),
            tokens=rows,
            max_logprob_difference=worst,
            same_top=same / rows,
            tolerance=TOLERANCE[level],
        )


@contextmanager
def _scratch(partial: Path) -> Iterator[Path]:
    folder = partial / "scratch"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

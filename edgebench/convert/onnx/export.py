"""Export a checkpoint to ONNX, fused or standard, and hold its logits against torch's.

Knows which tool writes which graph and when an export is refused. Each step runs in
`onnx_process.py`; weights are packed by `onnx_levels.py`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edgebench.convert.child import Done, run_step
from edgebench.convert.folders import existing, finish, make_folder, partial_folder
from edgebench.convert.onnx.graph import GRAPH, to_half
from edgebench.convert.onnx.process import UNSUPPORTED
from edgebench.convert.origin import checkpoint_origin, peak_note
from edgebench.convert.tokens import PROBES, CheckpointTokenizer, disagreements
from edgebench.errors import BadFileError, EdgebenchError, MissingExtraError
from edgebench.records.artifact import Artifact, ExportCheck
from edgebench.records.base import safe_name
from edgebench.sources.checkpoint import NOTHING, Allowed, Checkpoint, open_checkpoint
from edgebench.sources.models import Model
from edgebench.sources.onnx_artifact import describe_onnx

LOG = "export.log"
PROMPT_TOKENS = 48
# The largest difference of a log-probability that the type's own rounding explains.
TOLERANCE = {"fp32": 5e-3, "fp16": 0.1}
SAME_TOP = {"fp32": 0.99, "fp16": 0.95}
_STEPS = "edgebench.convert.onnx.process"
_NEEDS = ("torch", "transformers", "onnxruntime")


@dataclass(frozen=True)
class OnnxExport:
    """What to make of a checkpoint; `graph` None takes fused where the builder knows the model."""

    checkpoint: Checkpoint
    output: Path
    level: Literal["fp32", "fp16"] = "fp32"
    graph: Literal["fused", "standard"] | None = None
    allowed: Allowed = NOTHING


def export_onnx(job: OnnxExport) -> Artifact:
    """Make the artifact `<model>-<level>`, or take it where the same one is there already.

    Raises BadFileError where a tool fails on the checkpoint, or where the graph's logits differ
    from torch's by more than its precision explains; then nothing is left behind.
    """
    for package in _NEEDS:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "export")
    suffix = "-standard" if job.graph == "standard" else ""
    name = safe_name(f"{job.checkpoint.name}-{job.level}{suffix}")
    folder = job.output / name
    origin = checkpoint_origin(job.checkpoint, graph=job.graph or "fused")
    make_folder(job.output)
    if found := existing(folder, origin, job.level):
        return found
    with partial_folder(job.output, name) as partial:
        kind, done = _build(job, partial)
        check = _check_logits(job, partial)
        artifact = describe_onnx(
            partial, name=name, model=job.checkpoint.name,
            notes=(origin, f"{kind} graph", peak_note(done, job.checkpoint)),
        )  # fmt: skip
        artifact = artifact.model_copy(
            update={"export_check": check, "context_length": job.checkpoint.context_length}
        )
        return finish(partial, folder, artifact)


def _build(job: OnnxExport, partial: Path) -> tuple[str, Done]:
    graph = job.graph or "fused"
    step = _step(job, partial, graph)
    done = run_step(_STEPS, step, partial / LOG)
    if done.code and job.graph is None and UNSUPPORTED in done.said:
        graph = "standard"
        done = run_step(_STEPS, _step(job, partial, graph), partial / LOG)
    if done.code or not (partial / GRAPH).is_file():
        raise _failure(job, graph, done)
    shutil.rmtree(partial / "cache", ignore_errors=True)
    if not (partial / "tokenizer.json").is_file():
        step = {"step": "tokenizer", "checkpoint": str(job.checkpoint.path), "target": str(partial)}
        run_step(_STEPS, step | {"code": job.allowed.code}, partial / LOG)
    if job.level == "fp16":
        _halve(partial)
    return graph, done


def _step(job: OnnxExport, partial: Path, graph: str) -> dict[str, Any]:
    return {
        "step": graph,
        "checkpoint": str(job.checkpoint.path.resolve()),
        "target": str(partial),
        "cache": str(partial / "cache"),
        "code": job.allowed.code,
    }


def _halve(partial: Path) -> None:
    single = partial / "single"
    single.mkdir()
    for file in partial.glob("*.onnx*"):
        file.rename(single / file.name)
    to_half(single / GRAPH, partial)
    shutil.rmtree(single)


def _failure(job: OnnxExport, graph: str, done: Done) -> EdgebenchError:
    where = job.checkpoint.path
    if UNSUPPORTED in done.said:
        return BadFileError(
            f"onnxruntime-genai's builder does not know {job.checkpoint.architecture}",
            hint="add --graph standard",
        )
    for package in ("onnxruntime_genai", "optimum", "onnx_ir", "onnx"):
        if f"No module named '{package}" in done.said:
            return MissingExtraError(package, "export")
    return BadFileError(
        f"the {graph} export of {where} {done.how}: {done.last_line}",
        hint="check that the folder is a complete checkpoint, or try the other --graph",
    )


def _check_logits(job: OnnxExport, partial: Path) -> ExportCheck:
    """Compare the graph's log-probabilities with torch's; raise BadFileError where they differ."""
    prompts = _prompts(job.checkpoint, job.allowed)
    with _scratch(partial) as scratch:
        base = {"prompts": prompts, "code": job.allowed.code}
        safetensors = job.checkpoint.weights[0].suffix == ".safetensors"
        steps: dict[str, dict[str, Any]] = {
            "reference": {"checkpoint": str(job.checkpoint.path), "safetensors": safetensors},
            "candidate": {"graph": str(partial / GRAPH)},
        }
        for step, more in steps.items():
            target = {"step": step, "target": str(scratch / f"{step}.npz")}
            done = run_step(_STEPS, base | more | target, partial / LOG)
            if done.code:
                raise BadFileError(
                    f"the {step}'s logits of {job.checkpoint.path} {done.how}: {done.last_line}"
                )
        check = _compare(scratch, job.level, len(prompts))
    if check.max_logprob_difference > check.tolerance or check.same_top < SAME_TOP[job.level]:
        raise BadFileError(
            f"the ONNX export of {job.checkpoint.path} does not agree with torch: "
            f"log-probabilities differ by up to {check.max_logprob_difference:.3g} "
            f"(rounding explains {check.tolerance:g}), the same top token at {check.same_top:.0%}",
            hint="try the other --graph, and report the model's architecture",
        )
    return check


def _prompts(checkpoint: Checkpoint, allowed: Allowed) -> list[list[int]]:
    tokenizer = CheckpointTokenizer(checkpoint.path, allowed.code)
    lists = [list(tokenizer.encode(text, True)[:PROMPT_TOKENS]) for text in PROBES]
    return [one for one in lists if len(one) > 1][:4]


def _compare(scratch: Path, level: str, prompts: int) -> ExportCheck:
    import numpy as np

    worst, same, rows = 0.0, 0, 0
    with np.load(scratch / "reference.npz") as ours, np.load(scratch / "candidate.npz") as theirs:
        for name in ours.files:
            a, b = ours[name], theirs[name]
            width = min(a.shape[1], b.shape[1])
            a, b = _log_softmax(a[:, :width]), _log_softmax(b[:, :width])
            if not np.isfinite(b).all():
                raise BadFileError("the ONNX export gives logits that are not finite")
            worst = max(worst, float(np.abs(a - b).max()))
            same += int((a.argmax(1) == b.argmax(1)).sum())
            rows += len(a)
    return ExportCheck(
        reference="torch fp32", prompts=prompts, tokens=rows, max_logprob_difference=worst,
        same_top=same / rows, tolerance=TOLERANCE[level],
    )  # fmt: skip


def _log_softmax(logits: Any) -> Any:
    import numpy as np

    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


@contextmanager
def _scratch(partial: Path) -> Iterator[Path]:
    folder = partial / "scratch"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def checkpoint_of_gguf(model: Model, tokenizer: Path | None, output: Path) -> Iterator[Checkpoint]:
    """Give a checkpoint with a GGUF file's dequantized weights, for as long as it is needed.

    The tokenizer is that of the folder `tokenizer`, else what transformers reads from the file.
    Raises BadFileError where it does not cut the probe texts as llama.cpp does.
    """
    make_folder(output)
    with partial_folder(output, f"{model.name}-checkpoint") as partial:
        folder = partial / model.name
        folder.mkdir()
        step = {
            "step": "from_gguf", "gguf": str(model.path.resolve()), "target": str(folder),
            "tokenizer": str(tokenizer.resolve()) if tokenizer else None,
        }  # fmt: skip
        done = run_step(_STEPS, step, partial / LOG)
        if done.code:
            raise BadFileError(
                f"transformers can't read {model.path} back: {done.last_line}",
                hint="export from the model's Hugging Face folder",
            )
        found = disagreements(CheckpointTokenizer(folder), model.path)
        if found:
            whose = str(tokenizer) if tokenizer else "that transformers reads from the file"
            raise BadFileError(
                f"the tokenizer {whose} does not agree with llama.cpp's on {len(found)} texts: "
                f"{found[0]}",
                hint="give the model's own tokenizer: --tokenizer DIR",
            )
        checkpoint = open_checkpoint(folder)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        yield replace(checkpoint, dtype=f"dequantized from {model.info.level}")

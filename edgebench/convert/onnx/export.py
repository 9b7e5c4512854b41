"""Export a checkpoint to ONNX, fused or standard, and check it.

Knows which tool writes which graph and when an export is refused. Graphs are written in
`export_process.py`, held against torch by `check.py`; weights are packed by `quantize.py`.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edgebench.convert.child import Done, run_step
from edgebench.convert.folders import existing, finish, make_folder, partial_folder
from edgebench.convert.jobs import GraphJob, TokenizerJob
from edgebench.convert.onnx.check import DisagreementError, check_logits
from edgebench.convert.onnx.graph import to_half
from edgebench.convert.origin import checkpoint_origin, peak_note
from edgebench.errors import BadFileError, EdgebenchError, MissingExtraError
from edgebench.records.artifact import Artifact, ExportCheck
from edgebench.records.base import safe_name
from edgebench.sources.checkpoint import NOTHING, Allowed, Checkpoint
from edgebench.sources.onnx_artifact import describe_graph
from edgebench.sources.onnx_file import GRAPH, read_onnx
from edgebench.sources.tokenizer import TOKENIZER

LOG = "export.log"
_NEEDS = ("torch", "transformers", "onnxruntime")
_WRITERS = ("onnxruntime_genai", "optimum", "onnx_ir", "onnx")
Graph = Literal["fused", "standard"]


@dataclass(frozen=True)
class OnnxExport:
    """What to make of a checkpoint; `graph` None takes fused where that does as the model."""

    checkpoint: Checkpoint
    output: Path
    level: Literal["fp32", "fp16"] = "fp32"
    graph: Graph | None = None
    allowed: Allowed = NOTHING


def export_onnx(job: OnnxExport, say: Callable[[str], None]) -> Artifact:
    """Make the artifact `<model>-<level>`, or take it where the same one is there already.

    Where no graph was asked for and the fused one disagrees with torch, it is the standard one, and
    `say` is told why.
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
    if there := existing(folder, origin, job.level):
        return there
    with partial_folder(job.output, name) as partial:
        done, check, notes = _checked(job, partial, say)
        artifact = describe_graph(
            partial / GRAPH,
            name=name,
            model=job.checkpoint.name,
            architecture=job.checkpoint.architecture[:100],
            context_length=job.checkpoint.context_length,
            origin=origin,
            export_check=check,
            notes=(peak_note(done, job.checkpoint), *notes),
        )
        return finish(partial, folder, artifact)


def _checked(
    job: OnnxExport, partial: Path, say: Callable[[str], None]
) -> tuple[Done, ExportCheck, tuple[str, ...]]:
    """Build a graph that agrees with torch; return how, and what a person should know of it."""

    def attempt(job: OnnxExport) -> tuple[Done, ExportCheck]:
        done = _build(job, partial)
        log = partial / LOG
        return done, check_logits(job.checkpoint, job.allowed, job.level, partial, log)

    try:
        return *attempt(job), ()
    except DisagreementError as error:
        if job.graph or not read_onnx(partial / GRAPH).fused:
            raise
        # The builder knows modules by their shapes: a projection as wide as the vocabulary, in any
        # layer, is taken for the head.
        why = str(error).replace(f" of {job.checkpoint.path}", "")
        note = f"the graph is the standard one, since with the fused one {why}"
    say(f"warning: {note}")
    _empty(partial)
    return *attempt(replace(job, graph="standard")), (note,)


def _empty(partial: Path) -> None:
    for path in partial.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOG:
            path.unlink()


def _build(job: OnnxExport, partial: Path) -> Done:
    graph: Graph = job.graph or "fused"
    done = _write_graph(job, partial, graph)
    if job.graph is None and done.failed_with("architecture"):
        graph = "standard"
        done = _write_graph(job, partial, graph)
    if done.code or not (partial / GRAPH).is_file():
        raise _failure(job, graph, done)
    shutil.rmtree(partial / "cache", ignore_errors=True)
    if not (partial / TOKENIZER).is_file():
        checkpoint = str(job.checkpoint.path.resolve())
        step = TokenizerJob(checkpoint=checkpoint, target=str(partial), code=job.allowed.code)
        run_step("edgebench.convert.tokenizer_process", step, partial / LOG)
    if job.level == "fp16":
        _halve(partial)
    return done


def _write_graph(job: OnnxExport, partial: Path, graph: Graph) -> Done:
    step = GraphJob(
        graph=graph,
        checkpoint=str(job.checkpoint.path.resolve()),
        target=str(partial),
        cache=str(partial / "cache"),
        code=job.allowed.code,
    )
    return run_step("edgebench.convert.onnx.export_process", step, partial / LOG)


def _halve(partial: Path) -> None:
    single = partial / "single"
    single.mkdir()
    for file in partial.glob("*.onnx*"):
        file.rename(single / file.name)
    to_half(single / GRAPH, partial)
    shutil.rmtree(single)


def _failure(job: OnnxExport, graph: str, done: Done) -> EdgebenchError:
    if done.failed_with("architecture"):
        return BadFileError(
            f"onnxruntime-genai's builder doesn't know {job.checkpoint.architecture}",
            hint="add --graph standard",
        )
    if done.fault and done.fault.package in _WRITERS:
        return MissingExtraError(done.fault.package, "export")
    return BadFileError(
        f"the {graph} export of {job.checkpoint.path} {done.how}: {done.reason}",
        hint="check that the folder is a complete checkpoint, or try the other --graph",
    )

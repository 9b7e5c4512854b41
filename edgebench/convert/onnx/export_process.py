"""Write an ONNX graph in a process: `python -m edgebench.convert.onnx.export_process`.

Knows onnxruntime-genai's model builder and optimum; knows no artifacts.
"""

from __future__ import annotations

from pathlib import Path

from edgebench.convert.jobs import GraphJob
from edgebench.convert.step import Fault, StepError, Tell, serve


def export(job: GraphJob, _: Tell) -> None:
    """Write the graph that is asked for."""
    (_fused if job.graph == "fused" else _standard)(job)


def _fused(job: GraphJob) -> None:
    from onnxruntime_genai.models.builder import create_model

    offline = {"hf_token": "false", "hf_remote": "false"}
    try:
        create_model(None, job.checkpoint, job.target, "fp32", "cpu", job.cache, **offline)
    except NotImplementedError as error:
        raise StepError(Fault(fault="architecture", detail=str(error)[:2000])) from None
    import onnx

    from edgebench.convert.onnx.graph import add_logits_start
    from edgebench.sources.onnx_file import GRAPH, load_graph

    path = Path(job.target) / GRAPH
    model = load_graph(path)
    add_logits_start(model)
    onnx.save(model, str(path))


def _standard(job: GraphJob) -> None:
    """Export a graph with past key values."""
    from optimum.exporters.onnx import main_export

    main_export(
        job.checkpoint,
        output=job.target,
        task="text-generation-with-past",
        device="cpu",
        dtype="fp32",
        do_validation=False,
        local_files_only=True,
        trust_remote_code=job.code,
        library_name="transformers",
    )


if __name__ == "__main__":
    serve(GraphJob, export)

"""Write compared rows as a model card: YAML front matter as the Hub reads it, then Markdown.

Knows the Hub's `model-index`: a task, a data set and metrics. Knows no licence of a model: whoever
publishes it adds that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from edgebench.analyze.compare import Group
from edgebench.analyze.names import labels_of
from edgebench.analyze.rows import Row
from edgebench.records.base import Estimate, clean
from edgebench.report.markdown import as_markdown
from edgebench.report.tables import sections

LIBRARIES = {"gguf": "gguf", "onnx": "onnx", "torch": "transformers"}


def as_model_card(groups: Sequence[Group]) -> str:
    """Return the card: accuracy, speed, energy and memory of every row, each with its device."""
    import yaml

    models = list(dict.fromkeys(model for group in groups for model in group.models))
    formats = {row.artifact.format for group in groups for row in group.rows}
    front = {
        "library_name": next((LIBRARIES[name] for name in LIBRARIES if name in formats), "gguf"),
        "pipeline_tag": "text-generation",
        "tags": ["edgebench", "quantized", *sorted(formats & set(LIBRARIES))],
        "model-index": [
            {"name": clean(model, 100), "results": list(_results(model, groups))}
            for model in models
        ],
    }
    text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=100)
    body = as_markdown([section.brief() for section in sections(groups)])
    title = clean(", ".join(models), 300).replace("<", "&lt;")
    return f"---\n{text}---\n\n# {title}\n\n{body}"


def _results(model: str, groups: Iterable[Group]) -> Iterable[dict[str, Any]]:
    for group in groups:
        rows = [row for row in group.rows if row.artifact.model == model]
        labels = labels_of(rows)
        for row in rows:
            name = clean(labels[row.key], 80)
            for task in row.tasks:
                metric = task.metric or "accuracy"
                yield _result(task.task, [_metric(metric, f"{name}", task.accuracy)])
            metrics = _measured(row, name)
            if metrics and group.workload:
                what = f"{group.workload.name} on {row.device.board or row.device.name}"
                yield _result(what, metrics)


def _result(what: str, metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    slug = "".join(char if char.isalnum() else "_" for char in clean(what, 80).lower())
    return {
        "task": {"type": "text-generation", "name": "Text generation"},
        "dataset": {"name": clean(what, 80), "type": slug or "unnamed"},
        "metrics": list(metrics),
    }


def _measured(row: Row, name: str) -> list[dict[str, Any]]:
    metrics = []
    if row.speed:
        metrics.append(_metric("decode_tokens_per_s", name, row.speed.decode))
        metrics.append(_metric("prefill_tokens_per_s", name, row.speed.prefill))
    if row.energy:
        metrics.append(_metric("energy_j_per_token", name, row.energy.j_per_token))
    if row.memory and row.memory.total_bytes:
        value = float(row.memory.total_bytes)
        metrics.append({"type": "memory_bytes", "name": f"{name} memory_bytes", "value": value})
    return metrics


def _metric(kind: str, name: str, estimate: Estimate) -> dict[str, Any]:
    words = f"{name} {kind}"
    if estimate.bounds:
        words += f" (95 %: {estimate.bounds.low:.4g} to {estimate.bounds.high:.4g})"
    return {"type": kind, "name": words, "value": float(f"{estimate.value:.6g}")}

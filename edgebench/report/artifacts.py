"""Say in a line what an artifact is."""

from __future__ import annotations

from edgebench.records.artifact import Artifact
from edgebench.records.base import clean
from edgebench.report.format import MIB

_HELD = (
    "level",
    "bits_per_weight",
    "size_bytes",
    "parameters",
    "tensor_types",
    "fallback_tensors",
    "architecture",
    "context_length",
    "graph",
)


def untrue_claims(artifact: Artifact) -> list[str]:
    """Return what an artifact's description says and its file isn't: "says q2_k, is f16"."""
    lines = []
    for name in (name for name in _HELD if name in artifact.claims):
        claim, actual = artifact.claims[name], getattr(artifact, name)
        field = "" if name == "level" else f"{name.replace('_', ' ')} "
        if isinstance(actual, (str, int, float)):
            lines.append(f"says {field}{clean(claim, 40)}, is {clean(str(actual), 40)}")
        else:
            lines.append(f"says {field}that its file hasn't")
    return lines


def describe(artifact: Artifact) -> str:
    """Say in one line what an artifact is, and where it is not what its name says."""
    words = [
        f"{artifact.level:<8} {artifact.size_bytes / MIB:6.0f} MiB "
        f"{artifact.bits_per_weight:5.2f} bits/weight"
    ]
    words += untrue_claims(artifact)
    if artifact.requantized_from:
        words.append(f"requantized from {artifact.requantized_from}")
    if artifact.fallback_tensors:
        count, total = len(artifact.fallback_tensors), sum(artifact.tensor_types.values())
        words.append(f"{count} of {total} tensors kept a larger type")
    if check := artifact.export_check:
        words.append(f"log-probabilities within {check.max_logprob_difference:.2g} of torch's")
    return ", ".join(words)

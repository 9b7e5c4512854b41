"""A process that runs artifacts on the same tokens and prints how far they lie from the first.

usage: agreement.py ARTIFACT ... [-- ARTIFACT ...]    (artifact folders, .gguf files or checkpoints)
Each group after a `--` is held against its own first.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgebench.records.formats import FORMATS
from edgebench.records.settings import Settings
from edgebench.records.spans import Span
from edgebench.sources.artifacts import find_artifacts
from edgebench.worker.runtimes import Room, get_runtime


def log_probabilities(logits: Any) -> Any:
    """Return log-probabilities in double precision."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def main() -> None:
    """Print one JSON object an artifact."""
    tokens = [int(t) for t in np.random.default_rng(5).integers(2, 300, 96)]
    first: Any = None
    for path in sys.argv[1:]:
        if path == "--":
            first = None
            continue
        artifact = find_artifacts([Path(path)])[0]
        exact = {"kv_type": "f32", "flash_attention": "off"} if artifact.format == "gguf" else {}
        settings = Settings(threads=2, **exact)
        session = get_runtime(FORMATS[artifact.format]).open(artifact, settings, Room(128, 4))
        found = log_probabilities(np.array(session.logits(tokens, 0)))
        first = found if first is None else first
        spans = [
            Span(tuple(tokens[:20]), 18),
            Span((*tokens[:18], 7, 8), 18),
            Span(tuple(tokens[:40]), 20),
        ]
        scores = [score.loglikelihood for score in session.score(spans)]
        rows = [found[17][tokens[18]] + found[18][tokens[19]], None]
        rows.append(sum(found[i - 1][tokens[i]] for i in range(20, 40)))
        line = {
            "name": artifact.name,
            "worst": float(np.abs(found - first).max()),
            "same_top": float((found.argmax(-1) == first.argmax(-1)).mean()),
            "score_error": max(
                abs(score - row) for score, row in zip(scores, rows, strict=True) if row is not None
            ),
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        session.close()


if __name__ == "__main__":
    main()

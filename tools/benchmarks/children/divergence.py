"""One half of a divergence: make the reference's file, or compare a level with it; print JSON.

divergence.py reference|compare MODEL.gguf TEXT FILE CHUNKS THREADS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgebench.records.settings import Settings
from edgebench.sources.artifacts import find_artifacts
from edgebench.worker.runtimes import Room, get_runtime
from edgebench.worker.score.divergence import (
    CHUNK,
    chunks_of,
    measure_divergence,
    measure_reference,
)
from edgebench.worker.score.divergence_file import load, save

step, model, text, name, chunks, threads = sys.argv[1:]
file = Path(name)
artifact = find_artifacts([Path(model).parent])[0]
session = get_runtime("llama.cpp").open(artifact, Settings(threads=int(threads)), Room(CHUNK))
if step == "reference":
    tokens = session.encode(Path(text).read_text("utf-8"))
    made = measure_reference(session, chunks_of(tokens, session.start_token(), int(chunks)))
    save(file, made)
    said = {"truncated": made.truncated_mass, "most": made.most_truncated_mass}
else:
    rows = measure_divergence(session, load(file))
    said = {
        "kld": rows.mean_kld().value,
        "least": rows.least_kld,
        "p99": rows.p99_kld,
        "top": rows.share_same_top().value,
        "ppl": rows.perplexity,
    }
session.close()
print(json.dumps(said))

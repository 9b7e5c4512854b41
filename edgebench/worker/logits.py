"""Write an ONNX graph's logits to a file: `python -m edgebench.worker.logits`, a job on stdin.

The graph runs as a worker runs it, so what `convert/` checks is what will be measured. Knows no
artifacts and judges nothing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgebench.records.logits import LogitsJob


def main() -> None:
    """Evaluate each prompt: half by prefill, the rest one by one."""
    job = LogitsJob.model_validate_json(sys.stdin.readline())
    os.dup2(2, 1)  # what libraries print belongs in the log
    import numpy as np
    import onnxruntime as ort

    from edgebench.sources.onnx_file import read_onnx
    from edgebench.worker.runtimes.onnx import open_cache

    room = max(len(prompt) for prompt in job.prompts)
    cache = open_cache(ort, read_onnx(Path(job.graph)), room)
    rows = []
    for prompt in job.prompts:
        cache.cut(0)
        half = max(1, len(prompt) // 2)
        parts = [np.array(cache.run(prompt[:half], half))]
        parts += [np.array(cache.step(token)) for token in prompt[half:]]
        rows.append(np.concatenate(parts).astype(np.float32))
    np.savez(job.target, *rows)


if __name__ == "__main__":
    main()

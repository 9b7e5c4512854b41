"""torch's logits of a checkpoint: `python -m edgebench.convert.onnx.reference_process`.

Knows torch and transformers. What they are held against is written by `worker/logits.py`.
"""

from __future__ import annotations

from edgebench.convert.jobs import ReferenceJob
from edgebench.convert.step import Tell, serve


def write_logits(job: ReferenceJob, _: Tell) -> None:
    """Evaluate each prompt in single precision."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        job.checkpoint,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=job.code,
        use_safetensors=job.safetensors,
    ).eval()
    with torch.inference_mode():
        rows = [model(torch.tensor([prompt])).logits[0].numpy() for prompt in job.prompts]
    np.savez(job.target, *rows)


if __name__ == "__main__":
    serve(ReferenceJob, write_logits)

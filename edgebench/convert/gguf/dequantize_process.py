"""Read a GGUF file back: `python -m edgebench.convert.gguf.dequantize_process`.

Knows transformers' reader of GGUF; knows no artifacts.
"""

from __future__ import annotations

from pathlib import Path

from edgebench.convert.jobs import DequantizeJob
from edgebench.convert.step import Tell, serve


def dequantize(job: DequantizeJob, _: Tell) -> None:
    """Write a checkpoint of the dequantized weights and a tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = Path(job.gguf)
    folder = str(path.parent)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=path.name, dtype=torch.float32)
    model.save_pretrained(job.target, safe_serialization=True)
    if job.tokenizer:
        tokenizer = AutoTokenizer.from_pretrained(job.tokenizer, local_files_only=True)
    else:
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=path.name)
    tokenizer.save_pretrained(job.target)


if __name__ == "__main__":
    serve(DequantizeJob, dequantize)

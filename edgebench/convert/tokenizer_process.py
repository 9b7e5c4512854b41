"""A checkpoint's tokenizer, saved in a process: `python -m edgebench.convert.tokenizer_process`.

Knows transformers; knows no artifacts.
"""

from __future__ import annotations

from edgebench.convert.jobs import TokenizerJob
from edgebench.convert.step import Tell, serve


def save_tokenizer(job: TokenizerJob, _: Tell) -> None:
    """Save the tokenizer as transformers reads it."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        job.checkpoint, local_files_only=True, trust_remote_code=job.code
    )
    tokenizer.save_pretrained(job.target)


if __name__ == "__main__":
    serve(TokenizerJob, save_tokenizer)

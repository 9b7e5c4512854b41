"""A GGUF file as a checkpoint again, its weights dequantized, its tokenizer checked.

Knows when such a checkpoint may be used. `dequantize_process.py` reads the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from edgebench.convert.child import run_step
from edgebench.convert.folders import make_folder, partial_folder
from edgebench.convert.jobs import DequantizeJob
from edgebench.convert.tokens import CheckpointTokenizer, disagreements
from edgebench.errors import BadFileError
from edgebench.sources.checkpoint import Checkpoint, open_checkpoint
from edgebench.sources.models import Model


@contextmanager
def checkpoint_of_gguf(model: Model, tokenizer: Path | None, output: Path) -> Iterator[Checkpoint]:
    """Give a checkpoint with a GGUF file's dequantized weights, for as long as it is needed.

    The tokenizer is that of the folder `tokenizer`, else what transformers reads from the file.
    Raises BadFileError where it doesn't cut the probe texts as llama.cpp does.
    """
    make_folder(output)
    with partial_folder(output, f"{model.name}-checkpoint") as partial:
        folder = partial / model.name
        folder.mkdir()
        step = DequantizeJob(
            gguf=str(model.path.resolve()),
            target=str(folder),
            tokenizer=str(tokenizer.resolve()) if tokenizer else None,
        )
        done = run_step("edgebench.convert.gguf.dequantize_process", step, partial / "export.log")
        if done.code:
            raise BadFileError(
                f"transformers can't read {model.path} back: {done.reason}",
                hint="export from the model's Hugging Face folder",
            )
        parted = disagreements(CheckpointTokenizer(folder), model.path)
        if parted:
            whose = str(tokenizer) if tokenizer else "that transformers reads from the file"
            raise BadFileError(
                f"the tokenizer {whose} disagrees with llama.cpp's on {len(parted)} texts: "
                f"{parted[0]}",
                hint="give the model's own tokenizer: --tokenizer DIR",
            )
        checkpoint = open_checkpoint(folder)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        yield replace(checkpoint, dtype=f"dequantized from {model.info.level}")

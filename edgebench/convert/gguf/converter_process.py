"""llama.cpp's converter in a process: `python -m edgebench.convert.gguf.converter_process`.

Knows the one function that the converter asks for a tokenizer's kind, and how the converter ends
where it knows a tokenizer or a model not. Edits no file of it.
"""

from __future__ import annotations

import runpy
import sys
import traceback
from pathlib import Path

from edgebench.convert.jobs import ConvertJob
from edgebench.convert.step import Fault, StepError, Tell, serve

_ASKS_FOR_TOKENIZER = "get_vocab_base_pre"


def convert(job: ConvertJob, _: Tell) -> None:
    """Convert a checkpoint; name what the converter doesn't know."""
    folder = Path(job.converter)
    sys.path[:0] = [str(folder), str(folder / "gguf-py")]
    if job.pre_tokenizer:
        _name_pre_tokenizer(job.pre_tokenizer)
    script = str(folder / "convert_hf_to_gguf.py")
    sys.argv = [script, job.checkpoint, "--outfile", job.target, "--outtype", job.type]
    try:
        runpy.run_path(script, run_name="__main__")
    except NotImplementedError as error:
        traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        asked = last.name == _ASKS_FOR_TOKENIZER
        fault = Fault(fault="tokenizer" if asked else "failed", detail=str(error)[:2000])
        raise StepError(fault) from None
    except SystemExit as error:
        # The converter logs an architecture that it doesn't know, and exits while it handles that.
        if error.code and isinstance(error.__context__, NotImplementedError):
            detail = str(error.__context__)[:2000]
            raise StepError(Fault(fault="architecture", detail=detail)) from None
        raise


def _name_pre_tokenizer(name: str) -> None:
    """Answer `name` wherever the converter would look the tokenizer up by its hash."""
    from conversion import base

    base.TextModel.get_vocab_base_pre = lambda self, tokenizer: name


if __name__ == "__main__":
    serve(ConvertJob, convert)

"""llama.cpp's converter in a process: `python -m edgebench.convert.gguf.converter_process`.

Reads one JSON object on stdin: `converter`, `checkpoint`, `target`, `type` and `pre_tokenizer`.
Knows the one function that the converter asks for a tokenizer's kind. Edits no file of it.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Convert as told on stdin; whatever the converter raises ends this process."""
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    # A checkpoint that was not on the hub before must not send anyone there now.
    os.environ["HF_HUB_OFFLINE"] = "1"
    folder = Path(job["converter"])
    sys.path[:0] = [str(folder), str(folder / "gguf-py")]
    if job["pre_tokenizer"]:
        _name_pre_tokenizer(job["pre_tokenizer"])
    script = str(folder / "convert_hf_to_gguf.py")
    sys.argv = [
        script, job["checkpoint"], "--outfile", job["target"], "--outtype", job["type"],
    ]  # fmt: skip
    runpy.run_path(script, run_name="__main__")


def _name_pre_tokenizer(name: str) -> None:
    """Answer `name` wherever the converter would look the tokenizer up by its hash."""
    from conversion import base

    base.TextModel.get_vocab_base_pre = lambda self, tokenizer: name


if __name__ == "__main__":
    main()

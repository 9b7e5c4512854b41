"""The process that converts one GGUF file: a job on stdin, progress on stdout, the log in a file.

llama.cpp ends its process on a failed assertion and writes its log to a callback, so a conversion
runs apart from the command that asked for it. Knows llama.cpp's quantizer; knows no artifacts.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import time
from typing import Any, TextIO

_STEP = re.compile(r"^\[\s*(\d+)/\s*(\d+)\]")
_ERROR_LEVEL = 4  # GGML_LOG_LEVEL_ERROR


def main() -> int:
    """Run the job on stdin; return 0 where the target file is complete."""
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    # llama.cpp may print to stdout itself: keep the real one for messages, give it stderr.
    messages = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    with open(job["log"], "w", encoding="utf-8") as log:
        return _convert(job, messages, log)


def _convert(job: dict[str, Any], messages: TextIO, log: TextIO) -> int:
    from edgebench.llama_library import llama_api

    llama_cpp = llama_api()

    errors: list[str] = []

    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
    def on_log(level: int, text: bytes, _: Any) -> None:
        line = text.decode("utf-8", "replace")
        log.write(line)
        if level == _ERROR_LEVEL:
            errors.append(line.strip())
        if step := _STEP.match(line):
            _say(messages, done=int(step[1]), total=int(step[2]))

    llama_cpp.llama_log_set(on_log, None)
    llama_cpp.llama_backend_init()
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = job["ftype"]
    parameters.nthread = job["threads"]
    parameters.allow_requantize = job["allow_requantize"]
    start = time.perf_counter_ns()
    code = llama_cpp.llama_model_quantize(
        os.fsencode(job["source"]), os.fsencode(job["target"]), ctypes.byref(parameters)
    )
    elapsed_s = (time.perf_counter_ns() - start) / 1e9
    _say(messages, code=int(code), elapsed_s=elapsed_s, error=" ".join(errors)[-2000:])
    return int(code)


def _say(messages: TextIO, **fields: Any) -> None:
    messages.write(json.dumps(fields) + "\n")


if __name__ == "__main__":
    sys.exit(main())

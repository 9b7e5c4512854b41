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
from pathlib import Path
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
    from edgebench.sources.llama_library import llama_api

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
    alive = _choices(llama_cpp, parameters, job)
    start = time.perf_counter_ns()
    code = llama_cpp.llama_model_quantize(
        os.fsencode(job["source"]), os.fsencode(job["target"]), ctypes.byref(parameters)
    )
    elapsed_s = (time.perf_counter_ns() - start) / 1e9
    del alive  # llama.cpp kept pointers into it
    _say(messages, code=int(code), elapsed_s=elapsed_s, error=" ".join(errors)[-2000:])
    return int(code)


def _choices(api: Any, parameters: Any, job: dict[str, Any]) -> list[Any]:
    """Set the importance matrix and the tensors' own types; return what must outlive the call."""
    alive: list[Any] = []
    if job.get("imatrix"):
        array = _imatrix(api, Path(job["imatrix"]), alive)
        parameters.imatrix = ctypes.cast(array, type(parameters.imatrix))
        alive.append(array)
    patterns = []
    for tensor, name in job.get("keep", ()):
        kind = _ggml_type(name)
        if tensor == "output":
            parameters.output_tensor_type = kind
        elif tensor == "token_embd":
            parameters.token_embedding_type = kind
        else:
            patterns.append((re.escape(tensor).encode(), kind))
    if patterns:
        overrides = (api.llama_model_tensor_override * (len(patterns) + 1))()  # the last stays NULL
        for slot, (pattern, kind) in zip(overrides, patterns, strict=False):
            slot.pattern, slot.type = pattern, kind
        parameters.tt_overrides = ctypes.cast(overrides, type(parameters.tt_overrides))
        alive.append(overrides)
    return alive


def _ggml_type(name: str) -> int:
    from gguf import GGMLQuantizationType

    return int(GGMLQuantizationType[name.upper()])


def _imatrix(api: Any, path: Path, alive: list[Any]) -> Any:
    from edgebench.convert.gguf.imatrix_file import read_imatrix

    means = read_imatrix(path)
    array = (api.llama_model_imatrix_data * (len(means) + 1))()  # the last one stays NULL
    for slot, (name, values) in zip(array, means.items(), strict=False):
        alive.append(values)
        slot.name = name.encode()
        slot.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        slot.size = values.size
    return array


def _say(messages: TextIO, **fields: Any) -> None:
    messages.write(json.dumps(fields) + "\n")


if __name__ == "__main__":
    sys.exit(main())

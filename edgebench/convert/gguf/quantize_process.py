"""llama.cpp's quantizer in a process: `python -m edgebench.convert.gguf.quantize_process`.

llama.cpp ends its process on a failed assertion and tells of fallen-back tensors in its log alone.
Knows its quantizer and its log; knows no artifacts.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgebench.convert.jobs import QuantizeJob
from edgebench.convert.step import Fault, Progress, Quantized, StepError, Tell, serve

_STEP = re.compile(r"^\[\s*(\d+)/\s*(\d+)\]")
_FALLBACK = re.compile(r"warning: (\S+)\s+- ncols .* -> falling back to\s+(\w+)")
_FALLBACK_COUNT = re.compile(r"WARNING: (\d+) of \d+ tensor\(s\) required fallback")
_ERROR_LEVEL = 4  # GGML_LOG_LEVEL_ERROR


@dataclass
class _Log:
    """llama.cpp's log, passed on to stderr and read on the way."""

    tell: Tell
    errors: list[str] = field(default_factory=list)
    text: str = ""

    def add(self, level: int, text: str) -> None:
        sys.stderr.write(text)
        self.text += text
        if level == _ERROR_LEVEL:
            self.errors.append(text.strip())
        if step := _STEP.match(text):
            self.tell(Progress(done=int(step[1]), total=int(step[2])))

    @property
    def fallbacks(self) -> dict[str, str] | None:
        """Return the tensors that could not have the level's type; None where it's unclear."""
        types = {match[1]: match[2].lower() for match in _FALLBACK.finditer(self.text)}
        counted = _FALLBACK_COUNT.search(self.text)
        return types if len(types) == (int(counted[1]) if counted else 0) else None


def quantize(job: QuantizeJob, tell: Tell) -> None:
    """Quantize one GGUF file; fail with llama.cpp's own words."""
    from edgebench.sources.llama_library import llama_api

    api = llama_api()
    log = _Log(tell)

    @api.llama_log_callback  # type: ignore[untyped-decorator]
    def on_log(level: int, text: bytes, _: Any) -> None:
        log.add(level, text.decode("utf-8", "replace"))

    api.llama_log_set(on_log, None)
    api.llama_backend_init()
    parameters = api.llama_model_quantize_default_params()
    parameters.ftype = job.ftype
    parameters.nthread = job.threads
    parameters.allow_requantize = job.allow_requantize
    alive = _choices(api, parameters, job)
    start = time.perf_counter_ns()
    code = api.llama_model_quantize(
        os.fsencode(job.source), os.fsencode(job.target), ctypes.byref(parameters)
    )
    elapsed_s = (time.perf_counter_ns() - start) / 1e9
    del alive  # llama.cpp kept pointers into it
    if code:
        raise StepError(Fault(fault="failed", detail=" ".join(log.errors)[-2000:]))
    tell(Quantized(elapsed_s=elapsed_s, fallback_tensors=log.fallbacks))


def _choices(api: Any, parameters: Any, job: QuantizeJob) -> list[Any]:
    """Set the importance matrix and the tensors' own types; return what must outlive the call."""
    alive: list[Any] = []
    if job.imatrix:
        array = _imatrix(api, Path(job.imatrix), alive)
        parameters.imatrix = ctypes.cast(array, type(parameters.imatrix))
        alive.append(array)
    patterns = []
    for tensor, name in job.keep:
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


if __name__ == "__main__":
    serve(QuantizeJob, quantize)

"""Decode tokens a second of transformers' loop on optimum's session; print the median as JSON.

optimum_loop.py ARTIFACT_FOLDER PROMPT GENERATE REPETITIONS THREADS; decode starts where the prompt
ends: the streamer tells when each token came.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import onnxruntime as ort
import torch
from optimum.onnxruntime import ORTModelForCausalLM


class Clock:
    """A streamer that only keeps the time of each token; the prompt comes first."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, _: object) -> None:
        """Keep the time."""
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Do nothing: every token has come."""


folder, (prompt, generate, repetitions, threads) = sys.argv[1], map(int, sys.argv[2:])
options = ort.SessionOptions()
options.intra_op_num_threads = threads
model = ORTModelForCausalLM.from_pretrained(folder, file_name="model.onnx", session_options=options)
tokens = torch.randint(0, 49000, (1, prompt), generator=torch.Generator().manual_seed(1))
rates = []
for turn in range(repetitions + 1):
    clock = Clock()
    model.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=generate + 1,
        min_new_tokens=generate + 1,
        do_sample=False,
        streamer=clock,
    )
    first, last = clock.times[1], clock.times[-1]  # [0] is the prompt's
    if turn:  # the first warms up
        rates.append(generate / (last - first))
print(json.dumps({"decode": statistics.median(rates)}))

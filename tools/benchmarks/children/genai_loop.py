"""Prefill and decode tokens a second of onnxruntime-genai's own loop; print both medians as JSON.

genai_loop.py ARTIFACT_FOLDER PROMPT GENERATE REPETITIONS; decode starts where the prompt ends.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import numpy as np
import onnxruntime_genai as og

folder, (prompt, generate, repetitions) = sys.argv[1], map(int, sys.argv[2:])
model = og.Model(folder)
tokens = np.random.default_rng(1).integers(0, 49000, prompt).astype(np.int32)
rates: dict[str, list[float]] = {"prefill": [], "decode": []}
for turn in range(repetitions + 1):
    params = og.GeneratorParams(model)
    room = prompt + generate + 8
    params.set_search_options(max_length=room, min_length=room, do_sample=False)
    generator = og.Generator(model, params)
    start = time.perf_counter()
    generator.append_tokens(tokens[None])
    generator.get_logits()
    evaluated = time.perf_counter()
    generator.generate_next_token()  # chooses from the prompt's logits, without a pass of its own
    begin = time.perf_counter()
    for _ in range(generate):
        generator.generate_next_token()
    end = time.perf_counter()
    if turn:  # the first warms up
        rates["prefill"].append(prompt / (evaluated - start))
        rates["decode"].append(generate / (end - begin))
    del generator
print(json.dumps({phase: statistics.median(values) for phase, values in rates.items()}))

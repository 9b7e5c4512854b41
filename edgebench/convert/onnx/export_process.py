"""One step of an ONNX export in a process of its own: `python -m edgebench.convert.onnx.process`.

Reads one JSON object on stdin; its `step` names the function. Knows transformers, optimum and
onnxruntime-genai's model builder; knows no artifacts.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

UNSUPPORTED = "edgebench: the model builder does not know this architecture"


def fused(job: dict[str, Any]) -> None:
    """Build a fused graph in single precision from `checkpoint` into `target`."""
    from onnxruntime_genai.models.builder import create_model

    try:
        create_model(
            None, job["checkpoint"], job["target"], "fp32", "cpu", job["cache"],
            hf_token="false", hf_remote="false",
        )  # fmt: skip
    except NotImplementedError as error:
        raise SystemExit(f"{UNSUPPORTED}: {error}") from None
    import onnx

    from edgebench.convert.onnx.graph import add_logits_start
    from edgebench.sources.onnx_file import load_graph

    path = Path(job["target"]) / "model.onnx"
    model = load_graph(path)
    add_logits_start(model)
    onnx.save(model, str(path))


def standard(job: dict[str, Any]) -> None:
    """Export a graph with past key values, with optimum, from `checkpoint` into `target`."""
    from optimum.exporters.onnx import main_export

    main_export(
        job["checkpoint"], output=job["target"], task="text-generation-with-past", device="cpu",
        dtype="fp32", do_validation=False, local_files_only=True,
        trust_remote_code=job["code"], library_name="transformers",
    )  # fmt: skip


def tokenizer(job: dict[str, Any]) -> None:
    """Save the tokenizer of `checkpoint` to `target` as transformers reads it."""
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(
        job["checkpoint"], local_files_only=True, trust_remote_code=job["code"]
    )
    loaded.save_pretrained(job["target"])


def from_gguf(job: dict[str, Any]) -> None:
    """Write the dequantized weights and the tokenizer of a GGUF file to `target`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = Path(job["gguf"])
    model = AutoModelForCausalLM.from_pretrained(
        str(path.parent), gguf_file=path.name, dtype=torch.float32
    )
    model.save_pretrained(job["target"], safe_serialization=True)
    if job["tokenizer"]:
        AutoTokenizer.from_pretrained(job["tokenizer"], local_files_only=True).save_pretrained(
            job["target"]
        )
    else:
        AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name).save_pretrained(
            job["target"]
        )


def reference(job: dict[str, Any]) -> None:
    """Write torch's logits of `prompts` to `target`, an .npz of one array a prompt."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        job["checkpoint"], dtype=torch.float32, local_files_only=True,
        trust_remote_code=job["code"], use_safetensors=job["safetensors"],
    ).eval()  # fmt: skip
    with torch.inference_mode():
        rows = [model(torch.tensor([prompt])).logits[0].numpy() for prompt in job["prompts"]]
    np.savez(job["target"], *rows)


def candidate(job: dict[str, Any]) -> None:
    """Write a graph's logits of `prompts` to `target`: half by prefill, the rest one by one."""
    import numpy as np
    import onnxruntime as ort

    from edgebench.sources.onnx_file import read_onnx
    from edgebench.worker.runtimes.onnx import open_cache

    graph = read_onnx(Path(job["graph"]))
    rows = []
    room = max(len(prompt) for prompt in job["prompts"])
    cache = open_cache(ort, graph, room)
    for prompt in job["prompts"]:
        cache.cut(0)
        half = max(1, len(prompt) // 2)
        parts = [np.array(cache.run(prompt[:half], half))]
        parts += [np.array(cache.step(token)) for token in prompt[half:]]
        rows.append(np.concatenate(parts).astype(np.float32))
    np.savez(job["target"], *rows)


STEPS = {
    step.__name__: step for step in (fused, standard, tokenizer, from_gguf, reference, candidate)
}


def main() -> None:
    """Do the step named on stdin; whatever a library raises ends this process."""
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    # A local checkpoint must not send anyone to the hub.
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    STEPS[job["step"]](job)


if __name__ == "__main__":
    main()

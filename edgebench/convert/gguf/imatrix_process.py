"""Collect an importance matrix: `python -m edgebench.convert.gguf.imatrix_process`.

Sums the squares of activations by torch's forward hooks. Knows torch, transformers and GGUF's
names of tensors; knows no cache and no artifacts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgebench.convert.gguf.imatrix_file import write_imatrix
from edgebench.convert.jobs import ImatrixJob
from edgebench.convert.step import Fault, StepError, Tell, serve

CHUNK = 512
CHUNKS = 40
# config.json's model_type -> the gguf package's name, where they differ by more than case.
_ARCHITECTURES = {"gemma3_text": "GEMMA3", "mistral": "LLAMA"}


def collect(job: ImatrixJob, _: Tell) -> None:
    """Run the checkpoint over the text and write the matrix."""
    from transformers import AutoTokenizer

    text = Path(job.text).read_text(encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(job.checkpoint, local_files_only=True)
    tokens = tokenizer.encode(text[: CHUNK * CHUNKS * 8], add_special_tokens=False)
    if len(tokens) < CHUNK:
        short = f"the calibration text has {len(tokens)} tokens; {CHUNK} are the least"
        raise StepError(Fault(fault="failed", detail=short))
    sums, count = _collect(job.checkpoint, tokens[: CHUNK * CHUNKS])
    write_imatrix(Path(job.target), sums, count, CHUNK, job.name)


def _collect(checkpoint: str, tokens: list[int]) -> tuple[dict[str, Any], int]:
    """Return the sums of squares by the GGUF's tensor names, and the tokens that went in."""
    import torch
    from gguf import MODEL_ARCH, get_tensor_name_map
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float32, local_files_only=True, use_safetensors=True
    ).eval()
    kind = model.config.model_type
    architecture = MODEL_ARCH[_ARCHITECTURES.get(kind, kind.upper())]
    names = get_tensor_name_map(architecture, model.config.num_hidden_layers)
    tied = bool(model.config.tie_word_embeddings)
    sums: dict[str, Any] = {}

    def watch(name: str) -> Any:
        def hook(_: Any, inputs: tuple[Any, ...]) -> None:
            rows = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
            sums[name] = sums.get(name, 0) + rows.double().square().sum(0)

        return hook

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            mapped = names.get_name(f"{name}.weight", try_suffixes=(".weight",))
            # A tied head is the embedding's tensor, which is read by rows and wants no matrix.
            if mapped and (mapped.startswith("blk.") or not tied):
                module.register_forward_pre_hook(watch(mapped))
    count = 0
    with torch.inference_mode():
        for start in range(0, len(tokens) - CHUNK + 1, CHUNK):
            model(torch.tensor([tokens[start : start + CHUNK]]), logits_to_keep=1)
            count += CHUNK
    return {name: value.float().numpy() for name, value in sums.items()}, count


if __name__ == "__main__":
    serve(ImatrixJob, collect)

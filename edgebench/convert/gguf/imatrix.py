"""Collect an importance matrix from a checkpoint: activations' squares, by torch forward hooks.

Knows which calibration text is taken and where the result is kept. Run as a module it collects,
in a process of its own. The file's format is known to `imatrix_file.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from edgebench.convert.child import run_step
from edgebench.convert.gguf.imatrix_file import write_imatrix
from edgebench.convert.origin import checkpoint_origin
from edgebench.errors import BadFileError, UsageError
from edgebench.sources.checkpoint import Checkpoint
from edgebench.sources.models import sha256_of

CHUNK = 512
CHUNKS = 40
MAX_TEXT_BYTES = 8 << 20
# config.json's model_type -> the gguf package's name, where they differ by more than case.
_ARCHITECTURES = {"gemma3_text": "GEMMA3", "mistral": "LLAMA"}


def calibration_text(file: Path | None) -> tuple[str, str]:
    """Return a calibration text and its name: a file, or the reference manual in Python itself.

    Python's manual (`pydoc_data.topics`) is English prose with code, in every installation, and
    part of no evaluation. Raises UsageError where the file can't be read.
    """
    if file is None:
        from pydoc_data.topics import topics

        text = "\n\n".join(topics[name] for name in sorted(topics))
        return text, f"Python {sys.version_info.major}.{sys.version_info.minor} manual"
    try:
        raw = file.read_bytes()[:MAX_TEXT_BYTES]
        return raw.decode("utf-8", "ignore"), file.name
    except OSError as error:
        raise UsageError(
            f"can't read {file}: {error.strerror}", hint="give a plain text to --calibration"
        ) from None


def collect_imatrix(checkpoint: Checkpoint, calibration: Path | None) -> Path:
    """Return an importance matrix of the checkpoint, from the cache or collected now.

    Raises BadFileError where the checkpoint can't be run, or the text is too short.
    """
    text, name = calibration_text(calibration)
    what = checkpoint_origin(checkpoint) + hashlib.sha256(text.encode()).hexdigest() + str(CHUNKS)
    digest = hashlib.sha256(what.encode()).hexdigest()[:24]
    target = user_cache_path("edgebench") / "imatrix" / f"{checkpoint.name}-{digest}.gguf"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.partial")
    source = target.with_suffix(f".{os.getpid()}.txt")
    try:
        source.write_text(text, encoding="utf-8")
        job = {
            "checkpoint": str(checkpoint.path.resolve()), "text": str(source), "name": name,
            "target": str(partial),
        }  # fmt: skip
        done = run_step("edgebench.convert.gguf.imatrix", job, target.with_suffix(".log"))
        if done.code:
            raise BadFileError(
                f"collecting an importance matrix of {checkpoint.path} {done.how}: {done.last_line}"
            )
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
        source.unlink(missing_ok=True)
    return target


def describe_imatrix(path: Path) -> str:
    """Name an importance matrix in an artifact's notes."""
    return f"importance matrix {path.name}, sha256 {sha256_of(path)}"


def main() -> None:
    """Collect as told on stdin."""
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    from transformers import AutoTokenizer

    text = Path(job["text"]).read_text(encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(job["checkpoint"], local_files_only=True)
    tokens = tokenizer.encode(text[: CHUNK * CHUNKS * 8], add_special_tokens=False)
    if len(tokens) < CHUNK:
        raise SystemExit(f"the calibration text has {len(tokens)} tokens; {CHUNK} are the least")
    sums, count = _collect(job["checkpoint"], tokens[: CHUNK * CHUNKS])
    write_imatrix(Path(job["target"]), sums, count, CHUNK, job["name"])


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
    main()

"""Tiny checkpoints with random weights, in the families that distilled models come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.simulations import LONG

# llama is the plain one; qwen2 has biases and ties its embeddings, gemma3 has windows and scales.
# qwen3 adds norms of heads, phi3 fuses its projections: for those each run waits a minute longer.
FAMILIES = ("llama", "qwen2", "gemma3", *(("qwen3", "phi3") if LONG else ()))
SIZES: dict[str, Any] = {
    "hidden_size": 256,  # so that K-quants apply
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
TEXT = (
    "The quick brown fox jumps over the lazy dog. 0123456789 naïve café 北京\n\tdef f(x): "
    "return x**2 Hello world, it's what we're after; 3.14 isn't 22/7.\r\n"
)
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def save_tokenizer(folder: Path, digits_apart: bool = True) -> int:
    """Train a byte-level BPE tokenizer that splits as Qwen2's, or keeps digits together."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    pattern = QWEN2 if digits_apart else QWEN2.replace(r"|\p{N}|", r"|\p{N}+|")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<|start|>", "<|end|>", "<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT, "1234 5678 2026 1999 100 000"] * 20, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|start|>", eos_token="<|end|>",
        pad_token="<|end|>", clean_up_tokenization_spaces=False,
    )  # fmt: skip
    fast.save_pretrained(folder)
    return int(tokenizer.get_vocab_size())


def make_checkpoint(folder: Path, family: str = "llama", **tokenizer: bool) -> Path:
    """Write a checkpoint of random weights as safetensors, with a tokenizer of its own."""
    import torch
    from transformers import AutoModelForCausalLM

    folder.mkdir(parents=True)
    size = save_tokenizer(folder, **tokenizer)
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(_config(family, size), dtype=torch.float32)
    model.save_pretrained(folder, safe_serialization=True)
    if family == "phi3":  # the class by which llama.cpp's converter knows a byte-level tokenizer
        path = folder / "tokenizer_config.json"
        fields = json.loads(path.read_text()) | {"tokenizer_class": "GPT2Tokenizer"}
        path.write_text(json.dumps(fields))
    return folder


def _config(family: str, size: int) -> Any:
    import transformers

    shared = {"vocab_size": size, **SIZES}
    if family == "llama":
        return transformers.LlamaConfig(**shared, tie_word_embeddings=False)
    if family == "qwen2":
        return transformers.Qwen2Config(**shared, tie_word_embeddings=True)
    if family == "qwen3":
        return transformers.Qwen3Config(**shared, head_dim=64, tie_word_embeddings=True)
    if family == "gemma3":
        return transformers.Gemma3TextConfig(
            **shared, head_dim=64, query_pre_attn_scalar=64, sliding_window=64
        )
    return transformers.Phi3Config(
        **shared, original_max_position_embeddings=512, tie_word_embeddings=False
    )


def bare_checkpoint(folder: Path, **config: object) -> Path:
    """Write what looks like a checkpoint and holds nothing."""
    folder.mkdir(parents=True)
    fields = {"architectures": ["LlamaForCausalLM"], "torch_dtype": "float32"} | config
    (folder / "config.json").write_text(json.dumps(fields))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\0" * 16)
    return folder

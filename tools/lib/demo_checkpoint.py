"""Make a Hugging Face folder of the bundled SmolLM2-135M-Instruct, to try exports without a hub.

The weights are the GGUF's, dequantized; the tokenizer is built from the GGUF's tokens and merges
as SmolLM's is (each digit apart, then GPT-2's pattern) and compared with llama.cpp's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgebench.convert.tokens import CheckpointTokenizer, disagreements
from edgebench.sources.named import bundled_file

UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4  # tokenizer.ggml.token_type


def write_checkpoint(folder: Path) -> None:
    """Write the folder; raise RuntimeError where its tokenizer disagrees with llama.cpp's."""
    path = bundled_file()
    folder.mkdir(parents=True, exist_ok=True)
    _save_weights(path, folder)
    _save_tokenizer(path, folder)
    if differences := disagreements(CheckpointTokenizer(folder), path):
        raise RuntimeError(f"{folder}: its tokenizer differs from llama.cpp's: {differences[0]}")


def _save_weights(path: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        str(path.parent), gguf_file=path.name, dtype=torch.float32
    )
    model.save_pretrained(folder, safe_serialization=True)


def _save_tokenizer(path: Path, folder: Path) -> None:
    from gguf import GGUFReader
    from transformers import PreTrainedTokenizerFast

    fields = {key: field.contents() for key, field in GGUFReader(path).fields.items()}
    tokens = fields["tokenizer.ggml.tokens"]

    def named(key: str) -> str | None:
        index = fields.get(f"tokenizer.ggml.{key}_token_id")
        return None if index is None else str(tokens[index])

    fast = PreTrainedTokenizerFast(
        tokenizer_object=_bpe(fields),
        bos_token=named("bos"),
        eos_token=named("eos"),
        unk_token=named("unknown"),
        pad_token=named("padding") or named("eos"),
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = fields.get("tokenizer.chat_template")
    fast.save_pretrained(folder)


def _bpe(fields: dict[str, Any]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    for token, kind in zip(tokens, kinds, strict=True):
        if kind in (CONTROL, UNKNOWN):
            tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True)])
        elif kind == USER_DEFINED:
            tokenizer.add_tokens([AddedToken(token, normalized=False, special=False)])
    return tokenizer

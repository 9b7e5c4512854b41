"""The tokenizer and the models: Llama's architecture, with rows of 256 so that K-quants fit."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.pair.language import documents

VOCABULARY = 512
CONTEXT = 1024
END = "<|end|>"


@dataclass(frozen=True)
class Size:
    """How large a model is."""

    hidden: int
    layers: int
    inner: int
    heads: int = 4

    @property
    def matmul_parameters(self) -> int:
        """Return the weights that each token is multiplied with, the output's included."""
        head = self.hidden // self.heads
        attention = 2 * self.hidden**2 + 2 * self.hidden * head * (self.heads // 2)
        return self.layers * (attention + 3 * self.hidden * self.inner) + self.hidden * VOCABULARY


TEACHER = Size(hidden=256, layers=6, inner=768)
STUDENT = Size(hidden=256, layers=2, inner=512)


def make_tokenizer(folder: Path) -> Any:
    """Train a byte-level BPE on the small world and save it as a checkpoint has it; return it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(itertools.islice(documents(seed=12345), 20_000), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )
    fast.save_pretrained(folder)
    return fast


def load_tokenizer(folder: Path) -> Any:
    """Read a saved tokenizer."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)


def make_model(size: Size, seed: int) -> Any:
    """Return a model with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads // 2,
        max_position_embeddings=CONTEXT,
        rope_theta=10_000.0,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a checkpoint folder as the Hub has it, whole or not at all."""
    import shutil

    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part, safe_serialization=True)
    tokenizer.save_pretrained(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)

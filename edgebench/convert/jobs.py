"""What each step of a conversion is asked, in a process of its own: one record a step.

Knows what crosses to `*_process.py` and nothing of what is done there. Paths are texts.
"""

from __future__ import annotations

from typing import Literal

from edgebench.records.base import Count, Record, Text


class TokenizerJob(Record):
    """Whose tokenizer to save to the folder `target`; `code` lets it run code of its own."""

    checkpoint: Text
    target: Text
    code: bool = False


class ConvertJob(Record):
    """What to convert to `target`, with the converter in that folder."""

    converter: Text
    checkpoint: Text
    target: Text
    type: Text
    pre_tokenizer: Text | None = None


class QuantizeJob(Record):
    """What to write to `target`; `keep` names tensors and the types that they are to have."""

    source: Text
    target: Text
    ftype: Count
    threads: Count = 0
    allow_requantize: bool = False
    imatrix: Text | None = None
    keep: tuple[tuple[Text, Text], ...] = ()


class ImatrixJob(Record):
    """Whose activations to sum over a file of text called `name`, and the file to write."""

    checkpoint: Text
    text: Text
    name: Text
    target: Text


class DequantizeJob(Record):
    """Whose weights to write to `target`, and the tokenizer's folder, where it has another."""

    gguf: Text
    target: Text
    tokenizer: Text | None = None


class GraphJob(Record):
    """Which graph of a checkpoint to write to the folder `target`, in single precision."""

    graph: Literal["fused", "standard"]
    checkpoint: Text
    target: Text
    cache: Text
    code: bool = False


class ReferenceJob(Record):
    """A checkpoint, prompts of token ids, and the .npz to write: one array of logits a prompt."""

    checkpoint: Text
    prompts: tuple[tuple[Count, ...], ...]
    target: Text
    code: bool = False
    safetensors: bool = True

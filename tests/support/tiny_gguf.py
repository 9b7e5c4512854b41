"""A tiny llama in GGUF that llama.cpp takes, written without torch."""

from __future__ import annotations

from pathlib import Path

VOCABULARY = 300


def write_tiny_gguf(path: Path, hidden: int = 64, inner: int = 128, layers: int = 2) -> Path:
    """Write a llama of random halves with a byte-level tokenizer."""
    import gguf
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(512)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(hidden // 2)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    letters = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 324))]
    tokens = ["<s>", "</s>", *letters, "ab"]
    tokens += [f"<{index}>" for index in range(VOCABULARY - len(tokens))]
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, *[1] * (VOCABULARY - 2)])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    for name, shape in _shapes(hidden, inner, layers).items():
        values = rng.normal(0, 0.05, shape)
        writer.add_tensor(name, values.astype(np.float16 if len(shape) > 1 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shapes(hidden: int, inner: int, layers: int) -> dict[str, tuple[int, ...]]:
    square, up, down = (hidden, hidden), (inner, hidden), (hidden, inner)
    layer = {"attn_norm": (hidden,), "ffn_norm": (hidden,), "attn_q": square, "attn_k": square}
    layer |= {"attn_v": square, "attn_output": square}
    layer |= {"ffn_gate": up, "ffn_up": up, "ffn_down": down}
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (VOCABULARY, hidden),
        "output_norm.weight": (hidden,),
        "output.weight": (VOCABULARY, hidden),
    }
    for index in range(layers):
        shapes |= {f"blk.{index}.{name}.weight": shape for name, shape in layer.items()}
    return shapes

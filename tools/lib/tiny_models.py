"""Write tiny models that runtimes take, without torch: a llama in GGUF and a graph in ONNX.

Knows how little of each format a runtime wants. The weights are random, and nothing is learned.
"""

from __future__ import annotations

from pathlib import Path

HIDDEN, VOCABULARY, LAYERS, HEADS = 32, 320, 2, 2


def write_gguf(path: Path, quantized: bool = True) -> None:
    """Write a llama of two layers in q8_0 or f32, with a byte-level tokenizer."""
    import gguf
    import numpy as np

    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    level = gguf.LlamaFileType.MOSTLY_Q8_0 if quantized else gguf.LlamaFileType.ALL_F32
    writer.add_file_type(level)
    writer.add_context_length(1024)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(VOCABULARY)
    tokens = ["<s>", "</s>", *_letters(), "ab"]
    tokens += [f"<{index}>" for index in range(VOCABULARY - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, *[1] * (VOCABULARY - 2)])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    for name, *shape in _tensors():
        values = rng.normal(0, 0.05, shape).astype(np.float32)
        if len(shape) == 1 or not quantized:
            writer.add_tensor(name, values)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors() -> list[tuple[str | int, ...]]:
    shapes: list[tuple[str | int, ...]] = [("token_embd.weight", VOCABULARY, HIDDEN)]
    for layer in range(LAYERS):
        inner = f"blk.{layer}."
        shapes += [(f"{inner}{name}_norm.weight", HIDDEN) for name in ("attn", "ffn")]
        names = ("attn_q", "attn_k", "attn_v", "attn_output")
        shapes += [(f"{inner}{name}.weight", HIDDEN, HIDDEN) for name in names]
        shapes += [(f"{inner}{name}.weight", 2 * HIDDEN, HIDDEN) for name in ("ffn_gate", "ffn_up")]
        shapes.append((f"{inner}ffn_down.weight", HIDDEN, 2 * HIDDEN))
    return [*shapes, ("output_norm.weight", HIDDEN), ("output.weight", VOCABULARY, HIDDEN)]


def _letters() -> list[str]:
    """Return the 256 letters by which byte-level tokenizers write bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) for byte in shown] + [chr(256 + index) for index in range(len(hidden))]


def write_onnx(path: Path) -> None:
    """Write a graph that looks its tokens up and multiplies by a head, with weights beside it."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)
    shape = (VOCABULARY, HIDDEN)
    table = numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), "table")
    head = numpy_helper.from_array(rng.normal(size=shape[::-1]).astype(np.float32), "head")
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], name="embed"),
        helper.make_node("MatMul", ["rows", "head"], ["logits"], name="h"),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "s"])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", "s", VOCABULARY])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [ids], [out], [table, head]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(model, str(path), save_as_external_data=True, location="data", size_threshold=0)

"""ONNX: export, pack weights, check logits."""

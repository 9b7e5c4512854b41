"""GGUF: export, quantize, importance matrices."""

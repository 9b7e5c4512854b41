"""Formats, the runtimes that run them, and the packages that carry those."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata

from edgebench.errors import MissingExtraError

FORMATS = {"gguf": "llama.cpp", "onnx": "onnxruntime", "torch": "torch", "fake": "fake"}

# The packages that may carry a runtime, the first to be asked for, and its extra.
PACKAGES = {
    "llama.cpp": (("llama-cpp-python",), "gguf"),
    "onnxruntime": (
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-qnn"), "onnx",
    ),
    "torch": (("torch",), "export"),
}  # fmt: skip


def runtime_version(name: str) -> str:
    """Return the version of a runtime's package without loading it.

    Raises MissingExtraError where the package is not installed.
    """
    if name not in PACKAGES:
        return "1"
    packages, extra = PACKAGES[name]
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(package)
    raise MissingExtraError(packages[0], extra)

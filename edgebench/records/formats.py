"""Formats, the runtimes that run them, and the packages that carry those."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
from collections.abc import Mapping

from edgebench.errors import MissingExtraError

FAKE = "fake"  # makes its figures up, for tests: nothing but their switch leads there
FORMATS = {"gguf": "llama.cpp", "onnx": "onnxruntime", "torch": "torch", FAKE: FAKE}
REAL_FORMATS = tuple(name for name in FORMATS if name != FAKE)
_SWITCH = "EDGEBENCH_FAKE_RUNTIME"

# The packages that may carry a runtime, the first to be asked for, and its extra.
PACKAGES = {
    "llama.cpp": (("llama-cpp-python",), "gguf"),
    "onnxruntime": (
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-qnn"), "onnx",
    ),
    "torch": (("torch",), "export"),
}  # fmt: skip


def is_runnable(name: str) -> bool:
    """Return whether artifacts of a format may run; the fake one's may by the tests' own switch.

    The one place that reads the switch, on both sides of the wall.
    """
    return name in REAL_FORMATS or (name == FAKE and os.environ.get(_SWITCH) == "1")


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


def installed_runtimes() -> dict[str, str]:
    """Return runtime -> version for those that are installed, without loading any."""
    versions = {FAKE: runtime_version(FAKE)} if is_runnable(FAKE) else {}
    for name in PACKAGES:
        with contextlib.suppress(MissingExtraError):
            versions[name] = runtime_version(name)
    return versions


def required_version(runtime: str, installed: Mapping[str, str]) -> str:
    """Return a runtime's version among those installed; raise MissingExtraError without it."""
    if runtime not in installed:
        packages, extra = PACKAGES[runtime]
        raise MissingExtraError(packages[0], extra)
    return installed[runtime]

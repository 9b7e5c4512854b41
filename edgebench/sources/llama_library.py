"""The low-level API of llama-cpp-python, without the rest of that package.

Knows how to import `llama_cpp.llama_cpp` alone. The package's own `__init__` also imports the
`Llama` class and with it numpy, in whose company the very same llama.cpp was seen to evaluate a
q8_0 prompt 2.5 % slower than in llama-bench. It also takes three tenths of a second.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from typing import Any

from edgebench.errors import MissingExtraError

_PACKAGE = "llama_cpp"


def llama_api() -> Any:
    """Return the module `llama_cpp.llama_cpp`; raise MissingExtraError where it is not installed.

    Other code that imports `llama_cpp` afterwards gets the whole package as usual.
    """
    name = f"{_PACKAGE}.{_PACKAGE}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise MissingExtraError("llama-cpp-python", "gguf")
    if _PACKAGE in sys.modules:
        return importlib.import_module(name)
    stand_in = types.ModuleType(_PACKAGE)
    stand_in.__path__ = list(spec.submodule_search_locations)
    sys.modules[_PACKAGE] = stand_in
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules[_PACKAGE]

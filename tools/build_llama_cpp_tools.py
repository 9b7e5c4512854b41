"""Build llama.cpp's own tools on the installed libraries; print their paths.

Seconds where llama-cpp-python installed llama.cpp's `common`, minutes else. Benchmarks do it by
themselves; lib/llama_cpp_tools.py says how.
"""

from __future__ import annotations

import sys

from lib.llama_cpp_tools import TOOLS, tool

if __name__ == "__main__":
    try:
        print("\n".join(str(tool(name)) for name in TOOLS))
    except RuntimeError as error:
        sys.exit(f"error: {error}")

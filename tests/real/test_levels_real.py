"""Every level that llama.cpp makes is known again by its tensors, whatever the rows' length."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.simulations import LONG
from support.tiny_gguf import write_tiny_gguf

pytest.importorskip("llama_cpp")

from edgebench.convert.levels import known_levels
from edgebench.sources.gguf_file import read_gguf

NOT_OF_F16 = {"nvfp4", "q1_0"}  # llama.cpp itself refuses them for some rows
# Their tables alone take llama.cpp half a minute; test_levels.py has what their tensors are.
SLOW = ("iq1", "iq2", "iq3")

MAKE = """
import ctypes, json, sys
from pathlib import Path
import numpy as np
from edgebench.convert.levels import known_levels
from edgebench.sources.gguf_file import read_gguf
from edgebench.sources.llama_library import llama_api

source, folder, levels = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
api = llama_api()
quiet = api.llama_log_callback(lambda level, text, data: None)
api.llama_log_set(quiet, None)
api.llama_backend_init()
matrices = [tensor for tensor in read_gguf(Path(source)).tensors
            if len(tensor.shape) > 1]
ones = [np.ones(tensor.shape[0], np.float32) for tensor in matrices]
matrix = (api.llama_model_imatrix_data * (len(matrices) + 1))()
for slot, tensor, values in zip(matrix, matrices, ones):
    slot.name, slot.size = tensor.name.encode(), values.size
    slot.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
made = []
for level in levels:
    number = known_levels()[level]
    parameters = api.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread = number, 1
    parameters.imatrix = ctypes.cast(matrix, type(parameters.imatrix))
    target = f"{folder}/{level}.gguf"
    if not api.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters)):
        made.append(level)
print(json.dumps(made))
"""


@pytest.mark.parametrize(("hidden", "inner"), [(256, 256), (96, 256)])
def test_every_level_is_known_by_its_tensors(tmp_path: Path, hidden: int, inner: int) -> None:
    """Rows that llama.cpp can cut into blocks of 256, and rows where it falls back."""
    source = write_tiny_gguf(tmp_path / "source.gguf", hidden, inner, layers=4)
    wanted = [level for level in known_levels() if LONG or not level.startswith(SLOW)]
    done = subprocess.run(
        [sys.executable, "-c", MAKE, str(source), str(tmp_path), ",".join(wanted)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    made = json.loads(done.stdout)
    assert set(wanted) - set(made) <= NOT_OF_F16
    for level in made:
        info = read_gguf(tmp_path / f"{level}.gguf")
        assert info.level_called(level) == level
        assert info.level in (level, "q2_0", "q4_0"), level  # a number that gguf doesn't know yet
        bits = {"f32": "f16", "f16": "f32"}.get(level, "f32")
        assert info.level_called(bits) != bits, level

"""What a pick prints to run its winner, typed here on real models."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.builders import make_run, make_runtime, make_workload
from support.shell import Family, Shell

from edgebench.analyze.rows import Row, summarize
from edgebench.analyze.running import commands_of
from edgebench.records.artifact import Artifact
from edgebench.records.settings import Settings

CORE = str(min(os.sched_getaffinity(0)))
SETTINGS = Settings(
    threads=1,
    cores=CORE,
    batch=64,
    micro_batch=32,
    flash_attention="on",
    kv_type="q8_0",
    load_mode="mmap",
)
SHORT = make_workload(prompt_tokens=96, generate_tokens=32)


def row_of(folder: Path, settings: Settings) -> Row:
    """Return a row of the artifact in a folder, as if it had been measured with the settings."""
    artifact = Artifact.model_validate_json((folder / "artifact.json").read_text())
    path = str(folder / artifact.path) if artifact.format == "gguf" else str(folder)
    runtime = make_runtime(threads=settings.threads, kv_type=settings.kv_type)
    changes = {"artifact": artifact.model_copy(update={"path": path}), "settings": settings}
    (row,) = summarize([make_run(**changes, runtime=runtime, workload=SHORT)])
    return row


def typed(row: Row, program: str) -> str:
    """Return what is printed for a program."""
    return next(command.text for command in commands_of(row) if command.program == program)


def run_python(text: str) -> str:
    """Run a program in a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_llama_cpp_python_answers(real_levels: tuple[Shell, Path]) -> None:
    """The program loads the file with the measured settings, and a chat has an answer."""
    row = row_of(real_levels[1] / "SmolLM2-135M-Instruct-q4_0", SETTINGS)
    text = typed(row, "llama-cpp-python").replace("max_tokens=32", "max_tokens=4")
    told = (
        "used = model.context_params\nprint(used.n_threads, used.n_ubatch, used.type_k, end=' ')\n"
    )
    told += "print(*os.sched_getaffinity(0))\n"
    lines = run_python(text + told).splitlines()
    assert len(lines) >= 2
    assert lines[-1] == f"1 32 8 {CORE}"


@pytest.mark.parametrize("program", ["llama-cli", "llama-server"])
def test_llama_cpp_takes_the_arguments(real_levels: tuple[Shell, Path], program: str) -> None:
    """llama.cpp's own programs know every argument that is printed for them."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    row = row_of(real_levels[1] / "SmolLM2-135M-Instruct-q4_0", SETTINGS)
    words = shlex.split(typed(row, program))
    # Arguments are read before help is printed, and a wrong one ends it with an error.
    done = subprocess.run(
        [*words, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    wrong = [*words, "--cache-type-k", "q9"]
    done = subprocess.run(wrong, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0


@pytest.mark.parametrize("level", ["fp32", "int4"])
def test_onnxruntime_genai_answers(families: dict[str, Family], level: str) -> None:
    """The program reads the artifact's folder, takes the threads and generates to the end."""
    folder = families["llama"].path(level)
    row = row_of(folder, Settings(threads=1))
    before = (folder / "genai_config.json").read_bytes()
    text = typed(row, "onnxruntime-genai").replace("max_length=128", "max_length=12")
    told = run_python(text + 'print("tokens", len(generator.get_sequence(0)))\n')
    assert 0 < int(told.split()[-1]) <= 12
    assert (folder / "genai_config.json").read_bytes() == before
    assert json.loads(before)["model"]["type"] == "llama"

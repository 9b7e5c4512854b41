"""What lies around a sweep fails: memory, disk, rights, another command, an older Python.

Each costs what it must and no more, with the right exit code and one line. Skipped, with the
reason, where this machine can't have it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from support.limits_machine import fill, heed_rights, memory_group, python_of, small_disk
from support.shell import MakeFake, Shell, error_of
from support.task_files import write_task

from edgebench.records.run import Run
from edgebench.run.stored import read_runs

SPEED = ("--workload", "16+4", "--tasks", "none", "--launches", "1", "--retries", "0")
PROFILE = ("profile", "fakes", "--device", "cpu", *SPEED)


def levels(folder: Path) -> dict[str, Run]:
    """Return the runs below a folder by level, all of whose lines must be whole."""
    passed: list[object] = []
    runs = {run.artifact.level: run for run in read_runs([folder], passed.append)}
    assert passed == []
    return runs


def test_worker_over_a_memory_limit_costs_its_case(edgebench: Shell, fakes: MakeFake) -> None:
    """The kernel kills the worker, not the parent: its case is `oom`, the others are measured."""
    fakes("f16", {"fault": "fill"})
    fakes("q8_0")
    with memory_group(400 << 20) as join:
        done = edgebench(*PROFILE, preexec_fn=join)
    assert done.returncode == 1, done.stderr
    runs = levels(edgebench.cwd / "profiles")
    assert {level: run.status for level, run in runs.items()} == {"f16": "oom", "q8_0": "ok"}
    assert runs["f16"].error
    assert runs["f16"].error.signal == 9


def test_full_output_disk_keeps_what_was_stored(edgebench: Shell, fakes: MakeFake) -> None:
    """The run that no longer fits leaves no half line; it is said, and the exit code is 1."""
    for level in ("f16", "q8_0", "q4_0", "q4_k_m"):
        fakes(level)
    with small_disk(edgebench.cwd / "small", "size=12k") as disk:
        done = edgebench(*PROFILE, "--output", str(disk))
        assert done.returncode == 1, done.stderr
        assert "No space left on device" in error_of(done)
        stored = levels(disk)
        assert 1 <= len(stored) < 4
        again = edgebench("compare", str(disk))
        assert again.returncode == 0, again.stderr


def test_full_disk_of_logs_costs_nothing(edgebench: Shell, fakes: MakeFake) -> None:
    """Logs that can't be written are empty; all is measured."""
    fakes("f16", {"fault": "garbage"})
    with small_disk(edgebench.cwd.parent / "home/cache", "size=16k") as disk:
        (disk / "edgebench/logs").mkdir(parents=True)
        fill(disk)
        assert edgebench.profile(*SPEED)["f16"].status == "ok"


@pytest.mark.parametrize("options", ["size=64k,nr_inodes=2", "size=64k,ro"])
def test_cache_that_can_hold_nothing_is_said(
    edgebench: Shell, fakes: MakeFake, options: str
) -> None:
    """No worker starts without its log: one line names the folder, the exit code is 3."""
    fakes("f16")
    with small_disk(edgebench.cwd.parent / "home/cache", options):
        done = edgebench(*PROFILE)
    assert done.returncode == 3, done.stderr
    assert "home/cache/edgebench/logs" in error_of(done)


def test_full_disk_costs_a_divergence_alone(edgebench: Shell, fakes: MakeFake) -> None:
    """Distributions that can't be kept fail their case, which says where; speed is measured."""
    fakes("f16")
    rows = [
        {"id": str(index), "text": f"To be or not to be, {index}. " * 60} for index in range(40)
    ]
    write_task(edgebench.cwd, rows, "far", schema="text", chunks=2)
    with small_disk(edgebench.cwd.parent / "home/cache", "size=64k") as disk:
        (disk / "edgebench/logs").mkdir(parents=True)
        (disk / "edgebench/divergence").mkdir(parents=True)
        fill(disk)
        done = edgebench(
            "profile",
            "fakes",
            "--device",
            "cpu",
            "--workload",
            "16+4",
            "--tasks",
            "far.yaml",
            "--launches",
            "1",
            "--retries",
            "0",
        )
        assert not list(disk.rglob("*.partial"))
    assert done.returncode == 1, done.stderr
    ended = {run.task: run for run in edgebench.stored()}
    assert {task: run.status for task, run in ended.items()} == {None: "ok", "far": "failed"}
    error = ended["far"].error
    assert error
    assert "No space left on device" in error.message


def test_folders_without_rights_are_named_before_measuring(
    edgebench: Shell, fakes: MakeFake
) -> None:
    """Exit code 3 where logs can't be written, 2 where runs can't; what is stored can be read."""
    fakes("f16")
    home = edgebench.cwd.parent / "home"
    home.mkdir()
    edgebench.cwd.chmod(0o555)
    home.chmod(0o555)
    done = edgebench(*PROFILE, preexec_fn=heed_rights)
    assert (done.returncode, "home/cache" in error_of(done)) == (3, True), done.stderr
    home.chmod(0o755)
    done = edgebench(*PROFILE, preexec_fn=heed_rights)
    assert (done.returncode, "profiles/cpu" in error_of(done)) == (2, True), done.stderr
    edgebench.cwd.chmod(0o755)
    edgebench.profile(*SPEED)
    for folder in (home, edgebench.cwd / "profiles", edgebench.cwd):
        folder.chmod(0o555)
    done = edgebench("compare", preexec_fn=heed_rights)
    assert done.returncode == 0, done.stderr
    edgebench.cwd.chmod(0o755)


def test_two_commands_append_to_one_store(edgebench: Shell, fakes: MakeFake) -> None:
    """No line of either is torn or lost."""
    for level in ("f16", "q8_0", "q4_0"):
        fakes(level)
    running = [edgebench.start(*PROFILE, "--no-resume", "--json") for _ in range(2)]
    printed = [json.loads(process.communicate(timeout=120)[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0]
    wanted = {run["run_id"] for document in printed for run in document["runs"]}
    passed: list[object] = []
    stored = [run.run_id for run in read_runs([edgebench.cwd / "profiles"], passed.append)]
    assert (len(stored), set(stored), passed) == (6, wanted, [])


CHECK = """
import ast, importlib, importlib.util, pathlib, sys
wrong = []

def has(module, name):
    if hasattr(module, name):
        return True
    # A module within a package is there before it is imported.
    return hasattr(module, "__path__") and bool(
        importlib.util.find_spec(f"{module.__name__}.{name}")
    )

for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.py")):
    source = path.read_text("utf-8")
    compile(source, str(path), "exec")
    for node in ast.walk(ast.parse(source)):
        module = getattr(node, "module", None) if isinstance(node, ast.ImportFrom) else None
        if module and module.partition(".")[0] in sys.stdlib_module_names:
            there = importlib.import_module(module)
            missing = [name.name for name in node.names if not has(there, name.name)]
            wrong += [f"{path}:{node.lineno} {module}.{name}" for name in missing]
print("\\n".join(wrong))
sys.exit(bool(wrong))
"""


def test_oldest_python_compiles_all_and_has_what_is_imported() -> None:
    """Python 3.10, where it is at hand, reads every module and has each name of its library."""
    oldest = python_of("3.10")
    package = Path(__file__).parents[2] / "edgebench"
    done = subprocess.run(
        [oldest, "-c", CHECK, str(package)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

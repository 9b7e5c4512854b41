"""Run the whole command as a person does: in another folder, with caches of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebench.records.run import Run
from edgebench.run.stored import read_runs


def hear_ctrl_c() -> None:
    """Let a new process hear Ctrl-C, which it would not where this one runs in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


Outcome = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Shell:
    """A working folder with an environment in which `edgebench` is run."""

    cwd: Path
    env: dict[str, str]
    start_with: tuple[str, ...] = ("-m", "edgebench")

    def __call__(self, *arguments: str, **changes: Any) -> Outcome:
        """Run `edgebench ARGUMENTS` to its end."""
        return subprocess.run(
            [sys.executable, *self.start_with, *arguments],
            cwd=self.cwd,
            env=self.env,
            text=True,
            capture_output=True,
            timeout=500,
            check=False,
            **changes,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `edgebench ARGUMENTS` in a process group of its own, with Ctrl-C heard."""
        return subprocess.Popen(
            [sys.executable, *self.start_with, *arguments],
            cwd=self.cwd,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=hear_ctrl_c,
        )

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run a command that must end with a code; return the JSON that it printed."""
        done = self(*arguments)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def profile(self, *more: str, code: int = 0) -> dict[str, Run]:
        """Profile the fakes at what is asked, which is one thing; return each level's run."""
        printed = self.json("profile", "fakes", "--device", "cpu", *more, "--json", code=code)
        runs = [Run.model_validate(run) for run in printed["runs"]]
        levels = {run.artifact.level: run for run in runs}
        assert len(levels) == len(runs)
        return levels

    def stored(self) -> list[Run]:
        """Return the runs that lie in profiles/, in the order in which they were stored."""
        folder = self.cwd / "profiles"
        return list(read_runs([folder])) if folder.exists() else []


def make_shell(cwd: Path, home: Path) -> Shell:
    """Return a shell whose caches and settings lie in `home`."""
    env = {
        **os.environ,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "HF_HOME": str(home / "hf"),
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "80",
    }
    return Shell(cwd, env)


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """Return the error's line, after checking that it is one line and at most one hint."""
    lines = [line for line in done.stderr.splitlines() if line]
    assert lines[-1].startswith(("error: ", "hint: ")), done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    return errors[0]


MakeFake = Callable[..., Path]


@dataclass(frozen=True)
class Family:
    """A tiny checkpoint and the folder with its artifacts."""

    name: str
    checkpoint: Path
    artifacts: Path

    def path(self, level: str) -> Path:
        """Return the folder of one level."""
        return self.artifacts / f"{self.checkpoint.name}-{level}"


def make_checkpoints(folders: Mapping[Path, str], *together: Path) -> None:
    """Make a checkpoint of a family in each folder, in one process: torch stays out of this one.

    The tokenizers of those in `together` keep digits together, the others' cut them apart.
    """
    code = (
        "import json, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from support.checkpoints import make_checkpoint\n"
        "for path, family, apart in json.loads(sys.argv[2]):\n"
        "    make_checkpoint(Path(path), family, digits_apart=apart)"
    )
    here = str(Path(__file__).parents[1])
    wanted = [(str(path), family, path not in together) for path, family in folders.items()]
    command = [sys.executable, "-c", code, here, json.dumps(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]

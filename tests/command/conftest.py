"""Whole commands in this process: the fake runtime, and workers on the memory transport."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.shell import Outcome, Shell, make_shell

from edgebench import cli
from edgebench.cli import places
from edgebench.run.transports.memory import MemoryTransport
from edgebench.worker.server import Server

OWN = {"HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME", "HF_HUB_OFFLINE", "COLUMNS"}


class InProcess(Shell):
    """A shell whose commands run here: a tenth of a second each, where a process takes one."""

    def __call__(self, *arguments: str, **changes: object) -> Outcome:
        """Run `edgebench ARGUMENTS`."""
        out, err = io.StringIO(), io.StringIO()
        with (
            in_folder(self.cwd),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = cli.run(arguments)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Work in a folder; contextlib.chdir isn't there before Python 3.11."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture
def edgebench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Run commands in an empty folder, with nothing cached, their workers in this process."""
    cwd = tmp_path / "work"
    cwd.mkdir()
    shell = make_shell(cwd, tmp_path / "home")
    for name in OWN:
        monkeypatch.setenv(name, shell.env[name])
    monkeypatch.setattr(places, "local_transport", lambda: MemoryTransport(Server))
    return InProcess(cwd, shell.env)

"""What a test may ask of the machine: little memory, a small disk, no rights, another Python.

Each skips the test, with the reason, where this machine or this user can't have it. Nothing that
was made is left afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CGROUPS = Path("/sys/fs/cgroup")
DROP_CAPABILITY = 24  # PR_CAPBSET_DROP: execve then gives root the rest
OVERRIDE = (1, 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


@contextlib.contextmanager
def memory_group(limit_bytes: int) -> Iterator[Callable[[], None]]:
    """Make a memory cgroup; yield what a child calls before it runs, to be in it."""
    is_v2 = (CGROUPS / "cgroup.controllers").exists()
    group = (CGROUPS if is_v2 else CGROUPS / "memory") / f"edgebench-test-{os.getpid()}"
    limit, swap = (
        ("memory.max", "memory.swap.max")
        if is_v2
        else ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    )
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error.strerror}")
    try:
        try:
            (group / limit).write_text(str(limit_bytes))
        except OSError as error:
            pytest.skip(f"no memory limit can be set here: {error.strerror}")
        with contextlib.suppress(OSError):  # a kernel without swap has none
            (group / swap).write_text("0" if is_v2 else str(limit_bytes))
        members = str(group / "cgroup.procs")
        yield lambda: _join(members)
    finally:
        _remove(group)


def _join(members: str) -> None:
    with open(members, "w") as file:
        file.write(str(os.getpid()))


def _remove(group: Path) -> None:
    for _ in range(50):  # a process that ended leaves its group a moment later
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.1)


@contextlib.contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs of a few pages or files on a new folder."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("mount is not installed")
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Write into a folder until its disk is full."""
    with contextlib.suppress(OSError), (folder / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def heed_rights() -> None:
    """Let root's child heed the rights of files, as other users must; called before it runs."""
    if os.getuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in OVERRIDE:
        if libc.prctl(DROP_CAPABILITY, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "can't give up root's rights")


def python_of(version: str) -> str:
    """Return an interpreter of a version, on the path or among pyenv's; skip where none runs."""
    folder = Path.home() / ".pyenv/versions"
    for program in (f"python{version}", *map(str, folder.glob(f"{version}.*/bin/python"))):
        with contextlib.suppress(OSError):
            if (
                subprocess.run([program, "-c", ""], capture_output=True, check=False).returncode
                == 0
            ):
                return program
    pytest.skip(f"there is no Python {version} here")

"""Cores: how they are typed and spelled, and that a pin is read back."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.device.affinity import check_pin, clusters, cores_of, pin, spelled
from edgebench.device.system import compute_cores
from edgebench.errors import UnsupportedError


@pytest.fixture
def unpinned() -> Iterator[frozenset[int]]:
    """Give the cores that this process may use, and give them back to it afterwards."""
    allowed = os.sched_getaffinity(0)
    yield frozenset(allowed)
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), allowed)


@given(st.sets(st.integers(0, 9999), min_size=1, max_size=40))
def test_spelled_cores_are_read_back(cores: set[int]) -> None:
    """What is spelled is what is typed."""
    assert cores_of(spelled(cores)) == cores


def test_pin_takes_and_is_read_back(unpinned: frozenset[int]) -> None:
    """A worker pinned to a core runs there, and computes with as many threads as it has cores."""
    first = min(unpinned)
    pin(str(first))
    assert os.sched_getaffinity(0) == {first}
    assert compute_cores() == 1


def test_thread_that_moves_itself_is_told(unpinned: frozenset[int]) -> None:
    """A runtime's thread that leaves the cores it was given is an error."""
    if len(unpinned) < 2:
        pytest.skip("one core")
    first = min(unpinned)
    pin(str(first))
    moved, end = threading.Event(), threading.Event()

    def other() -> None:
        os.sched_setaffinity(threading.get_native_id(), unpinned - {first})
        moved.set()
        end.wait(20)

    thread = threading.Thread(target=other)
    thread.start()
    moved.wait(20)
    try:
        with pytest.raises(UnsupportedError, match="did not take"):
            check_pin(str(first))
    finally:
        end.set()
        thread.join()
    check_pin("")


@pytest.mark.parametrize(("typed", "words"), [("9999", "no core 9999"), ("3-1", "backwards")])
def test_core_that_is_not_there_is_told(unpinned: frozenset[int], typed: str, words: str) -> None:
    """It names the core, and which may be used."""
    with pytest.raises(UnsupportedError, match=words):
        pin(typed)


def test_clusters_are_told_by_capacity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cores of another capacity are another cluster, the fastest first."""
    monkeypatch.setenv("EDGEBENCH_SYSROOT", str(tmp_path))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert clusters() == ("0-7",)
    for core in range(8):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}"
        folder.mkdir(parents=True)
        (folder / "cpu_capacity").write_text("1024\n" if core > 3 else "512\n")
    assert clusters() == ("4-7", "0-3")

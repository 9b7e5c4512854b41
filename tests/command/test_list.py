"""list: what is here, and removing caches."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.builders import make_run
from support.shell import MakeFake, Shell

from edgebench.run.store import Store


def test_everything_that_is_here_is_listed(edgebench: Shell, fakes: MakeFake) -> None:
    """Artifacts, stored runs and caches, each with size and age, at any width and in JSON."""
    store = Store(edgebench.cwd / "profiles", "cpu")
    store.prepare()
    store.append(make_run())
    fakes("f16")
    fakes("q8_0")
    (edgebench.cwd / "notes.jsonl").write_text('{"not": "a run"}\n')
    (edgebench.cwd / "broken.gguf").write_bytes(b"GGUF and then nothing")
    told = edgebench.json("list", "--json")
    assert {artifact["level"] for artifact in told["artifacts"]} == {"f16", "q8_0"}
    assert [(runs["device"], runs["runs"]) for runs in told["runs"]] == [("cpu", 1)]
    assert any("broken.gguf" in words for words in told["passed_over"])
    shown = edgebench("list").stdout
    assert "profiles/cpu/tiny.jsonl" in shown
    assert "now" in shown


def test_cache_is_removed_by_name(edgebench: Shell) -> None:
    """--clean logs frees what it held, and nothing else; a wrong name says which there are."""
    cache = Path(edgebench.env["XDG_CACHE_HOME"]) / "edgebench"
    for name in ("logs", "tasks"):
        (cache / name).mkdir(parents=True)
        (cache / name / "file").write_bytes(b"x" * 2048)
    refused = edgebench("list", "--clean", "log")
    assert refused.returncode == 2
    assert "did you mean 'logs'?" in refused.stderr
    done = edgebench("list", "--clean", "logs")
    assert done.stdout == "logs: 2.00 KiB freed\n"
    assert not (cache / "logs").exists()
    assert (cache / "tasks" / "file").exists()


def test_cache_that_is_a_link_leaves_its_target(edgebench: Shell, tmp_path: Path) -> None:
    """Only the link goes."""
    cache = Path(edgebench.env["XDG_CACHE_HOME"]) / "edgebench"
    cache.mkdir(parents=True)
    target = tmp_path / "mine"
    target.mkdir()
    (target / "precious").write_text("x")
    (cache / "logs").symlink_to(target)
    assert edgebench("list", "--clean", "all").returncode == 0
    assert (target / "precious").exists()
    assert not (cache / "logs").exists()


@pytest.mark.parametrize("folder", ["missing", "profiles/x"])
def test_folder_that_is_not_there_is_refused(edgebench: Shell, folder: str) -> None:
    """Exit 2 with one line."""
    done = edgebench("list", folder)
    assert done.returncode == 2
    assert "no folder" in done.stderr

"""Fixtures for all floors: a shell in an empty folder, fake artifacts, how long tests may try.

With `pytest -n 2` each of the two takes a core for itself and what it starts: runtimes whose
threads wait for each other would spin. Tests that share what is slow to make stay together.

`EDGEBENCH_LONG=1` lets simulations and property tests try as often as a release wants.
`EDGEBENCH_FAKE_RUNTIME=1`, set here for this process and its children, lets artifacts of the fake
runtime be read and run.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from support.builders import make_artifact
from support.shell import MakeFake, Shell, make_shell

from edgebench.records.base import safe_name

os.environ["EDGEBENCH_FAKE_RUNTIME"] = "1"
settings.register_profile("short", deadline=None, max_examples=30)
settings.register_profile("long", deadline=None, max_examples=500)
settings.load_profile("long" if os.environ.get("EDGEBENCH_LONG") else "short")


def pytest_configure() -> None:
    """Take a core, where several test processes run side by side."""
    name = os.environ.get("PYTEST_XDIST_WORKER", "")
    if name.startswith("gw"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(name[2:]) % len(cores)]})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests of one module of real parts together, and all that use the exported families."""
    for item in items:
        if item.path.parent.name == "real":
            shared = {"families", "checkpoints"} & set(getattr(item, "fixturenames", ()))
            item.add_marker(pytest.mark.xdist_group("families" if shared else item.path.stem))


@pytest.fixture
def edgebench(tmp_path: Path) -> Shell:
    """Run commands in an empty folder, with nothing cached."""
    cwd = tmp_path / "work"
    cwd.mkdir()
    return make_shell(cwd, tmp_path / "home")


@pytest.fixture
def fakes(edgebench: Shell) -> MakeFake:
    """Make fake artifacts below `fakes`, a folder each, with the truth given."""

    def make(level: str, truth: dict[str, Any] | None = None, **changes: Any) -> Path:
        name = safe_name(f"{changes.get('model', 'tiny')}-{level}")
        folder = edgebench.cwd / "fakes" / name
        folder.mkdir(parents=True)
        raw = json.dumps({"decode_s": 2e-4, "prefill_s": 1e-5} | (truth or {})).encode()
        (folder / "truth.json").write_bytes(raw)
        artifact = make_artifact(
            level=level,
            path="truth.json",
            size_bytes=len(raw),
            sha256=hashlib.sha256(raw).hexdigest(),
            **changes,
        )
        (folder / "artifact.json").write_text(artifact.model_dump_json())
        return folder

    return make

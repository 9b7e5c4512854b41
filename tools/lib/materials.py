"""Make what a campaign's mutants start from: tiny models, runs of them, what their workers said.

Knows how each is made with edgebench itself, in a process of its own. Changes nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from lib.attempts import Materials, measured_command
from lib.documents import ROWS, TASKS
from lib.mutants import value_pool
from lib.replayed import Recorded
from lib.tiny_models import write_gguf, write_onnx


def make_materials(folder: Path, seed: int) -> Materials:
    """Make all in a folder; raise RuntimeError where measuring them fails."""
    graph = folder / "onnx"
    graph.mkdir(parents=True)
    write_gguf(folder / "tiny-q8_0.gguf", quantized=True)
    write_gguf(folder / "tiny-f32.gguf", quantized=False)
    write_onnx(graph / "model.onnx")
    for header in (TASKS[0], TASKS[-1]):
        _write_task(folder, header)
    pid = os.fork()
    if pid == 0:  # llama.cpp stays out of this process
        code = 1
        with contextlib.suppress(BaseException):
            code = _measure(folder)
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise RuntimeError(f"the right files can't be measured: {(folder / 'log').read_text()}")
    return Materials(folder, value_pool(seed))


def _write_task(folder: Path, header: dict[str, Any]) -> None:
    """Write a task of twelve rows in a few clusters; now one choice is right, now the other."""
    row, name = ROWS[header["schema"]], header["name"]
    rows = [row | {"id": f"row-{index}", "topic": index % 5} for index in range(12)]
    if "gold" in row:
        rows = [row | {"gold": index % 2} for index, row in enumerate(rows)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    (folder / f"{name}.yaml").write_text(json.dumps(header | {"data": f"{name}.jsonl"}))


def _measure(folder: Path) -> int:
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from edgebench import cli
    from edgebench.cli import places
    from edgebench.run.transports.memory import MemoryTransport
    from edgebench.sources.models import describe_bare, open_gguf
    from edgebench.worker.server import Server

    recorded = Recorded(MemoryTransport(Server))
    places.local_transport = lambda: recorded
    code = cli.run((*measured_command(folder), "--output", str(folder / "runs")))
    with (folder / "store.jsonl").open("wb") as store:
        for path in sorted((folder / "runs").rglob("*.jsonl")):
            with path.open("rb") as runs:
                shutil.copyfileobj(runs, store)
    (folder / "conversations.json").write_text(json.dumps(recorded.workers), encoding="utf-8")
    artifact = describe_bare(open_gguf(folder / "tiny-q8_0.gguf"))
    manifest = artifact.model_copy(update={"path": "model.gguf"})
    (folder / "artifact.json").write_text(manifest.model_dump_json(), encoding="utf-8")
    return code

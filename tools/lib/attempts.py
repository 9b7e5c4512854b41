"""What a campaign tries: for each kind of hostile input, the mutant and the command that reads it.

Knows where each kind is found on disk and which command takes it. An attempt is drawn from its
kind, seed and index alone, so any can be made again. Judges nothing.
"""

from __future__ import annotations

import functools
import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lib import mutants
from lib.documents import REGISTRY, ROWS, TASKS
from lib.real_workers import answered
from lib.replayed import Conversation

DEVICE = ("--device", "cpu")
SHORT = ("--workload", "16+8", "--launches", "1", "--retries", "0", "--tasks", "none")
DRY = (*SHORT, "--dry-run")


@dataclass(frozen=True)
class Materials:
    """The right documents that mutants start from, below one folder; `pool` is of odd values."""

    folder: Path
    pool: Sequence[Any]

    @property
    def model(self) -> Path:
        """A tiny GGUF model."""
        return self.folder / "tiny-q8_0.gguf"

    @property
    def graph(self) -> Path:
        """A folder with a tiny ONNX model."""
        return self.folder / "onnx"

    @property
    def store(self) -> Path:
        """A file of stored runs."""
        return self.folder / "store.jsonl"

    @property
    def conversations(self) -> Path:
        """What a parent and its workers said while those runs were measured."""
        return self.folder / "conversations.json"

    @property
    def workers(self) -> list[Conversation]:
        """Each worker's conversation, as lines."""
        told: list[Conversation] = _documents(self.conversations)[0]
        return told


@dataclass(frozen=True)
class Attempt:
    """A command on a mutant, and what stands for its workers, where that isn't the real server."""

    command: tuple[str, ...]
    workers: Sequence[Conversation] | None = None
    call: Callable[[], bool] | None = None  # instead of a command: whether what was read is right
    in_process: bool = True
    program: Path | None = None  # what is run in place of a worker's own module

    @property
    def is_alone(self) -> bool:
        """Whether all of its time is the parent's own, and none that of a worker it waits for."""
        return self.in_process and not self.call and not self.program


Make = Callable[[random.Random, Path, Materials], Attempt]


def gguf(rng: random.Random, folder: Path, materials: Materials) -> Attempt:
    """Plan a sweep of a GGUF file: numbers of its header overwritten, or bytes."""
    raw = materials.model.read_bytes()
    head = len(raw) // 4  # the metadata; what follows is weights, which nobody reads here
    how = rng.randrange(4)
    if how < 2:
        changed = mutants.mutated_numbers(rng, raw, _gguf_numbers(materials.model))
    elif how == 2:
        changed = mutants.mutated_bytes(rng, raw[:head]) + raw[head:]
    else:
        changed = mutants.mutated_bytes(rng, raw)
    path = folder / "x-q8_0.gguf"
    path.write_bytes(changed)
    return Attempt(("profile", str(path), *DEVICE, *DRY))


def onnx(rng: random.Random, folder: Path, materials: Materials) -> Attempt:
    """Plan a sweep of an ONNX graph: bytes changed, or what it says of its data."""
    shutil.copytree(materials.graph, folder, dirs_exist_ok=True)
    path = folder / "model.onnx"
    raw = path.read_bytes()
    if rng.random() < 0.3:
        old = rng.choice((b"data", b"location", b"offset", b"table", b"MatMul", b"input_ids"))
        new = rng.choice(mutants.TEXTS).encode("utf-8", "surrogatepass")[: len(old)]
        path.write_bytes(raw.replace(old, new.ljust(len(old), b"\0"), rng.choice((1, -1))))
    else:
        path.write_bytes(mutants.mutated_bytes(rng, raw))
    return Attempt(("profile", str(path), *DEVICE, *DRY))


def store(rng: random.Random, folder: Path, materials: Materials) -> Attempt:
    """Compare or pick from stored runs of which one line, or two, is changed."""
    runs = _documents(materials.store)
    lines = [json.dumps(run).encode() for run in runs]
    for index in rng.sample(range(len(lines)), rng.choice((1, 1, 2))):
        lines[index] = mutants.mutated_json(rng, runs[index], materials.pool)
    (folder / "cpu").mkdir()
    (folder / "cpu" / "tiny.jsonl").write_bytes(
        b"\n".join(lines) + b"\n" * rng.choice((0, 1, 1, 1))
    )
    return Attempt(rng.choice(READERS)(str(folder)))


READERS: tuple[Callable[[str], tuple[str, ...]], ...] = (
    lambda path: ("compare", path),
    lambda path: ("compare", path, "--json"),
    lambda path: ("compare", path, "--format", "csv"),
    lambda path: ("compare", path, "--format", "markdown"),
    lambda path: ("compare", path, "--baseline", "f32", *DEVICE),
    lambda path: ("pick", path, *DEVICE, "--min-decode", "10", "--max-memory", "6GiB"),
    lambda path: ("pick", path, *DEVICE, "--max-accuracy-loss", "5%", "--objective", "energy"),
    lambda path: ("pick", path, *DEVICE, "--max-ttft", "2s", "--max-energy", "1J", "--json"),
    lambda path: ("pick", path, *DEVICE, "--objective", "memory"),
)


def artifact(rng: random.Random, folder: Path, materials: Materials) -> Attempt:
    """Plan a sweep of an artifact whose manifest is changed."""
    shutil.copy(materials.model, folder / "model.gguf")
    manifest = _documents(materials.folder / "artifact.json")[0]
    (folder / "artifact.json").write_bytes(mutants.mutated_json(rng, manifest, materials.pool))
    return Attempt(("profile", str(folder), *DEVICE, *DRY))


def task(rng: random.Random, folder: Path, materials: Materials) -> Attempt:
    """Check a task file: its header changed, its rows, or both."""
    header = rng.choice(TASKS)
    rows = [ROWS[header["schema"]] | {"id": f"row-{index}"} for index in range(5)]
    lines = [json.dumps(row).encode() for row in rows]
    what = rng.choice(("header", "header", "rows", "both"))
    if what != "header":
        lines[rng.randrange(5)] = mutants.mutated_json(rng, rows[0], materials.pool)
    raw = json.dumps(header).encode()
    if what != "rows":
        raw = mutants.mutated_yaml(rng, header, materials.pool)
    (folder / "x.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    (folder / "x.yaml").write_bytes(raw)
    if rng.random() < 0.7:
        return Attempt(("tasks", "check", str(folder / "x.yaml"), *rng.choice(((), ("--json",)))))
    typed = ("--workload", "none", "--tasks", str(folder / "x.yaml"), "--dry-run")
    return Attempt(("profile", str(materials.model), *DEVICE, *typed))


def devices(rng: random.Random, folder: Path, materials: Materials) -> Attempt:
    """List the devices of a changed devices.yaml, or plan on one of them."""
    path = folder / "devices.yaml"
    path.write_bytes(mutants.mutated_yaml(rng, REGISTRY, materials.pool))
    if rng.random() < 0.6:
        return Attempt(("devices", "--devices", str(path), *rng.choice(((), ("--json",)))))
    typed = ("--devices", str(path), "--device", rng.choice(("cpu", "bench")), *DRY)
    return Attempt(("profile", str(materials.model), *typed))


def request(rng: random.Random, folder: Path, materials: Materials) -> Attempt:
    """Read a request that was changed under way, as a worker does."""
    from edgebench.records.messages import ProtocolError, read_request, write

    lines = [asked for worker in materials.workers for asked, _ in worker if asked]
    line = mutants.mutated_json(rng, json.loads(rng.choice(lines)), materials.pool)
    (folder / "request.json").write_bytes(line)

    def call() -> bool:
        try:
            message = read_request(line)
        except ProtocolError:
            return False
        return read_request(write(message)) == message or b"nan" in line.lower()

    return Attempt((), call=call)


def reply(rng: random.Random, folder: Path, materials: Materials) -> Attempt:
    """Measure with workers of which one says something else than it did, and compare."""
    workers = [list(worker) for worker in materials.workers]
    for _ in range(rng.choice((1, 1, 2))):
        number = rng.randrange(len(workers))
        index = rng.randrange(len(workers[number]))
        asked, told = materials.workers[number][index]
        changed = mutants.mutated_json(rng, json.loads(told), materials.pool)
        workers[number][index] = (asked, changed.decode("utf-8", "replace"))
    (folder / "conversations.json").write_text(json.dumps(workers), encoding="utf-8")
    where = ("--output", str(folder / "runs"), *rng.choice(((), ("--json",))))
    command = (*_measured(materials.folder), *where)
    return Attempt(command, workers=workers)


def _measured(folder: Path) -> tuple[str, ...]:
    """Return the command whose conversations are recorded, and held again with changes."""
    models = (str(folder / "tiny-f32.gguf"), str(folder / "tiny-q8_0.gguf"))
    tasks = ",".join(str(folder / f"{name}.yaml") for name in ("quiz", "far"))
    typed = ("--workload", "16+8", "--tasks", tasks, "--launches", "3", "--retries", "0")
    return ("profile", *models, *DEVICE, *typed, "--meter", "estimate:15W", "--set", "threads=1")


measured_command = _measured
ONE_THREAD = (*SHORT, "--set", "threads=1", "--meter", "none", "--timeout", "5")


def run_gguf(rng: random.Random, folder: Path, materials: Materials) -> Attempt:
    """Measure a GGUF file whose numbers are changed, with real processes."""
    raw = materials.model.read_bytes()
    path = folder / "x-q8_0.gguf"
    path.write_bytes(mutants.mutated_numbers(rng, raw, _gguf_numbers(materials.model), most=1))
    typed = (*ONE_THREAD, "--output", str(folder / "runs"))
    return Attempt(("profile", str(path), *DEVICE, *typed), in_process=False)


def quantize(rng: random.Random, folder: Path, materials: Materials) -> Attempt:
    """Quantize a GGUF file whose numbers are changed, with real processes."""
    made = run_gguf(rng, folder, materials)
    typed = ("--levels", "q4_0", "--allow-requantize", "--output", str(folder / "made"))
    return Attempt(("quantize", made.command[1], *typed), in_process=False)


def read_store(rng: random.Random, folder: Path, materials: Materials) -> Attempt:
    """Compare or pick in a real process."""
    return replace(store(rng, folder, materials), in_process=False)


def ask_worker(rng: random.Random, folder: Path, materials: Materials) -> Attempt:
    """Send changed requests to a real worker, which answers each or has died of one."""
    lines = [asked for worker in materials.workers for asked, _ in worker if asked]
    sent = [
        mutants.mutated_json(rng, json.loads(rng.choice(lines)), materials.pool).replace(
            b"\n", b" "
        )
        for _ in range(20)
    ]
    (folder / "requests.jsonl").write_bytes(b"\n".join(sent) + b"\n")
    return Attempt((), call=lambda: answered(sent))


ANSWERS = """
import os, sys, time
raw = open({path!r}, "rb").read()
for place in range(0, len(raw), 65536):
    os.write(1, raw[place : place + 65536])
{then}
"""


def hear_worker(rng: random.Random, folder: Path, materials: Materials) -> Attempt:
    """Measure with a program that says something else than a worker, through real pipes."""
    worker = next(worker for worker in materials.workers if len(worker) == 3)
    lines = [told.encode() for _, told in worker]
    how = rng.randrange(4)
    index = rng.randrange(3)
    if how == 0:
        lines[index] = mutants.mutated_bytes(rng, lines[index])
    elif how == 1:
        lines[index] = b"x" * rng.choice((1000, 70_000_000)) + rng.choice((b"", b"\n"))
    elif how == 2:
        lines[index] *= rng.choice((2, 100))
    else:
        lines.insert(index, rng.randbytes(rng.choice((10, 100_000))))
    (folder / "answers").write_bytes(b"".join(lines))
    then = rng.choice(
        ("", "sys.stdin.read()", "sys.exit(3)", "os.abort()", "os.close(1); time.sleep(2)")
    )
    program = folder / "program.py"
    program.write_text(ANSWERS.format(path=str(folder / "answers"), then=then))
    typed = (*SHORT, "--timeout", "2", "--output", str(folder / "runs"))
    return Attempt(("profile", str(materials.model), *DEVICE, *typed), program=program)


KINDS: dict[str, tuple[Make, int]] = {  # how each is made, and how often in a whole campaign
    "gguf": (gguf, 3000),
    "onnx": (onnx, 300),
    "store": (store, 3000),
    "artifact": (artifact, 500),
    "task": (task, 500),
    "devices": (devices, 500),
    "request": (request, 500),
    "reply": (reply, 500),
    "run-gguf": (run_gguf, 60),
    "quantize": (quantize, 20),
    "read-store": (read_store, 20),
    "ask-worker": (ask_worker, 25),
    "hear-worker": (hear_worker, 40),
}


def attempt(kind: str, seed: int, index: int, folder: Path, materials: Materials) -> Attempt:
    """Write a mutant into an empty folder; return what is to be done with it."""
    make, _ = KINDS[kind]
    return make(random.Random(f"{seed} {kind} {index}"), folder, materials)


@functools.cache
def _documents(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@functools.cache
def _gguf_numbers(path: Path) -> list[tuple[int, str]]:
    return mutants.gguf_numbers(path.read_bytes())

"""The index of stored runs: what it says is what the lines say, whatever happened to either."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import make_accuracy, make_artifact, make_run, make_runtime, make_task_run

from edgebench.analyze.rows import Row, summarize, summarize_seen
from edgebench.analyze.setups import placed
from edgebench.records.device import DeviceInfo
from edgebench.records.run import Run, RunError
from edgebench.run import index, indexed
from edgebench.run.heads import Seen, seen_of
from edgebench.run.indexed import ChangedError, read_seen
from edgebench.run.stored import PassedOver, read_runs


@pytest.fixture(autouse=True)
def every_file_is_worth_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Index files of any size, and keep no run at hand."""
    monkeypatch.setattr(indexed, "WORTH_BYTES", 1)
    monkeypatch.setattr(indexed, "HELD_BYTES", 0)


def directly(folder: Path) -> tuple[list[Row], list[str]]:
    """Return the rows of all runs, each read whole, and the words for what was passed over."""
    passed: list[PassedOver] = []
    rows = summarize(read_runs([folder], passed.append))
    return rows, [line.words for line in passed]


def by_index(folder: Path, cache: Path) -> tuple[list[Row], list[str]]:
    """Return the same by heads and indexes."""
    passed: list[PassedOver] = []
    rows = summarize_seen(read_seen([folder], passed.append, cache))
    return rows, [line.words for line in passed]


def some_run(rng: random.Random, number: int) -> Run:
    """Return a run of a small study: speeds and tasks, good, failed, of machines old and new."""
    device = DeviceInfo(
        name=rng.choice(["cpu", "pi"]), cpu="four cores", machine=rng.choice([None, "a", "b"])
    )
    common: dict[str, Any] = {
        "run_id": f"run-{number}",
        "created": rng.choice(
            [f"2026-01-0{rng.randint(1, 9)}T00:00:00Z", "2026-01-05T01:00:00+02:00", "no date"]
        ),
        "artifact": make_artifact(level=rng.choice(["f16", "q4_0"])),
        "device": device,
        "runtime": make_runtime(threads=rng.choice([1, 2])),
    }
    kind = rng.random()
    if kind < 0.2:
        failed = {"status": "oom", "error": RunError(type="OutOfMemory", message="too large")}
        opened = {"runtime": None} if rng.random() < 0.5 else {}
        return make_run(**(common | failed | opened), speed=None, memory=None)
    if kind < 0.6:
        return make_run(**common)
    correct = [rng.random() < 0.5 for _ in range(5)]
    population = rng.choice([None, 50])
    accuracy = make_accuracy(correct, population=population)
    return make_task_run(correct, **common, accuracy=accuracy)


def some_line(rng: random.Random, number: int) -> bytes:
    """Return a line of a store: a run mostly, and what else may stand there."""
    run = some_run(rng, number if rng.random() < 0.9 else rng.randint(0, 3))
    line = run.to_line()
    kind = rng.random()
    if kind < 0.05:
        return line[: rng.randint(1, len(line) - 1)].encode() + b"\n"
    if kind < 0.1:
        return line.replace("edgebench.run/1", "edgebench.run/2").encode() + b"\n"
    if kind < 0.15:
        return rng.choice([b"\n", b"[]\n", b"\xff\xfe\n", b'{"a": 1}\n'])
    return line.encode() + b"\n"


def write_store(folder: Path, rng: random.Random) -> list[Path]:
    """Write a few files of lines, the last of which may be torn."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{name}.jsonl" for name in "abc"]
    for place, path in enumerate(paths):
        lines = [some_line(rng, 100 * place + number) for number in range(rng.randint(0, 12))]
        torn = some_run(rng, 999).to_line().encode()[: rng.choice([0, 40, 100_000])]
        path.write_bytes(b"".join(lines) + torn)
    return paths


@given(seed=st.integers(0, 10**9))
def test_an_index_changes_nothing_that_is_said(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Rows, and what was passed over, are the same: without it, making it, by it, and grown."""
    rng = random.Random(seed)
    folder = tmp_path_factory.mktemp("store")
    cache = folder / "index"
    paths = write_store(folder / "runs", rng)
    expected = directly(folder / "runs")
    for _ in range(2):
        assert by_index(folder / "runs", cache) == expected
    for path in paths:
        with path.open("ab") as file:
            file.write(b"\n" + b"".join(some_line(rng, 500 + place) for place in range(4)))
    expected = directly(folder / "runs")
    for _ in range(2):
        assert by_index(folder / "runs", cache) == expected
    shutil.rmtree(folder)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a folder with a file of four runs of two cases, and a line that is none."""
    folder = tmp_path / "runs"
    folder.mkdir()
    runs = [
        make_run(run_id=f"run-{day}", created=f"2026-01-0{day}T00:00:00Z", wall_s=float(day))
        for day in (1, 2)
    ]
    runs += [
        make_task_run([True, False], run_id=f"task-{day}", created=f"2026-01-0{day}T00:00:00Z")
        for day in (1, 2)
    ]
    lines = [run.to_line() for run in runs]
    (folder / "a.jsonl").write_text("\n".join([*lines[:2], "nonsense", *lines[2:]]) + "\n")
    return folder


def only_index(cache: Path) -> Path:
    """Return the one index that there is."""
    (path,) = cache.iterdir()
    return path


def test_only_what_counts_is_read_again(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an index, lines are parsed of the newest run of each case alone."""
    cache = tmp_path / "index"
    expected = by_index(store, cache)
    parsed: list[bytes] = []
    whole = indexed.run_of

    def counted(raw: bytes, without: Any = ()) -> Run:
        parsed.append(raw)
        return whole(raw, without)

    monkeypatch.setattr(indexed, "run_of", counted)
    monkeypatch.setattr(indexed, "run_or_told", lambda *_: pytest.fail("a line was read again"))
    assert by_index(store, cache) == expected
    assert sorted(json.loads(raw)["run_id"] for raw in parsed) == ["run-2", "task-2"]


def test_an_index_is_its_owners_alone_and_may_go(store: Path, tmp_path: Path) -> None:
    """No other user may read it; without it, or where none can be written, nothing changes."""
    cache = tmp_path / "index"
    expected = by_index(store, cache)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert only_index(cache).stat().st_mode & 0o777 == 0o600
    shutil.rmtree(cache)
    assert by_index(store, cache) == expected
    shutil.rmtree(cache)
    cache.write_text("a file stands there")
    assert by_index(store, cache) == expected


def rewritten(path: Path, change: Any) -> None:
    """Change an index and sum it up again, as one who means harm would."""
    told = json.loads(path.read_bytes()[index.SUM_BYTES :])
    change(told)
    body = json.dumps(told).encode()
    path.write_bytes(index._sum(body) + body)


HARM = {
    "no columns": lambda told: told["runs"].clear(),
    "a column too short": lambda told: told["runs"]["offset"].pop(),
    "no such head": lambda told: told["runs"].update(head=[99] * 4),
    "beyond the end": lambda told: told.update(end=10**12),
    "negative": lambda told: told["runs"].update(offset=[-1] * 4),
    "other rules": lambda told: told.update(rules="0"),
    "another file": lambda told: told["file"].update(inode=1),
    "a head of nonsense": lambda told: told["heads"][0].update(status="fine"),
    "too few figures": lambda told: told["runs"]["figures"].pop(),
    "a fault of nonsense": lambda told: told.update(faults=[["x", 1]]),
}


@pytest.mark.parametrize("harm", HARM)
def test_an_index_that_is_wrong_is_made_again(store: Path, tmp_path: Path, harm: str) -> None:
    """Whatever stands in it, it can't make reading fail or say another thing."""
    cache = tmp_path / "index"
    expected = by_index(store, cache)
    rewritten(only_index(cache), HARM[harm])
    assert by_index(store, cache) == expected


@pytest.mark.parametrize("place", [0, 10, 70, -1])
def test_a_flipped_byte_is_noticed(store: Path, tmp_path: Path, place: int) -> None:
    """Its sum holds no more, and it is made again; so is one that was cut off or is empty."""
    cache = tmp_path / "index"
    expected = by_index(store, cache)
    raw = bytearray(only_index(cache).read_bytes())
    raw[place] ^= 1
    for broken in (bytes(raw), bytes(raw[:50]), b""):
        only_index(cache).write_bytes(broken)
        assert by_index(store, cache) == expected


def test_what_an_index_says_of_a_line_is_checked(store: Path, tmp_path: Path) -> None:
    """One that names another line, or another run there, is dropped where that is read."""
    cache = tmp_path / "index"
    expected = by_index(store, cache)

    def swap(told: dict[str, Any]) -> None:
        for name in ("offset", "size"):
            told["runs"][name] = told["runs"][name][::-1]

    rewritten(only_index(cache), swap)
    with pytest.raises(ChangedError):
        by_index(store, cache)
    assert by_index(store, cache) == expected


def test_a_file_that_was_written_anew_is_read_anew(store: Path, tmp_path: Path) -> None:
    """Of the same size, shorter, in its middle with a longer end, or another of its name."""
    cache = tmp_path / "index"
    path = store / "a.jsonl"
    by_index(store, cache)
    changed = path.read_bytes().replace(b'"wall_s":2.0', b'"wall_s":9.0')
    with path.open("r+b") as file:
        file.write(changed)
    assert by_index(store, cache) == directly(store)
    lines = path.read_bytes().splitlines(keepends=True)
    with path.open("r+b") as file:
        file.write(lines[0])
        file.truncate()
    assert by_index(store, cache) == directly(store)
    path.write_bytes(lines[3] + lines[0] + lines[1])
    assert by_index(store, cache) == directly(store)
    other = store / "other"
    other.write_bytes(lines[1] * 2)
    os.replace(other, path)
    assert by_index(store, cache) == directly(store)


def test_a_torn_end_is_told_until_it_is_set_aside(store: Path, tmp_path: Path) -> None:
    """It is in no index: cut off and replaced by a run, the run counts."""
    cache = tmp_path / "index"
    path = store / "a.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"schema":"edgebench.run/1","run_id":"to' * 40)
    for _ in range(2):
        rows, told = by_index(store, cache)
        assert "not finished" in told[-1]
    assert rows == directly(store)[0]
    line = make_run(run_id="new", created="2026-02-01T00:00:00Z", speed=None, memory=None)
    with path.open("r+b") as file:
        file.truncate(len(whole))
        file.seek(len(whole))
        file.write(line.to_line().encode() + b"\n")
    assert by_index(store, cache) == directly(store)


def test_the_same_two_readers_at_once_leave_one_index(store: Path, tmp_path: Path) -> None:
    """Each writes its own file and puts it there whole; nothing else is left."""
    cache = tmp_path / "index"
    before = read_seen([store], repr, cache)
    shutil.rmtree(cache)
    readers = [indexed._seen_in(store / "a.jsonl", indexed.Reading(repr, cache)) for _ in range(2)]
    told = list(zip(*readers, strict=True))
    assert [seen.run_id for seen, _ in told] == [seen.run_id for seen in before]
    assert only_index(cache).suffix == ".json"
    assert by_index(store, cache) == directly(store)


def nearest_of_all(run: Seen, others: list[Seen]) -> Seen:
    """Return the first of the runs that are nearest in time, by looking at each."""
    return min(others, key=lambda other: abs(other.moment - run.moment))


@given(seed=st.integers(0, 10**9))
def test_a_run_that_failed_early_stands_with_the_nearest_in_time(seed: int) -> None:
    """A search in order finds what looking at every run does."""
    rng = random.Random(seed)
    runs = [some_run(rng, number) for number in range(20)]
    told = placed(seen_of(runs))
    ordered = [held.seen for held in told]
    for held in told:
        mine = held.head
        if mine.runtime is not None:
            continue
        device = mine.device
        alike = [
            other
            for other in ordered
            if other.head.runtime is not None
            and other.head.device.name == device.name
            and (
                device.machine is None
                or other.head.device.machine is None
                or device.machine == other.head.device.machine
            )
        ]
        if alike:
            threads = nearest_of_all(held.seen, alike).head.runtime
            assert threads is not None
            expected = "1 thread" if threads.threads == 1 else f"{threads.threads} threads"
            assert held.setup.settings == expected

"""compare, pick and devices through the whole command, on runs that were measured or made up."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pytest
from support.builders import make_artifact, make_run, make_speed, make_task_run
from support.shell import MakeFake, Shell

from edgebench.run.store import Store

STORED = Path(__file__).resolve().parents[1] / "data" / "runs-0.1.0.jsonl"
SPEED = ("--workload", "16+4", "--launches", "3", "--retries", "0")


def test_compare_in_every_format(edgebench: Shell, fakes: MakeFake) -> None:
    """Table, Markdown, CSV and JSON hold the same levels."""
    fakes("f16", bits_per_weight=16.0)
    fakes("q8_0", {"seed": 2})
    edgebench.json("profile", "fakes", "--device", "cpu", *SPEED, "--json")
    table = edgebench("compare").stdout
    assert "baseline" in table
    markdown = edgebench("compare", "--format", "markdown").stdout
    bars = [line.count("|") for line in markdown.splitlines() if "|" in line]
    assert len(bars) == 4
    assert len(set(bars)) == 1
    rows = list(csv.DictReader(io.StringIO(edgebench("compare", "--format", "csv").stdout)))
    assert [row["level"] for row in rows] == ["f16", "q8_0"]
    printed = edgebench.json("compare", "--json")
    assert [row["level"] for row in printed["rows"]] == ["f16", "q8_0"]
    assert set(printed) == {"rows", "grouped", "passed_over"}
    assert printed["passed_over"] == {"count": 0, "first": []}


@pytest.fixture
def levels(edgebench: Shell) -> Shell:
    """Store made up runs: f16 decodes 10 tokens a second, q8_0 900; both answer all but alike."""
    store = Store(edgebench.cwd / "profiles", "cpu")
    store.prepare()
    for level, decode, wrong in (("f16", 10.0, 30), ("q8_0", 900.0, 31)):
        artifact = make_artifact(level=level, bits_per_weight=16.0 if level == "f16" else 8.5)
        speed = make_speed(decode, margin=decode / 50)
        store.append(make_run(run_id=f"speed {level}", artifact=artifact, speed=speed))
        answers = [index >= wrong for index in range(300)]
        store.append(make_task_run(answers, run_id=f"task {level}", artifact=artifact))
    return edgebench


def test_pick_has_a_code_for_each_decision(levels: Shell) -> None:
    """0 where one is picked, 5 where nothing fits, 6 where the evidence does not decide."""
    typed = ("pick", "--device", "cpu")
    decision = levels.json(*typed, "--min-decode", "150", "--json")
    assert decision["decision"] == "picked"
    assert decision["artifact"].endswith("q8_0")
    assert decision["rejected"][0]["constraint"] == "min-decode"
    none = levels(*typed, "--min-decode", "1e6")
    assert (none.returncode, none.stdout.splitlines()[0][:12]) == (5, "Nothing fits")
    undecided = levels(*typed, "--min-decode", "150", "--max-accuracy-loss", "0.1%")
    assert undecided.returncode == 6
    assert "items" in undecided.stdout


# lines that are no runs

DIGITS = b'{"wall_s": 1' + b"0" * 400 + b"}"
BAD = (b"{", b"\xff", b'{"schema": "edgebench.run/2"}', b"[" * 5000, DIGITS)


@pytest.fixture
def marred(levels: Shell) -> Shell:
    """Put five bad lines between the good ones."""
    (path,) = levels.cwd.glob("profiles/cpu/*.jsonl")
    first, *rest = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([first, *BAD, *rest]) + b"\n")
    return levels


@pytest.mark.parametrize("layout", ["table", "markdown", "csv", "json"])
def test_bad_lines_are_named_and_the_others_compared(marred: Shell, layout: str) -> None:
    """The first three with file, line and fault, then how many more; stdout is as without them."""
    done = marred("compare", "--format", layout)
    assert done.returncode == 0
    assert "q8_0" in done.stdout
    told = done.stderr.splitlines()
    assert [line.split(": ")[0] for line in told] == ["passed over"] * 4
    assert [f"line {number}:" in line for number, line in zip((2, 3, 4), told, strict=False)] == [
        True
    ] * 3
    assert "2 more" in told[3]


def test_bad_lines_stand_in_json(marred: Shell) -> None:
    """Count, file, line and fault, of compare and pick alike."""
    picked = marred.json("pick", "--device", "cpu", "--min-decode", "150", "--json")
    compared = marred.json("compare", "--json")
    assert picked["decision"] == "picked"
    assert picked["passed_over"] == compared["passed_over"]
    assert picked["passed_over"]["count"] == 5
    assert [line["line"] for line in picked["passed_over"]["first"]] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("command", [["compare"], ["pick", "--device", "cpu"]], ids=lambda c: c[0])
def test_bad_lines_are_an_error_where_that_is_asked_for(marred: Shell, command: list[str]) -> None:
    """--strict: exit 4 and nothing on stdout."""
    done = marred(*command, "--strict")
    assert done.returncode == 4
    assert done.stdout == ""
    assert "5 lines or files can't be read" in done.stderr


def test_strict_says_nothing_where_all_is_well(levels: Shell) -> None:
    """A store without a bad line is judged as ever."""
    done = levels("compare", "--strict")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_store_of_bad_lines_alone_is_a_bad_file(edgebench: Shell) -> None:
    """Exit 4, and what stands there is named."""
    (edgebench.cwd / "x.jsonl").write_bytes(b"not a run\n")
    os.mkfifo(edgebench.cwd / "fifo.jsonl")
    for name in ("x.jsonl", "fifo.jsonl"):
        done = edgebench("compare", name)
        assert done.returncode == 4, done.stderr
        assert name in done.stderr
        assert "fault of edgebench" not in done.stderr


def test_a_file_whose_name_is_no_text_is_read(levels: Shell) -> None:
    """Its runs count, and its bad lines are named."""
    (path,) = levels.cwd.glob("profiles/cpu/*.jsonl")
    other = Path(os.fsdecode(os.fsencode(path.parent) + b"/m\xff.jsonl"))
    path.rename(other)
    with other.open("ab") as file:
        file.write(b"{\n")
    done = levels("compare")
    assert done.returncode == 0
    assert r"m\xff.jsonl, line 5" in done.stderr
    assert levels.json("compare", "--json")["passed_over"]["count"] == 1


def test_devices_says_which_one_this_is(edgebench: Shell) -> None:
    """The list marks this machine; JSON names it."""
    printed = edgebench.json("devices", "--json")
    assert printed["here"] in [device["name"] for device in printed["devices"]]
    assert "(here)" in edgebench("devices").stdout


def test_devices_check_says_what_to_do(edgebench: Shell) -> None:
    """Each line is ok, a warning or a failure; the code follows the worst."""
    done = edgebench("devices", "check", "cpu")
    words = {line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")}
    assert words <= {"ok", "warning", "failure"}
    assert words
    assert done.returncode == int("failure" in words)


def test_runs_of_0_1_0_are_compared_for_ever(edgebench: Shell) -> None:
    """A file that the first version stored gives its table; its speed has no interval."""
    rows = edgebench.json("compare", str(STORED), "--json")["rows"]
    speeds = [row["speed"]["decode"] for row in rows if row["speed"]]
    assert {row["level"] for row in rows} == {"f16", "q8_0", "q4_0"}
    assert [(speed["low"], speed["high"], speed["n"]) for speed in speeds] == [(None, None, 1)] * 2
    for layout in ("table", "markdown", "csv"):
        done = edgebench("compare", str(STORED), "--format", layout)
        assert done.returncode == 0, done.stderr
        assert "q8_0" in done.stdout


def test_runs_of_0_1_0_are_picked_from_for_ever(edgebench: Shell) -> None:
    """A single launch decides no constraint on speed; one on accuracy is judged as ever."""
    typed = ("pick", str(STORED), "--device", "cpu", "--json")
    decision = edgebench.json(*typed, "--min-decode", "1", code=6)
    assert decision["decision"] == "undecided"
    assert "q4_0" in str(decision["rejected"])
    edgebench.json(*typed, "--max-accuracy-loss", "50%", "--objective", "accuracy")

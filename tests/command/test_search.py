"""profile as a search: workloads and settings as axes, sustained load, where the time went."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.boards import copy_board
from support.shell import MakeFake, Shell, error_of

from edgebench.records.run import Run

AXES = (
    *("profile", "fakes", "--device", "cpu", "--workload", "16+4,32+8", "--tasks", "none"),
    *("--launches", "3", "--retries", "0", "--set", "threads=1,2", "--set", "kv_type=f16,q8_0"),
)
SUSTAINED = (
    *("profile", "fakes", "--device", "cpu", "--workload", "sustained", "--tasks", "none"),
    *("--meter", "none", "--minutes", "0.025"),
)


def axes_of(run: Run) -> tuple[str, int, str]:
    """Return a run's place in the search."""
    assert run.workload
    return run.workload.name, run.settings.threads, run.settings.kv_type


def test_every_combination_is_measured_once_and_resumed(edgebench: Shell, fakes: MakeFake) -> None:
    """Two workloads by two by two settings: eight cases; only the one that is lost comes again."""
    fakes("f16")
    done = edgebench(*AXES, "--timing")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("f16 16+4 threads=2, kv_type=q8_0 ") == 2  # its end, its time
    stored = edgebench.stored()
    assert Counter(axes_of(run) for run in stored) == {
        (name, threads, kv): 1
        for name in ("16+4", "32+8")
        for threads in (1, 2)
        for kv in ("f16", "q8_0")
    }
    assert len({run.case_id for run in stored}) == 8
    path = edgebench.cwd / "profiles" / "cpu" / "tiny.jsonl"
    lost, *others = path.read_text().splitlines()
    path.write_text("\n".join(others) + "\n")
    again = edgebench(*AXES)
    assert "7 cases stored already" in again.stderr
    new = edgebench.stored()[7:]
    assert [run.case_id for run in new] == [Run.model_validate_json(lost).case_id]


def test_settings_stand_in_the_table_and_in_the_pick(edgebench: Shell, fakes: MakeFake) -> None:
    """Each choice is a row of its workload's table; the pick names the winner's."""
    fakes("f16", {"decode_s": 1e-3})
    done = edgebench(*AXES, "--launches", "5")
    words = " ".join(done.stdout.split())
    for used in ("1 thread", "2 threads", "kv_type=q8_0"):
        assert used in words
    rows = edgebench.json("compare", "--json")["rows"]
    assert Counter(row["workload"]["name"] for row in rows) == {"16+4": 4, "32+8": 4}
    assert len({row["used"] for row in rows}) == 4
    picked = edgebench.json(
        *("pick", "--device", "cpu", "--workload", "16+4", "--min-decode", "10", "--json")
    )
    assert picked["winner"]["settings"]["threads"] in (1, 2)
    assert picked["winner"]["settings"]["kv_type"] in ("f16", "q8_0")
    told = edgebench("pick", "--device", "cpu", "--workload", "16+4", "--min-decode", "10").stdout
    assert "thread" in told


@pytest.fixture
def orange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a copy of an Orange Pi 5's tree, four big cores and four small, this machine's root."""
    root = copy_board("orange-pi-5", tmp_path)
    monkeypatch.setenv("EDGEBENCH_SYSROOT", str(root))
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr("os.sched_setaffinity", lambda process, cores: None)
    return root


def test_auto_tries_a_boards_clusters_and_says_where_a_pin_did_not_take(
    orange: Path, edgebench: Shell, fakes: MakeFake
) -> None:
    """Big, small and all cores, a case each; here no pin takes, and each that needs one says so."""
    fakes("f16")
    planned = edgebench.json(*AXES[:8], "--set", "cores=auto", "--dry-run", "--json")["cases"]
    cores = [case["settings"]["cores"] for case in planned if case["work"] == "16+4"]
    assert cores == ["4-7", "0-3", "4-7+0-3"]
    done = edgebench(*AXES[:8], "--launches", "1", "--set", "cores=auto")
    assert done.returncode == 1
    statuses = {run.settings.cores: run.status for run in edgebench.stored()}
    assert statuses == {"4-7": "unsupported", "0-3": "unsupported", "4-7+0-3": "ok"}
    assert "cores=4-7 did not take: a thread runs on 0-7" in done.stderr


@pytest.fixture
def unpinned() -> Iterator[None]:
    """Give this process, in which workers are pinned, its cores back."""
    allowed = os.sched_getaffinity(0)
    yield
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), allowed)


@pytest.mark.usefixtures("unpinned")
def test_core_that_is_not_there_is_its_cases_alone(edgebench: Shell, fakes: MakeFake) -> None:
    """`unsupported` with the reason; the case beside it is measured."""
    fakes("f16")
    core = str(min(os.sched_getaffinity(0)))
    runs = edgebench.json(
        *AXES[:8], "--launches", "1", "--set", f"cores={core},4000", "--json", code=1
    )["runs"]
    told = {run["settings"]["cores"]: run["status"] for run in runs}
    assert told == {core: "ok", "4000": "unsupported"}
    failed = next(run for run in runs if run["status"] == "unsupported")
    assert "no core 4000 may be used here" in failed["error"]["message"]


def test_sustained_load_that_grows_hot_is_said_to_fall(edgebench: Shell, fakes: MakeFake) -> None:
    """A token takes longer after 0.8 s: the fall, its time and the end, in words and JSON."""
    fakes("f16", {"decode_s": 1e-4, "prefill_s": 1e-6, "hot_after_s": 0.8, "slower": 4.0})
    speed = edgebench.json(*SUSTAINED, "--json")["runs"][0]["speed"]
    (launch,) = speed["launches"]
    assert len(launch["at_s"]) == len(launch["decode_s"]) == speed["sustained"]["trials"]
    assert launch["at_s"] == sorted(launch["at_s"])
    assert launch["at_s"][-1] < 1.5 <= launch["at_s"][-1] + 1.0
    assert len(launch["course"]) >= 5
    went = speed["sustained"]
    assert went["end_tokens_per_s"] < 0.7 * went["start_tokens_per_s"]
    assert 0.3 < went["onset_s"] < 1.2
    table = " ".join(edgebench("compare").stdout.split())
    assert "f16: falls from " in table
    assert "--launches 5" not in table
    row = edgebench.json("compare", "--json")["rows"][0]
    assert row["speed"]["sustained"] == went
    open_ = edgebench("pick", "--device", "cpu", "--min-decode", "10")
    assert open_.returncode == 6
    assert "sustained load is one launch" in " ".join(open_.stdout.split())
    assert "--launches" not in open_.stdout


def test_sustained_and_chat_stand_in_tables_of_their_own(edgebench: Shell, fakes: MakeFake) -> None:
    """As long a prompt, another measurement; a second call finds both stored."""
    fakes("f16", {"decode_s": 2e-5, "prefill_s": 1e-7})
    typed = [word.replace("sustained", "chat,sustained") for word in SUSTAINED]
    assert edgebench(*typed, "--launches", "1").returncode == 0
    assert "2 cases stored already" in edgebench(*typed, "--launches", "1").stderr
    groups = edgebench.json("compare", "--json")["grouped"]
    assert len(groups) == 2


def test_minutes_without_sustained_are_refused(edgebench: Shell, fakes: MakeFake) -> None:
    """One line, exit 2, and what to type."""
    fakes("f16")
    done = edgebench(*AXES, "--minutes", "2")
    assert done.returncode == 2
    assert "--minutes is how long the workload sustained goes on" in error_of(done)


def test_where_the_time_went_is_told_case_by_case(edgebench: Shell, fakes: MakeFake) -> None:
    """Trials of a known length are the measuring; all parts and the rest make the whole."""
    fakes("f16", {"decode_s": 5e-3})
    typed = ("profile", "fakes", "--device", "cpu", "--workload", "16+4", "--launches", "2")
    done = edgebench(*typed, "--retries", "0", "--timing", "--json")
    speed, items = json.loads(done.stdout)["timing"]
    assert (speed["case"], items["case"]) == ("f16 16+4", "f16 basics")
    assert 2 * 4 * 5e-3 <= speed["trials_s"] < speed["wall_s"]
    assert speed["warm_up_s"] >= 2 * 3 * 4 * 5e-3
    assert (speed["answers_s"], items["trials_s"]) == (0, 0)
    assert items["answers_s"] > 0
    for case in (speed, items):
        parts = [value for name, value in case.items() if name not in ("case", "wall_s")]
        assert sum(parts) == pytest.approx(case["wall_s"], rel=1e-6)
    header, *lines = done.stderr.splitlines()[-4:]
    assert header.startswith("Seconds went into")
    assert "measure" in header
    assert [line.split()[0] for line in lines] == ["f16", "f16", "all"]
    assert "Seconds went into" in edgebench(*typed, "--timing").stderr


def test_dry_run_is_within_a_factor_of_two_of_what_it_then_takes(
    edgebench: Shell, fakes: MakeFake
) -> None:
    """Once a level is stored, another one's time is foretold by it: here 32 tokens of 4 ms each."""
    truth = {"decode_s": 4e-3, "prefill_s": 1e-4}
    typed = (*AXES[:4], "--workload", "64+32", "--retries", "0", "--launches", "2")
    fakes("f16", truth)
    edgebench.json(*typed, "--json")
    fakes("q8_0", truth | {"seed": 1})
    planned = edgebench.json(*typed, "--dry-run", "--json")["cases"]
    expected = sum(case["estimate_s"] for case in planned if not case["stored"])
    runs = edgebench.json(*typed, "--json")["runs"]
    took = sum(run["wall_s"] for run in runs if run["artifact"]["level"] == "q8_0")
    assert took / 2 < expected < took * 2


def test_case_that_goes_on_keeps_the_time_of_its_earlier_launches(
    edgebench: Shell, fakes: MakeFake
) -> None:
    """Two launches, then four: the plan counts two, and the run has the time of all."""
    fakes("f16", {"decode_s": 5e-3})
    typed = (*AXES[:4], "--workload", "16+4", "--tasks", "none", "--retries", "0")
    (first,) = edgebench.json(*typed, "--launches", "2", "--json")["runs"]
    planned = edgebench(*typed, "--launches", "4", "--dry-run").stdout
    assert "2 launches stored already" in planned
    assert "2 launches of a worker" in planned
    (run,) = edgebench.json(*typed, "--launches", "4", "--json")["runs"]
    assert len(run["speed"]["launches"]) == 4
    assert run["timing"]["trials_s"] >= first["timing"]["trials_s"] + 2 * 4 * 5e-3
    assert run["wall_s"] > first["wall_s"]

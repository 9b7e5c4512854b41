"""compare: devices side by side, changes in time, and documents for elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from support.builders import make_artifact, make_launch, make_run, make_speed, make_task_run
from support.shell import Shell

from edgebench.records.device import DeviceInfo
from edgebench.records.run import Run
from edgebench.run.store import Store

RATES = {"f16": 10.0, "q4_0": 30.0}
GOOD, WORSE = [True] * 200 + [False] * 100, [True] * 185 + [False] * 115


def study(device: str, times: float, created: str = "2026-01-01T00:00:00Z") -> list[Run]:
    """Return the runs of two models' two levels on a device that is `times` as fast."""
    machine = DeviceInfo(name=device, board=device, cpu=f"{device}, 4 cores", machine=device)
    runs = []
    for model in ("tiny", "other"):
        for level, rate in RATES.items():
            artifact = make_artifact(
                model=model, level=level, bits_per_weight=16.0 if level == "f16" else 4.5
            )
            launches = [
                make_launch(f"round {index}", times * rate * (1 + index / 1000))
                for index in range(5)
            ]
            common = {"artifact": artifact, "device": machine, "created": created}
            name = f"{device}-{model}-{level}-{created}"
            speed = make_speed(times * rate, launches=launches)
            answers = GOOD if level == "f16" else WORSE
            runs += [
                make_run(run_id=f"{name}-speed", speed=speed, **common),
                make_task_run(answers, run_id=f"{name}-task", **common),
            ]
    return runs


def store(folder: Path, runs: list[Run]) -> None:
    """Write runs as profile does."""
    for run in runs:
        place = Store(folder, run.device.name)
        place.prepare()
        place.append(run)


def test_two_models_stand_in_one_table(edgebench: Shell) -> None:
    """Each model is held against its own reference; --against holds all against one artifact."""
    store(edgebench.cwd / "profiles", study("cpu", 1.0))
    told = edgebench.json("compare", "--json")
    (group,) = told["grouped"]
    assert set(group["models"]) == {"tiny", "other"}
    baselines = {row["artifact"]["name"]: row["baseline"] for row in told["rows"]}
    assert baselines["tiny-q4_0"] == "tiny-f16"
    assert baselines["other-q4_0"] == "other-f16"
    told = edgebench.json("compare", "--json", "--against", "other-f16")
    assert {row["baseline"] for row in told["rows"]} == {"other-f16"}
    refused = edgebench("compare", "--against", "other-f61")
    assert refused.returncode == 2
    assert "other-f16" in refused.stderr


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_devices_stand_side_by_side_at_any_width(
    edgebench: Shell, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line an artifact, a column a board; nothing is cut, what has no room is named."""
    store(edgebench.cwd / "profiles", [*study("cpu", 1.0), *study("jetson-nano", 4.0)])
    monkeypatch.setenv("COLUMNS", str(width))
    done = edgebench("compare", "--device", "cpu", "--device", "jetson-nano")
    assert done.returncode == 0
    assert "2 devices side by side" in done.stdout
    assert "jetson-nano generates 4.0 times as fast as cpu" in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= width
    assert "…" not in done.stdout
    assert re.search(r"\b12\d\b", done.stdout)


def test_regression_fails_a_job(edgebench: Shell) -> None:
    """Slower by 20 % than the runs of a folder: exit 1 with the option, 0 without."""
    store(edgebench.cwd / "before", study("cpu", 1.0))
    store(edgebench.cwd / "profiles", study("cpu", 0.8))
    plain = edgebench("compare", "--against", "before")
    assert plain.returncode == 0
    assert "4 slower" in plain.stdout
    failed = edgebench("compare", "--against", "before", "--fail-on-regression", "5%")
    assert failed.returncode == 1
    assert "regressions of more than 5 %" in failed.stdout
    told = json.loads(
        edgebench("compare", "--against", "before", "--fail-on-regression", "5%", "--json").stdout
    )
    assert {change["figure"] for change in told["regressions"]} >= {"decode"}
    back = edgebench("compare", "before", "--against", "profiles", "--fail-on-regression", "5%")
    assert back.returncode == 0


def test_since_parts_one_store_in_time(edgebench: Shell) -> None:
    """Runs of the last week are held against those before it."""
    store(edgebench.cwd / "profiles", study("cpu", 1.0, created="2020-01-01T00:00:00Z"))
    store(edgebench.cwd / "profiles", study("cpu", 0.5, created="2999-01-01T00:00:00Z"))
    done = edgebench("compare", "--since", "7d", "--fail-on-regression", "5%")
    assert done.returncode == 1
    assert "2020-01-01 to 2999-01-01" in done.stdout


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("--fail-on-regression", "5%"), "needs earlier runs"),
        (("--since", "7"), "time span"),
        (("--since", "7d", "--against", "profiles"), "type one"),
        (("--against", "nowhere"), "no good run of an artifact 'nowhere'"),
        (("--output", "missing/x.md"), "can't write missing/x.md"),
    ],
)
def test_bad_input_is_one_line(edgebench: Shell, typed: tuple[str, ...], words: str) -> None:
    """Exit 2, what is wrong, and what to type."""
    store(edgebench.cwd / "profiles", study("cpu", 1.0))
    done = edgebench("compare", *typed)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_model_card_is_read_by_the_hub_s_own_code(edgebench: Shell) -> None:
    """Its front matter holds results that huggingface_hub reads; names that are code are text."""
    from huggingface_hub.repocard_data import model_index_to_eval_results

    store(edgebench.cwd / "profiles", study("cpu", 1.0))
    done = edgebench("compare", "--format", "model-card", "--output", "README.md")
    assert done.returncode == 0
    text = (edgebench.cwd / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    for index in front["model-index"]:
        name, results = model_index_to_eval_results([index])
        assert name in ("tiny", "other")
        assert {result.metric_type for result in results} >= {"decode_tokens_per_s", "acc_norm"}


def test_statistics_stand_behind_explain(edgebench: Shell) -> None:
    """A verdict first; how differences are paired and what would decide comes on request."""
    store(edgebench.cwd / "profiles", study("cpu", 1.0))
    brief, full = edgebench("compare").stdout, edgebench("compare", "--explain").stdout
    assert "tiny q4_0 is 3.0 times as fast as f16" in brief
    assert "paired on the same items" not in brief
    assert "paired on the same items" in " ".join(full.split())


def test_runs_that_came_with_the_project_are_named_to_be_read(edgebench: Shell) -> None:
    """Examples stand apart from one's own runs, and are read where they are named."""
    store(edgebench.cwd / "profiles" / "examples", study("jetson-nano", 4.0))
    refused = edgebench("compare")
    assert refused.returncode == 2
    assert "edgebench profile --device cpu" in refused.stderr
    assert edgebench("compare", "profiles/examples").returncode == 0
    store(edgebench.cwd / "profiles", study("cpu", 1.0))
    told = edgebench.json("compare", "--json")
    assert {row["device"]["name"] for row in told["rows"]} == {"cpu"}

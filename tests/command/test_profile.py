"""profile through the whole command: figures, tables, what is stored, resumed and only planned."""

from __future__ import annotations

import json

import jsonschema
import pytest
from support.shell import MakeFake, Shell

SPEED = ("--workload", "16+4", "--tasks", "none", "--launches", "3", "--retries", "0")
BOTH = ("--device", "cpu", "--workload", "16+4", "--launches", "3", "--retries", "0")


def test_profile_measures_compares_and_says_what_is_next(edgebench: Shell, fakes: MakeFake) -> None:
    """Two levels, speed and accuracy: a table within 80 columns and one line to type next."""
    fakes("f16", {"decode_s": 2e-3}, bits_per_weight=16.0)
    fakes("q8_0", {"seed": 2})
    done = edgebench("profile", "fakes", *BOTH)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    for word in ("f16", "q8_0", "prefill", "Energy: none:", "basics"):
        assert word in done.stdout
    following = done.stdout.splitlines()[-1]
    assert following.startswith("Next: edgebench pick --device cpu ")
    picked = edgebench(*following.removeprefix("Next: edgebench ").split())
    assert picked.returncode in (0, 5, 6), picked.stderr


def test_figures_recover_what_the_fake_model_states(edgebench: Shell, fakes: MakeFake) -> None:
    """A model that takes 4 ms a token never decodes more than 250 tokens a second."""
    fakes("q8_0", {"decode_s": 4e-3})
    speed = edgebench.profile(*SPEED, "--repetitions", "2")["q8_0"].speed
    assert speed
    estimate = speed.decode.tokens_per_s
    assert 0 < estimate.value <= 250
    assert estimate.bounds
    assert estimate.bounds.low <= estimate.value <= estimate.bounds.high
    assert estimate.n == len(speed.launches) == 3
    assert [len(launch.decode_s) for launch in speed.launches] == [2, 2, 2]
    assert speed.token_latency_s.p50 >= 4e-3
    assert speed.decode_from == 16


def test_two_launches_have_no_interval(edgebench: Shell, fakes: MakeFake) -> None:
    """The value is there and its interval is not: it isn't taken out of the air."""
    fakes("q8_0")
    speed = edgebench.profile(*SPEED, "--launches", "2")["q8_0"].speed
    assert speed
    assert speed.decode.tokens_per_s.value > 0
    assert (speed.decode.tokens_per_s.low, speed.decode.tokens_per_s.high) == (None, None)


def test_levels_take_turns_in_every_round(edgebench: Shell, fakes: MakeFake) -> None:
    """Launches of two levels share their rounds, by which they are paired; turns differ."""
    fakes("f16")
    fakes("q8_0")
    runs = edgebench.profile(*SPEED)
    launches = [run.speed.launches for run in runs.values() if run.speed]
    assert [launch.round for launch in launches[0]] == [launch.round for launch in launches[1]]
    assert len({launch.round for launch in launches[0]}) == 3
    for first, second in zip(*launches, strict=True):
        assert {first.turn, second.turn} == {0, 1}


def test_profiled_runs_are_valid_by_the_published_schema(edgebench: Shell, fakes: MakeFake) -> None:
    """Good and failed runs alike satisfy what `edgebench schema` prints, by another validator."""
    fakes("f16")
    fakes("q8_0", {"fault": "oom"})
    runs = edgebench.json("profile", "fakes", *BOTH, "--json", code=1)["runs"]
    schema = edgebench.json("schema")
    jsonschema.Draft202012Validator.check_schema(schema)
    for run in runs:
        run["artifact"]["format"] = "gguf"  # that of the fakes is none that the schema publishes
        jsonschema.validate(run, schema)
    assert sorted(run["status"] for run in runs) == ["ok", "ok", "ok", "oom"]
    assert {run["run_id"] for run in runs} == {run.run_id for run in edgebench.stored()}


def test_second_profile_measures_only_what_is_missing(edgebench: Shell, fakes: MakeFake) -> None:
    """What is stored is skipped, also when another level is added; --no-resume measures again."""
    fakes("f16")
    first = edgebench.profile(*SPEED)
    fakes("q8_0", {"seed": 1})
    done = edgebench("profile", "fakes", "--device", "cpu", *SPEED, "--json")
    assert "1 case stored already; --no-resume measures again" in done.stderr
    assert json.loads(done.stdout)["runs"][0]["run_id"] == first["f16"].run_id
    assert [run.artifact.level for run in edgebench.stored()] == ["f16", "q8_0"]
    edgebench.profile(*SPEED, "--no-resume")
    assert len(edgebench.stored()) == 4


def test_more_launches_are_measured_and_fewer_are_not(edgebench: Shell, fakes: MakeFake) -> None:
    """Three launches answer for one that is asked for, and not for four."""
    fakes("f16")
    three = edgebench.profile(*SPEED)["f16"]
    assert edgebench.profile(*SPEED, "--launches", "1")["f16"].run_id == three.run_id
    four = edgebench.profile(*SPEED, "--launches", "4")["f16"]
    assert four.case_id == three.case_id
    assert four.run_id != three.run_id


def test_failed_case_alone_is_tried_again(edgebench: Shell, fakes: MakeFake) -> None:
    """The same command leaves what is stored, and says of the other that it failed."""
    fakes("f16")
    fakes("q8_0", {"fault": "fail"})
    first = edgebench.profile(*SPEED, code=1)
    done = edgebench("profile", "fakes", "--device", "cpu", *SPEED)
    assert done.returncode == 1
    assert "1 case failed; the same command tries again" in done.stderr
    assert "failed: the model refused" in done.stderr
    levels = [run.artifact.level for run in edgebench.stored()]
    assert (first["q8_0"].status, sorted(levels)) == ("failed", ["f16", "q8_0", "q8_0"])


def test_dry_run_stores_nothing(edgebench: Shell, fakes: MakeFake) -> None:
    """--dry-run lists each case with an estimate of its time and leaves no file."""
    fakes("f16")
    typed = ("profile", "fakes", "--device", "cpu", "--dry-run")
    done = edgebench(*typed)
    assert done.returncode == 0
    assert "5 launches of a worker" in done.stdout
    assert "2 of 2 cases to measure, about" in done.stdout
    assert not (edgebench.cwd / "profiles").exists()
    cases = edgebench.json(*typed, "--json")["cases"]
    assert [case["stored"] for case in cases] == [False, False]
    assert [(case["work"], case["launches"]) for case in cases] == [("chat", 5), ("basics", None)]
    edgebench.profile(*BOTH[2:], "--tasks", "none")
    planned = edgebench.json("profile", "fakes", *BOTH, "--dry-run", "--json")["cases"]
    assert [case["stored"] for case in planned] == [True, False]


def test_dry_run_says_what_the_items_can_show(edgebench: Shell, fakes: MakeFake) -> None:
    """Two levels will be compared: which loss 300 items can show is said before they are asked."""
    fakes("f16")
    fakes("q8_0")
    done = edgebench("profile", "fakes", "--device", "cpu", "--dry-run")
    assert "basics: 300 items can't be counted on to show a loss under 3.2 points" in done.stdout
    assert "about 3100 could show one of a point" in done.stdout


def test_workload_beyond_the_models_context_is_unsupported(
    edgebench: Shell, fakes: MakeFake
) -> None:
    """The case says what it needs, nothing was loaded, and the same command would fail again."""
    fakes("f16", context_length=19)
    fakes("q8_0", context_length=20)
    done = edgebench("profile", "fakes", "--device", "cpu", *SPEED)
    assert done.returncode == 1
    assert "the same command would fail again" in done.stderr
    runs = {run.artifact.level: run for run in edgebench.stored()}
    assert (runs["f16"].status, runs["q8_0"].status) == ("unsupported", "ok")
    assert runs["f16"].error
    assert "needs 20 tokens of context, the model has 19" in runs["f16"].error.message
    assert runs["f16"].runtime is None


def test_setting_is_measured_apart(edgebench: Shell, fakes: MakeFake) -> None:
    """--set makes another case, which says what it was run with."""
    fakes("f16")
    plain = edgebench.profile(*SPEED)["f16"]
    changed = edgebench.profile(*SPEED, "--set", "threads=2", "--set", "kv_type=q8_0")["f16"]
    assert (changed.settings.threads, changed.settings.kv_type) == (2, "q8_0")
    assert changed.case_id != plain.case_id
    compared = edgebench.json("compare", "--json")
    assert len(compared["grouped"]) == 1
    assert [row["used"] for row in compared["rows"]] == ["1 thread", "2 threads, kv_type=q8_0"]


@pytest.mark.parametrize("fault", ["oom", "fail"])
@pytest.mark.parametrize("where", ["open", "speed"])
def test_fault_of_one_case_leaves_the_others(
    edgebench: Shell, fakes: MakeFake, fault: str, where: str
) -> None:
    """The case has its status, the reason and no figures; its neighbours are measured."""
    fakes("f16")
    fakes("q8_0", {"fault": fault, "fault_in": where})
    fakes("q4_0", {"seed": 1})
    runs = edgebench.profile(*SPEED, code=1)
    status = {"oom": "oom", "fail": "failed"}[fault]
    statuses = {level: run.status for level, run in runs.items()}
    assert statuses == {"f16": "ok", "q8_0": status, "q4_0": "ok"}
    assert runs["q8_0"].error
    assert runs["q8_0"].error.message
    assert runs["q8_0"].speed is None
    assert runs["q8_0"].energy_reason == "the case did not come that far"

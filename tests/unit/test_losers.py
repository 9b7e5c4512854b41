"""Limits, weights, who lost and why, and what to type to run the winner."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

import pytest
from support.builders import (
    make_accuracy,
    make_artifact,
    make_energy,
    make_launch,
    make_run,
    make_runtime,
    make_speed,
    make_task_run,
)

from edgebench.analyze.compare import compare
from edgebench.analyze.decision import Loser, Pick
from edgebench.analyze.pick import Constraints, pick
from edgebench.analyze.rows import summarize
from edgebench.analyze.weights import Objective
from edgebench.cli.pick import newest_groups
from edgebench.errors import UsageError
from edgebench.records.device import DeviceInfo
from edgebench.records.run import Run
from edgebench.records.settings import Settings
from edgebench.records.speed import Memory
from edgebench.report.losers import check_words, has_words, joined
from edgebench.report.picks import pick_lines

RIGHT = [True] * 180 + [False] * 120


def measured(level: str, decode: float, **changes: Any) -> Run:
    """Return a level's speed; `model`, `threads`, `j`, `size` and `path` say what else it is."""
    size, threads = changes.pop("size", 1_000_000), changes.pop("threads", 1)
    fields = {"model": changes.pop("model", "tiny"), "level": level, "size_bytes": size}
    fields |= {name: changes.pop(name) for name in ("path", "format") if name in changes}
    energy = (make_energy(changes.pop("j"), 0.001),) if "j" in changes else ()
    told: dict[str, Any] = {
        "artifact": make_artifact(**fields),
        "speed": make_speed(decode),
        "energy": energy,
        "memory": Memory(peak_rss_bytes=size),
        "settings": Settings(threads=threads),
        "runtime": make_runtime(threads=threads, flash_attention="on"),
        "case_id": f"{fields['model']} {level} {threads}",
    }
    return make_run(**(told | changes))


def answered(level: str, correct: Sequence[bool], clusters: int = 0) -> Run:
    """Return a level's answers, in so many clusters where that is asked."""
    accuracy = make_accuracy(list(correct))
    if clusters:
        items = tuple(
            item.model_copy(update={"cluster": str(index % clusters)})
            for index, item in enumerate(accuracy.items)
        )
        accuracy = accuracy.model_copy(update={"items": items})
    return make_task_run(list(correct), artifact=make_artifact(level=level), accuracy=accuracy)


def decide(runs: Sequence[Run], objective: str = "decode", **limits: Any) -> Pick:
    """Pick as the command does."""
    return pick(newest_groups(compare(summarize(runs)), None), Constraints(**limits), objective)


def loser(decision: Pick, artifact: str) -> Loser:
    """Return why an artifact lost."""
    return next(it for it in decision.losers if it.artifact == artifact)


# limits


@pytest.mark.parametrize(
    ("limits", "broken"),
    [
        ({"max_size_bytes": 2e6}, "takes 2.86 MiB on disk, you allow 1.91 MiB"),
        ({"min_prefill_tokens_per_s": 100}, "reads a prompt at 64.0 tok/s, you ask for 100 tok/s"),
        ({"max_latency_s": {"p99": 0.03}}, "has a p99 of 50.0 ms for a token, you allow 30 ms"),
        ({"max_energy_j": 0.3}, "takes 0.5 J/tok (0.499 to 0.501), you allow 0.3 J/tok"),
    ],
)
def test_each_limit_rejects_in_words(limits: dict[str, Any], broken: str) -> None:
    """The level that breaks it is out, with its figure, the limit and their units."""
    runs = []
    for level, decode, prefill, size in (("f16", 20.0, 64.0, 3e6), ("q4_0", 40.0, 128.0, 1e6)):
        launches = [
            make_launch(f"r{i}", decode, prefill=prefill, token_s=(1 / decode,) * 100)
            for i in range(5)
        ]
        speed = make_speed(decode, launches=launches)
        runs.append(measured(level, decode, size=int(size), speed=speed, j=10 / decode))
    decision = decide(runs, "memory", **limits)
    assert decision.artifact == "tiny-q4_0"
    assert loser(decision, "tiny-f16").why == "breaks"
    assert f"it {broken}" in " ".join(" ".join(pick_lines(decision)).split())


def test_few_tokens_tell_no_p99() -> None:
    """32 generated tokens leave it open, and how many it takes is said; p50 is told."""
    runs = [measured("q4_0", 40.0)]
    decision = decide(runs, max_latency_s={"p99": 0.2})
    assert decision.decision == "undecided"
    assert "must generate 100 tokens to tell p99" in decision.measure_next[0].message
    assert decide(runs, max_latency_s={"p50": 0.2}).decision == "picked"


def test_accuracy_itself_is_a_limit() -> None:
    """60 % of 300 items show 50 %, not 58 %, and less than 70 %; five clusters are the least."""
    runs = [measured("q4_0", 40.0), answered("q4_0", RIGHT)]
    decisions = [decide(runs, min_accuracy={"basics": x}).decision for x in (0.5, 0.58, 0.7)]
    assert decisions == ["picked", "undecided", "none"]
    few = [measured("q4_0", 40.0), answered("q4_0", RIGHT, clusters=4)]
    assert "share 4 contexts" in decide(few, min_accuracy={"basics": 0.3}).measure_next[0].message


def test_limit_on_an_unknown_task_is_refused() -> None:
    """The nearest name is told."""
    with pytest.raises(UsageError, match="no runs of task 'basic'") as refused:
        decide([measured("q4_0", 40.0), answered("q4_0", RIGHT)], min_accuracy={"basic": 0.5})
    assert "basics" in refused.value.hint


def test_few_launches_decide_no_energy() -> None:
    """Joules of four launches leave a limit open, however far it is."""
    launches = [make_launch(f"r{i}", 40.0) for i in range(4)]
    run = measured("q4_0", 40.0, speed=make_speed(40.0, launches=launches), j=0.1)
    decision = decide([run], max_energy_j=5.0)
    assert decision.decision == "undecided"
    assert "five decide" in decision.measure_next[0].message


def test_energy_limit_is_stricter_among_many() -> None:
    """What one contender holds at 5 %, eight share: the very same figures are then open."""
    speeds = [make_speed(40.0 + index) for index in range(8)]
    runs = [
        measured(f"iq{index}", 1, speed=speed, energy=(make_energy(0.95, 0.045),))
        for index, speed in enumerate(speeds)
    ]
    assert decide(runs[:1], max_energy_j=1.0).decision == "picked"
    assert decide(runs, max_energy_j=1.0).decision == "undecided"


# weights


def test_weights_balance_what_one_objective_would_decide() -> None:
    """Twice the speed at six times the joules: first by speed, last by both alike."""
    runs = [measured("q8_0", 20.0, j=0.1), measured("q4_0", 40.0, j=0.6)]
    assert decide(runs, "decode").artifact == "tiny-q4_0"
    assert decide(runs, "decode=1,energy=1").artifact == "tiny-q8_0"
    assert decide(runs, "decode=3,energy=1").artifact == "tiny-q4_0"


def test_weighted_leads_within_the_noise_are_none() -> None:
    """Three per cent of speed, and joules that are known to five: alike by both together."""
    energies = [(make_energy(j, 0.025),) for j in (0.5, 0.49)]
    runs = [measured("q8_0", 20.6, energy=energies[0]), measured("q4_0", 20.0, energy=energies[1])]
    assert [it.why for it in decide(runs, "decode=1,energy=1").losers] == ["alike"]


def test_weights_are_told_as_shares() -> None:
    """They add up to one, whatever was typed; those of 0 are left out."""
    assert Objective.read("decode=2, energy=1,accuracy=1,memory=0").weights == {
        "decode": 0.5,
        "energy": 0.25,
        "accuracy": 0.25,
    }


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("decod", "unknown objective 'decod'"),
        ("decode=-1", "isn't a number from 0 up"),
        ("decode=much", "isn't a number from 0 up"),
        ("decode=0,energy=0", "add up to 0"),
        ("decode,decode=2", "is there twice"),
    ],
)
def test_wrong_objectives_are_refused(typed: str, words: str) -> None:
    """One line, with what to type."""
    with pytest.raises(UsageError, match=words) as refused:
        Objective.read(typed)
    assert "decode" in refused.value.hint or "once" in refused.value.hint


def test_joules_of_unlike_meters_are_not_compared() -> None:
    """Two boards whose joules include other parts: undecided, with the reason."""
    rapl = measured("q8_0", 20.0, energy=(make_energy(0.5, source="rapl"),))
    board = measured("q4_0", 20.0, energy=(make_energy(0.4, source="ina"),))
    runs = [
        rapl.model_copy(update={"device": DeviceInfo(name="a", machine="1")}),
        board.model_copy(update={"device": DeviceInfo(name="b", machine="2")}),
    ]
    decision = decide(runs, "energy")
    assert decision.decision == "undecided"
    assert "energy by rapl there and by ina here" in decision.measure_next[0].message


# losers


def test_each_loser_says_why_in_text_and_json() -> None:
    """Too slow, losing too much, slower, failed: each by its own reason."""
    runs = [
        measured("f16", 10.0),
        answered("f16", RIGHT),
        measured("q8_0", 20.0),
        answered("q8_0", RIGHT),
        measured("q4_0", 40.0),
        answered("q4_0", RIGHT),
        measured("q2_k", 50.0),
        answered("q2_k", [False] * 60 + RIGHT[60:]),
    ]
    decision = decide(runs, min_decode_tokens_per_s=15.0, max_accuracy_loss=0.05)
    assert decision.artifact == "tiny-q4_0"
    told = {it["artifact"]: it for it in json.loads(decision.model_dump_json())["losers"]}
    reasons = {name: it["why"] for name, it in told.items()}
    assert reasons == {"tiny-f16": "breaks", "tiny-q8_0": "worse", "tiny-q2_k": "breaks"}
    assert told["tiny-q8_0"]["behind"] == pytest.approx(1.0, rel=0.1)
    assert {it["aspect"] for it in told["tiny-q8_0"]["compared"]} >= {"decode", "accuracy"}
    text = " ".join(" ".join(pick_lines(decision)).split())
    assert "q2_k is out: it loses 20.0 points (" in text
    assert "f16 is out: it decodes 10.0 tok/s" in text
    assert "q8_0 decodes 20.0 tok/s" in text
    assert "the pick is 2 times as fast" in text


def test_gains_are_said_as_gains() -> None:
    """A level that answers better than the reference doesn't lose a negative number of points."""
    other = [True] * 190 + [False] * 110
    runs = [measured("f16", 20.0), answered("f16", RIGHT), measured("q4_0", 40.0)]
    decision = decide([*runs, answered("q4_0", other)], max_accuracy_loss=0.01)
    (check,) = decision.checks["tiny-q4_0"]
    assert check.estimate
    assert check.estimate.value < 0
    assert check_words(check) == "gains 3.3 points (1.8 to 5.6) at basics, you allow 1 point"
    assert "-" not in has_words(check.constraint, check.estimate)
    both = check.estimate.model_copy(update={"low": -0.05, "high": 0.02})
    assert has_words(check.constraint, both) == "gains 3.3 points (between 5.0 gained and 2.0 lost)"


def test_many_losers_are_told_by_groups() -> None:
    """Twelve slower ones are one line, unless all are asked for."""
    runs = [measured(f"iq{index}", 10.0 + index) for index in range(12)] + [measured("q4_0", 40.0)]
    decision = decide(runs)
    lines = pick_lines(decision)
    assert "  12 others are slower: 1.90 to 4.00 times" in lines
    assert "  --explain lists them all" in lines
    assert not any("iq3" in line for line in lines[1:] if "Pareto" not in line)
    explained = "\n".join(pick_lines(decision, explain=True))
    assert all(f"iq{index} decodes" in explained for index in range(12))
    assert "shown, p = " in explained


def test_settings_of_one_artifact_are_named_together() -> None:
    """Names that differ in their settings alone are one name; the rest are counted."""
    names = ["a-q8_0 (1 thread) on pi", "a-q8_0 (2 threads) on pi", "a-q4_0", "b-q8_0 (1 thread)"]
    assert joined(names) == "a-q8_0 (1 thread; 2 threads) on pi, a-q4_0, b-q8_0 (1 thread)"
    assert joined(names, 1) == "a-q8_0 (1 thread; 2 threads) on pi and 2 more"


def test_settings_are_candidates_of_their_own() -> None:
    """Of one artifact at 1, 2 and 4 threads the fastest is picked, by its name and settings."""
    runs = [measured("q4_0", decode, threads=t) for t, decode in ((1, 20.0), (2, 35.0), (4, 30.0))]
    decision = decide(runs)
    assert decision.artifact == "tiny-q4_0 (2 threads)"
    assert decision.winner
    assert decision.winner.settings["threads"] == 2
    assert {it.artifact for it in decision.losers} == {
        "tiny-q4_0 (1 thread)",
        "tiny-q4_0 (4 threads)",
    }


# running


def test_winner_comes_with_what_to_type() -> None:
    """llama-cli in the text, all ways in JSON, with the measured settings, quoted once."""
    path = "/models/it's mine/tiny-q4_0.gguf"
    run = measured("q4_0", 40.0, format="gguf", path=path, threads=3)
    settings = Settings(threads=3, batch=256, kv_type="q8_0", gpu_layers=-1)
    decision = decide([run.model_copy(update={"settings": settings})])
    assert decision.winner
    ways = {command.program: command.text for command in decision.winner.run}
    assert list(ways) == ["llama-cli", "llama-server", "llama-cpp-python", "edgebench"]
    words = shlex.split(ways["llama-cli"])
    assert words[words.index("--model") + 1] == path
    assert words[words.index("--threads") + 1] == "3"
    assert words[words.index("--batch-size") + 1] == "256"
    assert words[words.index("--cache-type-v") + 1] == "q8_0"
    assert words[words.index("--gpu-layers") + 1] == "all"
    assert words[words.index("--ctx-size") + 1] == "96"
    compile(ways["llama-cpp-python"], "printed", "exec")
    lines = pick_lines(decision)
    assert lines[-2:] == ["To run it as it was measured (llama-cli):", f"  {ways['llama-cli']}"]
    assert ways["edgebench"].endswith("--no-resume")


def test_pinned_winner_is_run_on_its_cores() -> None:
    """What was measured on some cores is typed so, for a shell and in Python."""
    run = measured("q4_0", 40.0, format="gguf", path="/models/tiny-q4_0.gguf", threads=3)
    settings = Settings(threads=3, cores="4-5+7")
    decision = decide([run.model_copy(update={"settings": settings})])
    assert decision.winner
    ways = {command.program: command.text for command in decision.winner.run}
    assert ways["llama-cli"].startswith("taskset --cpu-list 4-5,7 llama-cli ")
    assert "os.sched_setaffinity(0, {4, 5, 7})" in ways["llama-cpp-python"]
    assert "--set cores=4-5+7" in ways["edgebench"]


def test_onnx_winner_comes_with_a_program() -> None:
    """The folder, the provider and the threads stand in a program that Python can read."""
    run = measured("int4", 40.0, format="onnx", path="/models/tiny-int4", threads=2)
    decision = decide([run])
    assert decision.winner
    command = decision.winner.run[0]
    assert (command.program, command.language) == ("onnxruntime-genai", "python")
    compile(command.text, "printed", "exec")
    assert "og.Config('/models/tiny-int4')" in command.text
    assert '"intra_op_num_threads": 2' in command.text

"""Contracts: what a file may say, and when a demand passes, fails or is inconclusive."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from support.builders import (
    make_artifact,
    make_launch,
    make_run,
    make_speed,
    make_task_run,
    make_workload,
)
from support.simulations import studies

from edgebench.analyze.compare import compare
from edgebench.analyze.contract import Contract, read_contract
from edgebench.analyze.rows import summarize
from edgebench.analyze.verdict import Line, Result, held_against
from edgebench.errors import BadFileError
from edgebench.records.run import Run
from edgebench.report.checks import check_lines
from edgebench.report.junit import junit_xml

CHAT = make_workload(name="chat", prompt_tokens=512, generate_tokens=128)
RAG = make_workload(name="rag", prompt_tokens=2048, generate_tokens=128)


def contract(**changes: object) -> Contract:
    """Return a contract that demands 30 tokens a second at chat."""
    fields: dict[str, object] = {
        "device": "cpu",
        "workloads": {"chat": {"min-decode": 30.0}},
    }
    return Contract.model_validate(fields | changes)


def speed(level: str, decode: float, workload: object = CHAT, spread: float = 0.01) -> Run:
    """Return five launches of a level that lie about a speed."""
    steps = (0.0, -spread, spread, spread / 2, -spread / 2)
    told = [make_launch(f"round {i}", decode * (1 + step)) for i, step in enumerate(steps)]
    artifact = make_artifact(level=level, bits_per_weight=16.0 if level == "f16" else 8.0)
    return make_run(
        artifact=artifact,
        workload=workload,
        speed=make_speed(decode, launches=told),
        run_id=f"{level} {decode}",
    )


def judged(told: Contract, runs: list[Run], artifact: str = "any") -> Result:
    """Hold a contract against runs."""
    return held_against(told, compare(summarize(runs), told.baseline), artifact)


def verdicts(result: Result) -> list[str]:
    """Return the verdict of each demand."""
    return [line.verdict for line in result.lines]


def test_a_demand_passes_fails_or_is_inconclusive() -> None:
    """By what is shown, and not by the value."""
    for decode, verdict in ((40.0, "PASS"), (20.0, "FAIL"), (30.1, "INCONCLUSIVE")):
        result = judged(contract(), [speed("q4_0", decode)], "tiny-q4_0")
        assert (result.verdict, verdicts(result)) == (verdict, [verdict])
    assert result.lines[0].command == "" or "--launches" in result.lines[0].command


def test_any_takes_one_that_is_shown_to_satisfy_everything() -> None:
    """It is named, and the others are told with what they fail at."""
    result = judged(contract(), [speed("f16", 20), speed("q8_0", 30.1), speed("q4_0", 60)])
    assert (result.verdict, result.artifact) == ("PASS", "tiny-q4_0")
    assert [it.verdict for it in result.candidates] == ["PASS", "INCONCLUSIVE", "FAIL"]
    assert any("tiny-f16: FAIL, min-decode 30 tok/s at chat" in x for x in check_lines(result))


def test_any_fails_where_each_one_breaks_a_demand() -> None:
    """One that is open makes it inconclusive."""
    broken = [speed("f16", 10), speed("q8_0", 20)]
    assert judged(contract(), broken).verdict == "FAIL"
    assert judged(contract(), [*broken, speed("q4_0", 30.1)]).verdict == "INCONCLUSIVE"


def test_workloads_have_demands_of_their_own_over_the_common_ones() -> None:
    """A workload's own limit goes before that of all; one that was not measured has a command."""
    told = contract(
        constraints={"min-decode": 30.0, "max-ttft": 2.0},
        workloads={"chat": {}, "rag": {"min-decode": 10.0}},
    )
    runs = [speed("q4_0", 40), speed("q4_0", 15, RAG)]
    result = judged(told, runs, "tiny-q4_0")
    demands = [(line.workload, line.demand, line.limit) for line in result.lines]
    assert ("chat", "min-decode", 30.0) in demands
    assert ("rag", "min-decode", 10.0) in demands
    assert result.verdict == "PASS"
    half = judged(told, runs[:1], "tiny-q4_0")
    assert half.verdict == "INCONCLUSIVE"
    (command,) = {line.command for line in half.lines if line.workload == "rag"}
    assert "--workload rag" in command


def test_a_workload_that_failed_fails_its_demands() -> None:
    """An artifact that does not run there can't serve there."""
    failed = speed("q4_0", 40).model_copy(
        update={"status": "oom", "speed": None, "created": "2026-02-01T00:00:00Z"}
    )
    result = judged(contract(), [speed("q4_0", 40), failed], "tiny-q4_0")
    assert result.verdict == "FAIL"
    assert "oom" in result.lines[0].reason


def test_loss_counts_from_the_reference_and_a_missing_one_is_said() -> None:
    """The reference's answers are needed; without them it is inconclusive, with what to type."""
    told = contract(constraints={"max-accuracy-loss": 0.05}, workloads={}, tasks=("basics",))
    big, small = (
        make_artifact(level=n, bits_per_weight=b) for n, b in (("f16", 16.0), ("q4_0", 4.0))
    )
    right = [index % 3 > 0 for index in range(400)]
    both = [make_task_run(right, artifact=big), make_task_run(right, artifact=small)]
    assert judged(told, both, "tiny-q4_0").verdict == "PASS"
    alone = judged(
        contract(constraints={"max-accuracy-loss": 0.05}, workloads={"chat": {}}),
        [speed("f16", 30), speed("q4_0", 40), both[1]],
        "tiny-q4_0",
    )
    assert alone.verdict in ("INCONCLUSIVE", "PASS")


def test_by_sum_any_name_is_found() -> None:
    """The first digits of a sum are enough."""
    runs = [speed("q4_0", 40)]
    sum_ = runs[0].artifact.sha256[:8]
    assert judged(contract(), runs, f"sha256:{sum_}").verdict == "PASS"
    none = judged(contract(), runs, "sha256:ffff")
    assert (none.verdict, none.lines) == ("INCONCLUSIVE", ())


def test_more_confidence_asks_for_more() -> None:
    """What is shown at 90 % may be open at 99.9 %."""
    runs = [speed("q4_0", 30.6, spread=0.02)]
    asked = [contract(confidence=share) for share in (0.9, 0.999)]
    assert [judged(it, runs, "tiny-q4_0").verdict for it in asked] == ["PASS", "INCONCLUSIVE"]


def test_any_of_many_is_wrong_no_more_often_than_it_says() -> None:
    """Six levels that are all just too slow: any of them passes in at most 5 % of studies."""
    rng = np.random.default_rng(5)
    count = studies(12, 1000)
    passed = 0
    for _ in range(count):
        runs = []
        for level in range(6):
            decodes = 30 * 0.9999 * np.exp(rng.normal(0, 0.02, 5))
            told = [make_launch(f"round {i}", float(d)) for i, d in enumerate(decodes)]
            runs.append(
                make_run(
                    artifact=make_artifact(level=f"iq{level}"),
                    workload=CHAT,
                    speed=make_speed(30, launches=told),
                )
            )
        passed += judged(contract(), runs).verdict == "PASS"
    assert passed / count <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / count)


# the file

UNITS = {"min_decode": lambda value: float(str(value).removesuffix("tok/s"))}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("device: cpu\nworkloads:\n  chat: {min-decod: 3}\n", "line 3, workloads.chat.min-decod"),
        ("device: cpu\nlimits: {}\n", "line 2, limits: no such field"),
        ("device: cpu\nworkloads: [chat]\n", "nothing is demanded"),
        ("device: cpu\nconstraints: {min-decode: 3}\n", "add workloads: [chat]"),
        ("device: cpu\nworkloads:\n  chta: {min-decode: 3}\n", "unknown workload 'chta'"),
        ("device: cpu\nworkloads:\n  chat: {min-decode: fast}\n", "line 3"),
        ("device: cpu\nworkloads:\n  chat: {min-decode: }\n", "no value"),
        ("device: cpu\nworkloads:\n  chat: {max-size: 3}\n", "move it to constraints"),
        ("constraints: {max-size: 3}\n", "device is missing"),
        ("device: cpu\nconfidence: 2\nconstraints: {max-size: 3}\n", "line 2, confidence"),
        ("device: cpu\nconstraints: {max-latency: {p42: 1}}\n", "line 2"),
        ("- device\n", "isn't a contract"),
        ("device: [\n", "not valid YAML"),
        ("contract: edgebench.contract/9\ndevice: cpu\n", "line 1, contract"),
    ],
)
def test_a_wrong_file_is_told_by_line_and_field(tmp_path: Path, text: str, said: str) -> None:
    """One line, exit code 4, and the nearest right name."""
    path = tmp_path / "contract.yaml"
    path.write_text(text)
    with pytest.raises(BadFileError) as caught:
        read_contract(path, UNITS)
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 4


def test_an_unknown_limit_gets_the_nearest_name(tmp_path: Path) -> None:
    """`min-decod` is `min-decode`."""
    path = tmp_path / "contract.yaml"
    path.write_text("device: cpu\nworkloads:\n  chat: {min-decod: 3}\n")
    with pytest.raises(BadFileError) as caught:
        read_contract(path, UNITS)
    assert caught.value.hint == "did you mean 'min-decode'?"


# JUnit


def test_junit_has_a_case_for_each_demand_whatever_names_hold() -> None:
    """Failures, errors and passes are told apart; what XML can't hold is left out."""
    evil = 'a<b>&"\x00\x1b[31m\ufffe'
    lines = tuple(
        Line(
            demand="min-decode", workload=evil, limit=3, verdict=verdict, reason=evil, command=evil
        )
        for verdict in ("PASS", "FAIL", "INCONCLUSIVE")
    )
    result = judged(contract(), [speed("q4_0", 40)])
    candidate = result.candidates[0].model_copy(update={"lines": lines, "artifact": evil})
    told = result.model_copy(update={"candidates": (candidate,), "device": evil})
    suite = ElementTree.fromstring(junit_xml(told, evil)).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    cases = suite.findall("testcase")
    assert [[child.tag for child in case] for case in cases] == [[], ["failure"], ["error"]]
    assert 'a<b>&"' in str(cases[0].get("classname"))

"""Decisions of 0.1.0 that were wrong (reviews/truth.md, "#n" of its bugs.py), each as it should be.

Each case builds stored runs whose truth is known and asks compare or pick.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
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
    make_workload,
)

from edgebench.analyze.compare import Group, compare
from edgebench.analyze.pick import Constraints, Pick, pick
from edgebench.analyze.rows import summarize
from edgebench.cli.pick import newest_groups
from edgebench.errors import UsageError
from edgebench.records.device import Conditions, DeviceInfo, Snapshot
from edgebench.records.run import Run, RunError
from edgebench.records.speed import Memory

BITS = {"f16": 16.0, "q8_0": 8.5, "q4_0": 4.5}
GOOD = [True] * 200 + [False] * 100
BAD = [True] * 170 + [False] * 130  # loses 10 points


def day(number: int) -> str:
    """Return a moment of a day of January."""
    return f"2026-01-{number:02d}T00:00:00+00:00"


def artifact(level: str, **changes: Any) -> Any:
    """Return a level's artifact."""
    bits = BITS[level]
    fields = {"level": level, "bits_per_weight": bits, "size_bytes": int(bits * 1e6)}
    return make_artifact(**(fields | changes))


def speed(level: str, decode: float, **changes: Any) -> Run:
    """Return a level's run of the workload."""
    fields: dict[str, Any] = {"artifact": artifact(level), "speed": make_speed(decode)}
    return make_run(**(fields | changes))


def task(level: str, correct: Sequence[bool], name: str = "basics", **changes: Any) -> Run:
    """Return a level's answers to a task."""
    answers = make_accuracy(list(correct), task=name, task_sha256=f"sha of {name}")
    fields: dict[str, Any] = {"artifact": artifact(level), "task": name, "accuracy": answers}
    return make_task_run(list(correct), **(fields | changes))


def failed(level: str, status: str = "crashed", **changes: Any) -> Run:
    """Return a level's run of the workload, or of a task, that failed."""
    fields: dict[str, Any] = {
        "artifact": artifact(level),
        "speed": None,
        "memory": None,
        "status": status,
        "error": RunError(type="Error", message="signal 9"),
    }
    return make_run(**(fields | changes))


def groups_of(runs: Sequence[Run], baseline: str | None = None) -> list[Group]:
    """Return the runs' groups."""
    return compare(summarize(runs), baseline)


def decide(
    runs: Sequence[Run],
    objective: Any = "decode",
    *,
    baseline: str | None = None,
    workload: str | None = None,
    tasks: Sequence[str] = (),
    **limits: float,
) -> Pick:
    """Pick as the command does."""
    groups = newest_groups(groups_of(runs, baseline), workload)
    return pick(groups, Constraints(**limits), objective, tasks)


# which run counts


def test_newest_run_is_the_one_made_last() -> None:
    """#1: not the one that a file's name puts last; however the paths were typed."""
    new = speed("q8_0", 10, created=day(20))
    old = speed("q8_0", 40, created="2026-01-01T00:00:00Z")
    for runs in ([new, old], [old, new]):
        (row,) = summarize(runs)
        assert row.decode
        assert row.decode.value == pytest.approx(10)


def test_newer_failure_hides_an_older_success() -> None:
    """#2: an OOM after a good run leaves no speed, and says that there was one."""
    runs = [speed("q4_0", 30, created=day(1)), failed("q4_0", "oom", created=day(9))]
    (row,) = summarize(runs)
    assert row.decode is None
    assert "a good run of 2026-01-01 no longer counts" in row.failures[0].words
    assert decide([*runs, speed("q8_0", 20)]).rejected[0].artifact == "tiny-q4_0"


def test_other_meters_are_the_same_case() -> None:
    """#3: two meters give two case ids, and still the newest of all counts."""
    runs = [
        speed("q8_0", 10, case_id="A", created=day(1)),
        speed("q8_0", 30, case_id="A", created=day(3)),
        speed("q8_0", 20, case_id="B", created=day(2)),
    ]
    (row,) = summarize(runs)
    assert row.decode
    assert row.decode.value == pytest.approx(30)


def test_two_machines_never_share_a_table() -> None:
    """#4: not by name; by the machine's own sign, and before 0.2 by processor and memory."""
    small = DeviceInfo(name="cpu", cpu="Intel N100, 4 cores", memory_bytes=8 << 30)
    large = DeviceInfo(name="cpu", cpu="AMD 9950X, 4 cores", memory_bytes=64 << 30)
    assert len(groups_of([speed("q8_0", 10, device=small), speed("q4_0", 60, device=large)])) == 2
    twins = [DeviceInfo(name="cpu", cpu="N100", machine=name) for name in ("a", "b")]
    runs = [speed("q8_0", 10, device=twins[0]), speed("q4_0", 60, device=twins[1])]
    assert len(groups_of(runs)) == 2


def test_runs_of_0_1_join_the_one_machine_that_they_may_be_of() -> None:
    """Answers of 0.1.0 stand beside today's speed where one machine has these parts, else apart."""
    old = DeviceInfo(name="cpu", cpu="N100", memory_bytes=8 << 30)
    mine = [old.model_copy(update={"machine": name}) for name in ("a", "b")]
    runs = [task("q8_0", GOOD, device=old), speed("q8_0", 10, device=mine[0])]
    (row,) = summarize(runs)
    assert row.task("basics")
    assert len(summarize([*runs, speed("q8_0", 20, device=mine[1])])) == 3


def test_two_boards_keep_their_own_governors() -> None:
    """The same artifacts on two boards: neither is headed with the other's set-up."""
    runs = [
        speed(
            "q8_0",
            10,
            device=DeviceInfo(name=name, board=name),
            conditions=Conditions(before=Snapshot(governor=governor)),
        )
        for name, governor in (("pi", "ondemand"), ("jetson", "schedutil"))
    ]
    found = {group.device.name: group.setup for group in groups_of(runs)}
    assert "ondemand" in found["pi"]
    assert "schedutil" in found["jetson"]
    assert "ondemand" not in found["jetson"]


def test_runs_that_decode_from_elsewhere_never_mix() -> None:
    """A run of 0.1.0 decodes from the depth, one of today after the prompt: two tables."""
    old = speed("q8_0", 10, speed=make_speed(30, launches=()))
    assert len(groups_of([old, speed("q4_0", 20)])) == 2
    titles = {group.after_prompt for group in groups_of([old, speed("q4_0", 20)])}
    assert titles == {True, False}


# the baseline


def test_new_build_keeps_its_model_s_baseline() -> None:
    """#5: with only q4_0 measured again by a new build, its loss still counts from f16."""
    old, new = make_runtime(build="old"), make_runtime(build="new")
    runs = [
        speed("f16", 10, runtime=old),
        task("f16", GOOD, runtime=old),
        speed("q4_0", 30, runtime=old),
        task("q4_0", BAD, runtime=old),
        speed("q4_0", 30, runtime=new, created=day(20)),
        task("q4_0", BAD, runtime=new, created=day(20)),
    ]
    decision = decide(runs, max_accuracy_loss=0.01)
    assert (decision.decision, decision.baseline) == ("none", "f16")


def test_level_that_did_not_fit_is_told_where_it_would_be_the_baseline() -> None:
    """#6: f16 out of memory at load; q8_0 takes its place, which is said, and picks go on."""
    rest = [
        run
        for level, decode, right in (("q8_0", 18, GOOD), ("q4_0", 30, BAD))
        for run in (
            speed(level, decode, conditions=Conditions(before=Snapshot(governor="performance"))),
            task(level, right, conditions=Conditions(before=Snapshot(governor="performance"))),
        )
    ]
    for created in (day(1), day(20)):
        lost = failed("f16", "oom", runtime=None, created=created)
        (group,) = groups_of([lost, *rest])
        assert group.baselines
        assert group.baselines["tiny"].level == "q8_0"
        assert any(
            "f16 is not the baseline" in words for words in group.baselines["tiny"].passed_over
        )
        decision = decide([lost, *rest], max_accuracy_loss=0.05)
        assert (decision.decision, decision.artifact) == ("picked", "tiny-q8_0")


def test_crashed_level_is_rejected_and_blocks_nothing() -> None:
    """#7: with and without constraints the others decide, and the crash is the reason."""
    runs = [failed("f16"), speed("q8_0", 20), speed("q4_0", 30)]
    for decision in (decide(runs), decide(runs, min_decode_tokens_per_s=5.0)):
        assert (decision.decision, decision.artifact) == ("picked", "tiny-q4_0")
        assert "signal 9" in decision.rejected[0].reason


def test_named_baseline_counts_across_workloads() -> None:
    """#8: f16 was measured with the short workload alone, and is the baseline of rag as well."""
    rag = make_workload(name="rag", prompt_tokens=2048)
    runs = [speed("f16", 10), task("f16", GOOD)]
    for level in ("q8_0", "q4_0"):
        runs += [speed(level, 20), speed(level, 20, workload=rag), task(level, BAD)]
    for workload in ("rag", "short"):
        decision = decide(runs, baseline="f16", workload=workload, max_accuracy_loss=0.02)
        assert decision.baseline == "f16"
        assert not {"tiny-q8_0", "tiny-q4_0"} & set(decision.satisfying)


def test_missing_baseline_is_refused() -> None:
    """Exit 2, with the levels that exist; also where the level only failed."""
    runs = [speed("q8_0", 20), failed("f16")]
    with pytest.raises(UsageError, match="'f16'") as refused:
        groups_of(runs, "f16")
    assert "q8_0" in refused.value.hint
    with pytest.raises(UsageError, match="'q2_k'"):
        groups_of(runs, "q2_k")


def test_level_measured_for_accuracy_alone_is_the_baseline() -> None:
    """#9: f16's answers count, it stands in the table, and it is no candidate."""
    runs = [task("f16", GOOD)]
    for level in ("q8_0", "q4_0"):
        runs += [speed(level, 20), task(level, BAD)]
    decision = decide(runs, max_accuracy_loss=0.02)
    assert (decision.decision, decision.baseline) == ("none", "f16")
    assert [it.artifact for it in decision.left_out] == ["tiny-f16"]


# tasks


def test_accuracies_are_compared_by_task_whatever_their_order() -> None:
    """#10: q8_0 is better at both tasks; the order in which they were stored changes nothing."""
    hard = {"q8_0": [True] * 120 + [False] * 180, "q4_0": [True] * 60 + [False] * 240}
    easy = {"q8_0": GOOD, "q4_0": BAD}
    first = [task("q8_0", easy["q8_0"], "easy"), task("q8_0", hard["q8_0"], "hard")]
    second = [task("q4_0", easy["q4_0"], "easy"), task("q4_0", hard["q4_0"], "hard")]
    for answers in ([*first, *second], [*first[::-1], *second], [*first, *second[::-1]]):
        decision = decide([speed("q8_0", 20), speed("q4_0", 20), *answers], "accuracy")
        assert decision.artifact == "tiny-q8_0"


def test_failed_task_rejects_its_level() -> None:
    """#11: a task that q4_0 crashed at is a constraint that it does not hold."""
    runs = [
        speed("f16", 10),
        task("f16", [True] * 300, "a"),
        task("f16", [True] * 300, "b"),
        speed("q4_0", 30),
        task("q4_0", [True] * 300, "a"),
        failed("q4_0", workload=None, task="b"),
    ]
    decision = decide(runs, max_accuracy_loss=0.02)
    assert (decision.decision, decision.artifact) == ("picked", "tiny-f16")
    assert "b crashed: signal 9" in decision.rejected[0].reason
    only = decide(runs, max_accuracy_loss=0.02, tasks=["a"])
    assert only.artifact == "tiny-q4_0"


def test_named_tasks_are_the_constraints() -> None:
    """--task takes one of two; a task that nobody knows is refused with those that exist."""
    runs = [speed("f16", 10), speed("q4_0", 30)]
    for name, right in (("a", GOOD), ("b", BAD)):
        runs += [task("f16", GOOD, name), task("q4_0", right, name)]
    assert decide(runs, max_accuracy_loss=0.05).artifact == "tiny-f16"
    assert decide(runs, max_accuracy_loss=0.05, tasks=["a"]).artifact == "tiny-q4_0"
    with pytest.raises(UsageError, match="no runs of task 'c'"):
        decide(runs, tasks=["c"])


def clustered(level: str, correct: Sequence[bool], size: int) -> Run:
    """Return answers whose items share a context in groups of `size`."""
    accuracy = make_accuracy(list(correct), task="mmlu", task_sha256="m")
    items = tuple(
        item.model_copy(update={"cluster": str(index // size)})
        for index, item in enumerate(accuracy.items)
    )
    return task(level, correct, "mmlu", accuracy=accuracy.model_copy(update={"items": items}))


def test_clusters_are_not_told_as_items() -> None:
    """#12: of 300 items in 30 clusters, 300 were answered; compare and pick ask for as many."""
    flipped = list(GOOD)
    for index in (3, 55, 120, 140, 177):
        flipped[index] = False
    runs = [
        speed("f16", 10),
        clustered("f16", GOOD, 10),
        speed("q4_0", 30),
        clustered("q4_0", flipped, 10),
    ]
    decision = decide(runs, max_accuracy_loss=0.02)
    assert "300 were answered" in decision.measure_next[0].message
    (group,) = groups_of(runs)
    figures = group.rows[1].task("mmlu")
    assert figures
    assert figures.no_worse == "open"
    assert figures.items_needed
    assert figures.items_needed > 300


def test_few_clusters_of_like_answers_show_nothing() -> None:
    """#13: three clusters of 100 without a disagreement are three, not 300."""
    (group,) = compare(
        summarize([clustered("f16", GOOD, 100), clustered("q4_0", GOOD, 100)]), margin=0.01
    )
    figures = group.rows[1].task("mmlu")
    assert figures
    assert figures.no_worse == "open"


@pytest.mark.parametrize(("lost", "won"), [(3, 1), (4, 2), (10, 8), (12, 12), (0, 0), (30, 5)])
def test_compare_and_pick_say_the_same(lost: int, won: int) -> None:
    """#14: one test on the same answers; its interval and its verdict agree."""
    right = [True] * 600 + [False] * 400
    other = list(right)
    other[:lost] = [False] * lost
    other[600 : 600 + won] = [True] * won
    runs = [speed("f16", 10), task("f16", right), speed("q4_0", 30), task("q4_0", other)]
    (group,) = groups_of(runs)
    figures = group.rows[1].task("basics")
    assert figures
    assert figures.difference
    assert figures.difference.bounds
    judged = pick([group], Constraints(max_accuracy_loss=0.01), "memory").checks["tiny-q4_0"][0]
    said = {"holds": "holds", "worse": "broken", "open": "open"}[figures.no_worse or "open"]
    # A pick may ask for a little more than 5 %, never for less.
    assert judged.verdict in (said, "open")
    assert (figures.no_worse == "holds") == (figures.difference.bounds.low > -0.01)


# energy and memory


def test_one_comparison_uses_one_source_of_energy() -> None:
    """#15: q8_0 by RAPL and q4_0 by an idle GPU are not compared."""
    rapl = make_energy(0.5, source="rapl", covers="cpu")
    gpu = make_energy(0.04, source="nvml", covers="gpu")
    runs = [speed("q8_0", 20, energy=(rapl, gpu)), speed("q4_0", 30, energy=(gpu,))]
    decision = decide(runs, "energy", max_energy_j=0.6)
    assert decision.decision == "undecided"
    assert decision.satisfying == ("tiny-q8_0",)
    assert "rapl" in decision.measure_next[0].message


def test_stated_watts_never_decide_in_silence() -> None:
    """A pick by your own figure says that it is one; a table marks it."""
    stated = [make_energy(j, source="estimate", kind="estimated") for j in (0.05, 0.04)]
    runs = [speed("q8_0", 20, energy=(stated[0],)), speed("q4_0", 30, energy=(stated[1],))]
    decision = decide(runs, "energy", max_energy_j=0.1)
    assert any("your own figure" in words for words in decision.warnings)


def test_memory_of_a_gpu_counts() -> None:
    """#16: 7 GiB of VRAM break a limit of 1 GiB; where it can't be seen the question is open."""
    memory = Memory(peak_rss_bytes=600 << 20, vram_bytes=7 << 30)
    decision = decide([speed("q4_0", 30, memory=memory)], max_memory_bytes=1 << 30)
    assert decision.decision == "none"
    blind = speed(
        "q4_0", 30, memory=Memory(peak_rss_bytes=600 << 20), runtime=make_runtime(gpu_layers=-1)
    )
    decision = decide([blind], max_memory_bytes=1 << 30)
    assert decision.decision == "undecided"
    assert "GPU's memory was not read" in decision.measure_next[0].message


def test_memory_is_the_largest_of_the_launches() -> None:
    """Weights count though their pages were not touched; one large launch is the figure."""
    sizes = (100, 300, 200, 100, 100)
    launches = [
        make_launch(f"round {i}", 20, memory=Memory(peak_rss_bytes=size, weights_bytes=150))
        for i, size in enumerate(sizes)
    ]
    (row,) = summarize([speed("q8_0", 20, speed=make_speed(20, launches=launches), memory=None)])
    assert row.memory
    assert (row.memory.total_bytes, row.memory.n) == (300, 5)


def test_throttling_is_told_and_rejects_nobody() -> None:
    """#17: a picked level's warnings are the pick's; what broke a limit hot may hold it cool."""
    hot = Conditions(
        after=Snapshot(throttled=True), warnings=("the machine was throttled during the case",)
    )
    decision = decide([speed("q4_0", 30, conditions=hot)], min_decode_tokens_per_s=20)
    assert decision.warnings == ("q4_0: the machine was throttled during the case",)
    decision = decide([speed("q4_0", 30, conditions=hot)], min_decode_tokens_per_s=50)
    assert decision.decision == "undecided"


def test_requantized_file_is_judged_by_its_own_runs() -> None:
    """#18: two files of one name are two, in any order."""
    old = speed("q4_0", 5, artifact=artifact("q4_0", sha256="old"), case_id="o", created=day(1))
    new = speed("q4_0", 30, artifact=artifact("q4_0", sha256="new"), case_id="n", created=day(2))
    for runs in ([old, new], [new, old]):
        decision = decide(runs, "memory", min_decode_tokens_per_s=20)
        assert (decision.decision, decision.sha256) == ("picked", "new")
        assert [it.artifact for it in decision.rejected] == ["tiny-q4_0 #old"]


def test_other_files_of_an_artifact_count_as_its_content() -> None:
    """Two ONNX folders with one graph and other weights are two artifacts."""
    runs = [
        speed("q4_0", 5, artifact=artifact("q4_0", files={"data": "1"})),
        speed("q4_0", 30, artifact=artifact("q4_0", files={"data": "2"})),
    ]
    assert len(summarize(runs)) == 2


# launches


def test_fewer_than_five_launches_decide_no_speed() -> None:
    """Also ones far from the limit are open, with the command that closes it and its time."""
    launches = [make_launch(f"round {index}", 30) for index in range(4)]
    run = speed("q4_0", 30, speed=make_speed(30, launches=launches), wall_s=40.0)
    decision = decide([run], min_decode_tokens_per_s=10)
    (it,) = decision.measure_next
    assert it.advice
    assert it.advice.command == (
        "edgebench profile /models --device cpu --workload short --tasks none "
        "--repetitions 5 --launches 5"
    )
    assert it.advice.takes_s == pytest.approx(10)  # four of the five are stored


def test_run_of_0_1_has_one_launch_and_no_interval() -> None:
    """Five repetitions of one process are a value, n=1, and leave a limit open."""
    old = speed("q4_0", 30, speed=make_speed(30, launches=()))
    (row,) = summarize([old])
    assert row.decode
    assert (row.decode.bounds, row.decode.n) == (None, 1)
    assert decide([old], min_decode_tokens_per_s=10).decision == "undecided"


def launched(rng: np.random.Generator, truth: float, spread: float, n: int = 5) -> Any:
    """Return a speed whose launches lie around the truth with a relative spread."""
    return make_speed(
        truth,
        launches=[
            make_launch(f"round {index}", float(truth * np.exp(rng.normal(0, spread))))
            for index in range(n)
        ],
    )


@pytest.mark.parametrize("truth", [29.7, 29.0])
def test_limit_that_is_broken_in_truth_is_seldom_held(truth: float) -> None:
    """Truth 1 % under the limit, launches 5 % apart: "holds" in at most 5 % of 100 sweeps."""
    rng = np.random.default_rng(3)
    wrong = sum(
        decide(
            [speed("q4_0", 1, speed=launched(rng, truth, 0.05))], min_decode_tokens_per_s=30
        ).decision
        == "picked"
        for _ in range(100)
    )
    assert wrong <= 10


def test_shared_drift_does_not_hide_a_difference() -> None:
    """A drift of 5 spreads that both levels share: 3 spreads of difference are told by round."""
    rng = np.random.default_rng(5)
    told = 0
    for _ in range(40):
        drift = np.exp(0.05 * np.arange(5))
        speeds = []
        for truth in (20.0, 20.6):
            figures = truth * drift * np.exp(rng.normal(0, 0.01, 5))
            speeds.append([make_launch(f"r{i}", float(x)) for i, x in enumerate(figures)])
        runs = [
            speed(level, 1, speed=make_speed(1, launches=launches))
            for level, launches in zip(("f16", "q4_0"), speeds, strict=True)
        ]
        (group,) = groups_of(runs)
        ratio = group.rows[1].decode_ratio
        told += ratio is not None and ratio.is_shown and ratio.ratio.value > 1
    assert told >= 34


def test_like_levels_are_seldom_said_to_differ_in_speed() -> None:
    """Five levels of one speed: any is said to differ in at most 5 % of 60 tables (Holm)."""
    rng = np.random.default_rng(8)
    wrong = 0
    for _ in range(60):
        runs = [
            speed(
                "q8_0",
                1,
                artifact=artifact("q8_0", sha256=str(index)),
                speed=launched(rng, 20, 0.03),
            )
            for index in range(5)
        ]
        (group,) = groups_of(runs)
        wrong += any(row.decode_ratio and row.decode_ratio.is_shown for row in group.rows)
    assert wrong <= 8

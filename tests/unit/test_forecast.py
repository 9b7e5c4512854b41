"""Forecasts: on simulated machines of known speed they end near the truth, and soon."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from support.builders import make_accuracy, make_artifact, make_launch, make_run, make_speed
from support.builders import make_workload as workload

from edgebench.cli.progress import SweepProgress
from edgebench.plan.cases import Case, ItemsCase, SpeedCase, Subject, TextCase
from edgebench.plan.forecast import Due, Forecast
from edgebench.records.run import Run
from edgebench.records.settings import Settings
from edgebench.records.task import Task, TextTask
from edgebench.report.plans import plan_lines
from edgebench.tasks.load import load_task

LEVELS = {"f16": 16.0, "q8_0": 8.5, "q4_0": 4.5}


def basics() -> Task:
    """Return the task of items that comes with the program."""
    task = load_task("basics")
    assert isinstance(task, Task)
    return task


TASK = basics()


def cases_of(layouts: tuple[str, ...] = ("gguf", "onnx")) -> list[Case]:
    """Return speed and items of three levels in each format, of a model of 135 M parameters."""
    return [
        case
        for layout in layouts
        for level, bits in LEVELS.items()
        for subject in [
            Subject(
                make_artifact(
                    level=level,
                    format=layout,
                    sha256=f"{layout} {level}",
                    bits_per_weight=bits,
                    parameters=135_000_000,
                    size_bytes=int(135e6 * bits / 8),
                ),
                "cpu",
                Settings(),
            )
        ]
        for case in (
            SpeedCase(
                subject,
                workload(
                    name="chat", prompt_tokens=512, generate_tokens=128, repetitions=1, launches=5
                ),
            ),
            ItemsCase(subject, TASK),
        )
    ]


class Machine:
    """A machine with its own pace for each part of the work, format and level."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.own = math.exp(self.chance.gauss(0, 1.0))  # any machine, against the rule
        self.paces: dict[tuple[str, ...], float] = {}

    def pace(self, *what: str) -> float:
        """Return how many times as slow as the rule a part is: its own, its format's, by chance."""
        slow = self.own
        for part in (what[:1], what[:2], what):
            slow *= self.paces.setdefault(part, math.exp(self.chance.gauss(0, 0.2)))
        return slow

    def run(self, case: Case) -> Run:
        """Return what the case comes to there."""
        artifact = case.subject.artifact
        kind = (artifact.format, artifact.level)
        if isinstance(case, ItemsCase):
            rule_s = Forecast().case_s(case)
            accuracy = make_accuracy([True] * 300, task_sha256=TASK.sha256)
            return make_run(
                artifact=artifact,
                workload=None,
                speed=None,
                task="basics",
                accuracy=accuracy,
                wall_s=rule_s * self.pace("items", *kind),
            )
        assert isinstance(case, SpeedCase)
        read_s = self.pace("read", *kind) * 512 * 2 * 135e6 / 60e9
        write_s = self.pace("write", *kind) * 128 * artifact.size_bytes / 8e9
        before_s = self.pace("launch", *kind) * Forecast().launch_s(case)
        launches = [
            make_launch(f"{n}", 20.0, prefill_s=(read_s,), decode_s=(write_s,)) for n in range(5)
        ]
        wall_s = 5 * (before_s + read_s + write_s)
        return make_run(
            artifact=artifact,
            workload=case.workload,
            speed=make_speed(launches=launches),
            wall_s=wall_s,
        )


@pytest.mark.parametrize("seed", range(20))
def test_stored_runs_bring_a_plan_within_a_factor_of_two(seed: int) -> None:
    """Whatever the machine's pace: one level of each format is known, the others are foretold."""
    machine, cases = Machine(seed), cases_of()
    known = [case for case in cases if case.subject.artifact.level == "q8_0"]
    forecast = Forecast().learn([machine.run(case) for case in known], [TASK])
    wanted = [case for case in cases if case not in known]
    expected = sum(forecast.case_s(case) for case in wanted)
    assert 0.5 < expected / sum(machine.run(case).wall_s for case in wanted) < 2


def test_what_was_measured_of_a_case_itself_counts_most() -> None:
    """Of the very artifact, within a tenth; of the same level, nearer than another's."""
    machine, cases = Machine(3), cases_of()
    forecast = Forecast().learn([machine.run(case) for case in cases], [TASK])
    for case in cases:
        assert forecast.case_s(case) == pytest.approx(machine.run(case).wall_s, rel=0.15)


def test_another_version_of_a_task_teaches_nothing() -> None:
    """Nor does a run that failed."""
    case = next(case for case in cases_of() if isinstance(case, ItemsCase))
    run = Machine(1).run(case)
    before = Forecast().case_s(case)
    assert Forecast().learn([run], []).case_s(case) == before
    failed = run.model_copy(update={"status": "failed"})
    assert Forecast().learn([failed], [TASK]).case_s(case) == before


class Drawn:
    """A bar that remembers what it was told."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.lines: list[str] = []

    def at(self, text: str, done: float, total: float) -> None:
        """Remember the text."""
        self.texts.append(text)

    def say(self, line: str) -> None:
        """Remember the line."""
        self.lines.append(line)


@pytest.mark.parametrize("seed", range(10))
def test_what_is_left_is_told_within_a_factor_of_two_after_a_fifth(seed: int) -> None:
    """A simulated sweep on machines e times as fast or slow as the rule: each later forecast."""
    machine, cases = Machine(seed), cases_of()
    now = [0.0]
    shown = Drawn()
    progress = SweepProgress(shown, cases, Forecast(), lambda: now[0])
    runs = {id(case): machine.run(case) for case in cases}
    total_s = sum(run.wall_s for run in runs.values())
    for case in cases:
        progress.started(case)
        for part in range(5):
            now[0] += runs[id(case)].wall_s / 5
            progress.ticked(case, part + 1, 5)
            if 0.2 < now[0] / total_s < 0.9:
                assert 0.5 < progress.left_s / (total_s - now[0]) < 2
        progress.ended(case, runs[id(case)])
    assert progress.left_s == 0


def test_progress_names_case_part_and_what_is_left() -> None:
    """On a terminal while it goes on, elsewhere in a line at each case's end."""
    now = [0.0]
    shown = Drawn()
    speed, items, *_ = cases_of(("gguf",))
    progress = SweepProgress(shown, [speed, items], Forecast(), lambda: now[0])
    progress.started(speed)
    assert shown.texts[-1].startswith("case 1 of 2, launch 1 of 5, about ")
    assert shown.texts[-1].endswith(" left: f16 chat")
    now[0] = 200.0
    progress.ticked(speed, 2, 5)
    assert "launch 2 of 5, about 5 min left" in shown.texts[-1]  # 300 s of its own pace
    now[0] = 500.0
    progress.ended(speed, Machine(1).run(speed))
    assert "; case 1 of 2, 8 min gone, about " in shown.lines[-1]
    progress.ticked(items, 120, 300)
    assert "case 2 of 2, items 120 of 300, about " in shown.texts[-1]
    progress.ended(items, Machine(1).run(items))
    assert shown.lines[-1].endswith("; case 2 of 2, 8 min gone)")


def test_launches_that_are_stored_are_not_counted_again() -> None:
    """Three of five launches: two fifths of the time, and the plan says so."""
    speed = cases_of(("fake",))[0]
    forecast = Forecast()
    assert forecast.case_s(speed, 3) == pytest.approx(0.4 * forecast.case_s(speed))
    lines = plan_lines([Due(speed, is_stored=False, launches=3)], forecast)
    assert "3 launches stored already" in lines[0]
    assert any(line.startswith("2 launches of a worker") for line in lines)
    progress = SweepProgress(Drawn(), [Due(speed, False, 3)], forecast, lambda: 0.0)
    assert progress.left_s == pytest.approx(0.4 * forecast.case_s(speed))


def test_more_work_is_estimated_to_take_longer() -> None:
    """A longer prompt, more launches or minutes, or a larger model; fewer cores."""
    subject = Subject(make_artifact(), "cpu", Settings())
    base = Forecast().case_s(SpeedCase(subject, workload()))
    for changes in (
        {"prompt_tokens": 10**6},
        {"launches": 20},
        {"repetitions": 500},
        {"duration_s": 100.0},
    ):
        assert Forecast().case_s(SpeedCase(subject, workload(**changes))) > base, changes
    large = replace(subject, artifact=make_artifact(parameters=10**10))
    assert Forecast().case_s(SpeedCase(large, workload())) > base
    assert Forecast(8).case_s(SpeedCase(large, workload())) < base * 10**10
    text = load_task("divergence")
    assert isinstance(text, TextTask)
    on_eight = Forecast(8).case_s(TextCase(large, text, large.artifact))
    assert on_eight < Forecast(4).case_s(TextCase(large, text, large.artifact))

"""One level's answers against the reference's: differences, clusters, "no worse than", tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import pytest
from support.builders import make_accuracy, make_artifact, make_estimate, make_run, make_task_run

from edgebench.analyze.compare import Group, compare
from edgebench.analyze.rows import TaskFigures, summarize
from edgebench.records.accuracy import Divergence, ItemResult, RaceResult
from edgebench.records.run import Run
from edgebench.report.csv_file import as_csv
from edgebench.report.markdown import as_markdown
from edgebench.report.tables import sections


def answered(level: str, correct: Sequence[bool], **changes: object) -> Run:
    """Return a level's run of `basics` with the answers given."""
    bits = {"f16": 16.0, "q8_0": 8.5, "q4_0": 4.5}[level]
    artifact = make_artifact(level=level, bits_per_weight=bits)
    return make_task_run(correct, artifact=artifact, accuracy=make_accuracy(correct, **changes))


def figures(runs: Sequence[Run], margin: float = 0.05) -> dict[str, TaskFigures]:
    """Compare runs; return each level's figures of its first task."""
    (group,) = compare(summarize(runs), margin=margin)
    return {row.level: row.tasks[0] for row in group.rows}


def test_no_worse_is_shown_not_assumed() -> None:
    """Equal answers over 30 items leave a loss of 5 points open; over 300 they rule it out."""
    few = figures([answered("f16", [True] * 30), answered("q8_0", [True] * 30)])["q8_0"]
    many = figures([answered("f16", [True] * 300), answered("q8_0", [True] * 300)])["q8_0"]
    assert (few.no_worse, many.no_worse) == ("open", "holds")
    assert few.items_needed
    assert few.items_needed < 1000
    assert many.items_needed == 0


def test_clear_loss_is_worse() -> None:
    """A level that loses a third of the items is not within 5 points."""
    base = [True] * 300
    lost = [index % 3 > 0 for index in range(300)]
    assert figures([answered("f16", base), answered("q4_0", lost)])["q4_0"].no_worse == "worse"


def items_of(correct: Sequence[bool], size: int) -> tuple[ItemResult, ...]:
    """Return items in clusters of `size`."""
    return tuple(
        ItemResult(id=f"item-{i}", correct=right, cluster=f"passage {i // size}")
        for i, right in enumerate(correct)
    )


def test_items_of_one_context_do_not_count_as_many() -> None:
    """Ten passages lost whole are ten losses and not a hundred."""
    base = [True] * 400
    lost = [not 100 <= index < 200 for index in range(400)]
    alone = figures([answered("f16", base), answered("q4_0", lost)])["q4_0"]
    runs = [
        answered(level, correct, items=items_of(correct, 25))
        for level, correct in (("f16", base), ("q4_0", lost))
    ]
    together = figures(runs)["q4_0"]
    assert together.clusters == 16
    assert alone.difference and together.difference  # noqa: PT018
    wide, narrow = together.difference.bounds, alone.difference.bounds
    assert wide and narrow  # noqa: PT018
    assert wide.low < narrow.low < -0.25
    assert together.p_value and alone.p_value  # noqa: PT018
    assert together.p_value > 1000 * alone.p_value


def test_few_disagreements_leave_clustered_intervals_their_width() -> None:
    """One answer that differs in a hundred proves no equivalence at one point."""
    base = [True] * 99 + [False]
    other = [True] * 100
    runs = [
        answered(level, correct, items=items_of(correct, 2))
        for level, correct in (("f16", base), ("q8_0", other))
    ]
    assert figures(runs, margin=0.01)["q8_0"].no_worse == "open"


def race(verdict: str, reference: str = "tiny-f16", about: str = "model") -> RaceResult:
    """Return a race's end after 40 of 300 items."""
    return RaceResult.model_validate(
        {
            "reference": reference,
            "tolerance": 0.02,
            "verdict": verdict,
            "items": 40,
            "population": 300,
            "bounds": make_estimate(0.0, 0.015, 40),
            "reason": "known",
            "about": about,
        }
    )


def test_race_is_taken_with_its_own_bounds() -> None:
    """A test made for a fixed number of items would be wrong there; p is absent."""
    runs = [
        answered("f16", [True] * 60, population=300),
        answered("q8_0", [True] * 40, population=300, race=race("within")),
    ]
    found = figures(runs)["q8_0"]
    assert (found.no_worse, found.margin, found.p_value) == ("holds", 0.02, None)
    assert found.difference == make_estimate(0.0, 0.015, 40)


def test_race_of_0_1_is_judged_again_from_its_items() -> None:
    """Its verdict was about its list: 40 like answers show nothing of a loss of 2 points."""
    runs = [
        answered("f16", [True] * 60, population=300),
        answered("q8_0", [True] * 40, population=300, race=race("within", about="list")),
    ]
    found = figures(runs)["q8_0"]
    assert (found.no_worse, found.margin, found.p_value) == ("open", 0.02, None)


def test_race_against_another_reference_says_nothing_here() -> None:
    """The reason is given in place of a difference."""
    runs = [
        answered("f16", [True] * 60, population=300),
        answered("q8_0", [True] * 40, population=300, race=race("within", "tiny-f32")),
    ]
    found = figures(runs)["q8_0"]
    assert (found.difference, found.why_no_difference) == (None, "it raced against tiny-f32")


def test_level_that_left_items_out_is_not_compared_in_silence() -> None:
    """n that differs is a reason, not a smaller n."""
    runs = [answered("f16", [True] * 60), answered("q8_0", [True] * 59)]
    assert figures(runs)["q8_0"].why_no_difference == "f16 answered other items"


def diverged(level: str, kld: float | None) -> Run:
    """Return a level's run of the text `divergence`."""
    bits = {"f16": 16.0, "q8_0": 8.5}[level]
    found = Divergence(
        reference="tiny-f16",
        reference_sha256="sha",
        text="divergence",
        text_sha256="text",
        chunks=30,
        tokens=7650,
        mean_kld=None if kld is None else make_estimate(kld, kld / 10),
        p99_kld=None if kld is None else 5 * kld,
        same_top=None if kld is None else make_estimate(0.9, 0.01),
        perplexity=20.0,
        bits_per_byte=0.9,
        truncated_mass=0.0005,
    )
    artifact = make_artifact(level=level, bits_per_weight=bits)
    return make_run(
        artifact=artifact, workload=None, speed=None, task="divergence", divergence=found
    )


def tables() -> list[Group]:
    """Return two levels with two tasks and a text."""
    runs = [
        answered("f16", [True] * 60),
        answered("q8_0", [True] * 55 + [False] * 5),
        diverged("f16", None),
        diverged("q8_0", 0.004),
    ]
    other = [
        run.model_copy(
            update={
                "case_id": run.case_id + " more",
                "task": "more",
                "accuracy": run.accuracy.model_copy(update={"task": "more|x"}),
            }
        )
        for run in runs
        if run.accuracy
    ]
    return compare(summarize([*runs, *other]))


def test_each_task_and_text_has_a_table() -> None:
    """The second task and the text follow the first table; names can't break the markup."""
    text = as_markdown(sections(tables()))
    assert "**more\\|x**" in text
    assert "| level | right | against f16 | p (Holm) | loses at most 1 point |" in text
    assert "| q8_0 | 0.004 (0.0036–0.0044) | 0.02 | 90.0 % (89.0–91.0) | 20.0 | 0.9000 |" in text
    assert "| f16 | reference |" in text


def test_csv_has_a_line_for_each_task() -> None:
    """Nothing is lost to the first task."""
    rows = list(csv.DictReader(io.StringIO(as_csv(tables()))))
    assert [(row["level"], row["task"]) for row in rows] == [
        ("f16", "basics"),
        ("f16", "more|x"),
        ("q8_0", "basics"),
        ("q8_0", "more|x"),
    ]
    assert float(rows[2]["mean_kld"]) == pytest.approx(0.004)

"""What tables, CSV and verdicts say, at any width: no figure is cut, lost or made up."""

from __future__ import annotations

import csv
import io
import os
import re
from typing import Any

import pytest
from rich.console import Console
from support.builders import (
    make_artifact,
    make_energy,
    make_estimate,
    make_launch,
    make_run,
    make_speed,
    make_task_run,
)

from edgebench.analyze.compare import Group, compare
from edgebench.analyze.rows import summarize
from edgebench.records.accuracy import Divergence
from edgebench.records.base import Estimate, clean
from edgebench.records.device import Conditions
from edgebench.records.run import Run, RunError
from edgebench.report.csv_file import as_csv
from edgebench.report.format import number, point_words, points, signed, with_interval
from edgebench.report.picks import suggestion
from edgebench.report.tables import print_groups
from edgebench.report.verdicts import verdict

BITS = {"f16": 16.0, "q8_0": 8.5, "q4_0": 4.5}
GOOD = [True] * 200 + [False] * 100
WORSE = [True] * 185 + [False] * 115


def artifact(level: str, **changes: Any) -> Any:
    """Return a level's artifact."""
    fields: dict[str, Any] = {"level": level, "bits_per_weight": BITS[level]}
    fields["size_bytes"] = int(BITS[level] * 2**20)
    return make_artifact(**(fields | changes))


def ladder() -> list[Run]:
    """Return three levels with speed, energy and accuracy."""
    runs = []
    for level, decode, right in (("f16", 20.0, GOOD), ("q8_0", 30.0, GOOD), ("q4_0", 44.0, WORSE)):
        energy = (make_energy(2 / decode, 0.001, source="rapl", boundary="package"),)
        runs += [
            make_run(artifact=artifact(level), speed=make_speed(decode), energy=energy),
            make_task_run(right, artifact=artifact(level)),
        ]
    return runs


def diverged(level: str, kld: float | None, text: str = "wiki") -> Run:
    """Return a level's divergence over a text."""
    found = Divergence(
        reference="tiny-f16",
        reference_sha256="sha",
        text=text,
        text_sha256=text,
        chunks=30,
        tokens=7650,
        mean_kld=None if kld is None else make_estimate(kld, kld / 10),
        p99_kld=None,
        same_top=None,
        perplexity=20.0,
        bits_per_byte=0.9,
        truncated_mass=0.0005,
    )
    return make_run(
        artifact=artifact(level),
        workload=None,
        speed=None,
        memory=None,
        task=text,
        energy_reason=None,
        divergence=found,
        case_id=f"{level} {text}",
    )


def groups_of(runs: list[Run]) -> list[Group]:
    """Compare runs."""
    return compare(summarize(runs))


def shown(runs: list[Run], width: int = 80) -> str:
    """Return what a terminal of that width shows."""
    out = io.StringIO()
    print_groups(Console(file=out, width=width), groups_of(runs))
    return out.getvalue()


# widths


@pytest.mark.parametrize("width", [40, 50, 60, 72, 80, 100, 120, 200])
def test_no_figure_is_cut_at_any_width(width: int) -> None:
    """Columns that have no room are left out and named; what is shown is whole."""
    output = shown(ladder(), width)
    assert max(map(len, output.splitlines())) <= width
    assert "…" not in output
    assert "..." not in output
    assert ("Left out to fit" in output) == (width < 90)
    decodes = re.findall(r"\b(20\.0|30\.0|44\.0)\b", output)
    assert len(decodes) >= 3


def test_wide_terminal_leaves_nothing_out() -> None:
    """At 120 columns each figure has its column."""
    output = shown(ladder(), 120)
    for word in ("file", "prefill", "decode", "times", "memory", "energy", "accuracy", "against"):
        assert word in output


def test_empty_columns_are_left_out() -> None:
    """A divergence-only table has no speed, memory or energy, and no empty table before it."""
    output = shown([diverged("f16", None), diverged("q8_0", 0.004)], 120)
    for word in ("prefill", "decode", "memory", "energy", "accuracy"):
        assert word not in output
    assert output.count("level") == 1


# what is said


def test_table_says_what_was_measured() -> None:
    """Where decode starts, processor, threads, launches, date and baseline stand above it."""
    output = shown(ladder(), 200)
    for words in (
        "decode after the prompt",
        "1 thread",
        "5 launches",
        "2026-01-01",
        "Baseline: f16",
    ):
        assert words in output


def test_verdict_is_a_sentence_that_a_person_would_say() -> None:
    """Times as fast by round, the space, and what it may lose."""
    (group,) = groups_of(ladder())
    first = verdict(group)[0]
    assert re.match(r"q4_0 is 2\.2 times as fast as f16 \(2\.1 to 2\.3\) in ", first)
    assert "28 % of the space" in first
    assert re.search(r"it loses 3\.\d to 7\.\d points\.$", first)


def test_verdict_claims_no_speed_that_is_not_shown() -> None:
    """Two levels whose rounds go either way can't be told apart."""
    runs = [
        make_run(
            artifact=artifact(level),
            speed=make_speed(
                20, launches=[make_launch(f"round {i}", x) for i, x in enumerate(decodes)]
            ),
        )
        for level, decodes in (("f16", (20, 21, 19, 20, 22)), ("q8_0", (21, 20, 20, 21, 20)))
    ]
    (group,) = groups_of(runs)
    assert "can't be told from f16 in speed" in verdict(group)[0]
    old = [
        make_run(artifact=artifact(level), speed=make_speed(decode, launches=()))
        for level, decode in (("f16", 20.0), ("q8_0", 30.0))
    ]
    assert "no interval yet" in verdict(groups_of(old)[0])[0]


def test_single_reading_is_no_interval() -> None:
    """One launch shows its figure with n=1, and what to type for an interval."""
    run = make_run(speed=make_speed(20, launches=[make_launch("round 0", 20)]))
    output = shown([run])
    assert "n=1" in output
    assert "20.0–20.0" not in output
    assert "--launches 5" in output


def test_stated_watts_are_flagged() -> None:
    """A sign at the figure and a line beneath; CSV has kind, source and boundary."""
    energy = (make_energy(0.1, source="estimate", kind="estimated"),)
    runs = [make_run(energy=energy, energy_reason=None)]
    assert "~0.1" in shown(runs)
    assert "not a measurement" in shown(runs)
    (row,) = csv.DictReader(io.StringIO(as_csv(groups_of(runs))))
    assert (row["energy_kind"], row["energy_source"]) == ("estimated", "estimate")


def test_warnings_of_one_kind_make_one_line() -> None:
    """Loads before four cases are one line that names the levels."""
    runs = [
        make_run(
            artifact=artifact(level),
            conditions=Conditions(warnings=(f"load was {load} before the case",)),
        )
        for level, load in (("f16", 3.6), ("q8_0", 2.1), ("q4_0", 8.0))
    ]
    lines = [line for line in shown(runs, 200).splitlines() if "load" in line]
    assert lines == ["! f16, q8_0, q4_0: load was 8.0 before the case (at most)"]


def test_failure_is_told_with_what_it_replaces() -> None:
    """A level that failed stands in the table, without figures, with its reason."""
    lost = make_run(
        artifact=artifact("q4_0"),
        speed=None,
        memory=None,
        status="oom",
        error=RunError(type="O", message="did not fit"),
        created="2026-02-01T00:00:00Z",
    )
    output = shown([*ladder(), lost], 200)
    assert "q4_0: short oom: did not fit (a good run of 2026-01-01 no longer counts)" in output


def test_level_that_strays_is_flagged() -> None:
    """0.137 nats beside 0.004 of a level of its size is a warning."""
    runs = [diverged("f16", None), diverged("q4_0", 0.137)]
    peer = diverged("q4_0", 0.004).model_copy(
        update={"artifact": make_artifact(level="q4_k_m", bits_per_weight=4.8)}
    )
    assert "q4_0 strays from the reference" in shown([*runs, peer], 200)
    assert "strays from" not in shown([diverged("f16", None), diverged("q8_0", 0.004)], 200)


# CSV


def test_csv_keeps_all_divergences() -> None:
    """Two texts and one task are two lines, each text once."""
    runs = [
        make_task_run(GOOD, artifact=artifact("q8_0")),
        diverged("q8_0", 0.004, "wiki"),
        diverged("q8_0", 0.02, "code"),
    ]
    rows = list(csv.DictReader(io.StringIO(as_csv(groups_of(runs)))))
    assert [(row["task"], row["text"], row["mean_kld"]) for row in rows] == [
        ("basics", "wiki", "0.004"),
        ("", "code", "0.02"),
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " =", "\t=", "\r=", "\n=", "\u202e="])
def test_a_spreadsheet_runs_no_cell(start: str) -> None:
    """Text from a stranger's file that begins like a formula is text; numbers stay numbers."""
    words = f'{start}HYPERLINK("http://x")\x1b[31m\u202e'
    runs = [make_run(artifact=artifact("f16", model=words, name=words), speed=make_speed(20.0))]
    (row,) = csv.DictReader(io.StringIO(as_csv(groups_of(runs))))
    assert row["model"].startswith("'")
    assert row["model"].isprintable()
    assert float(row["decode_tokens_per_s"]) > 0


def test_a_loss_in_csv_is_a_number() -> None:
    """A minus sign before a figure is no formula."""
    rows = list(csv.DictReader(io.StringIO(as_csv(groups_of(ladder())))))
    assert min(float(row["difference"]) for row in rows if row["difference"]) < 0


@pytest.mark.parametrize("nasty", ["\x1b[2J", "\u202eabc\u2066", "a\u200bb", "\x9b31m", "\udcff"])
def test_text_of_strangers_is_clean_wherever_it_is_shown(nasty: str) -> None:
    """Nothing moves the cursor, turns the direction of writing or can't be seen."""
    words = clean(f"before{nasty}after")
    assert words.isprintable()
    assert words.startswith("before")
    assert words.endswith("after")
    assert clean("x" * 500, 10) == "x" * 10


def test_bytes_of_a_name_are_written_out() -> None:
    """A file's name that isn't UTF-8 can be told from others, and be printed."""
    assert clean(os.fsdecode(b"m\xff\xfe.jsonl")) == r"m\xff\xfe.jsonl"


def test_csv_has_an_empty_cell_for_an_unknown_interval() -> None:
    """A single launch has a value and no bounds."""
    runs = [make_run(speed=make_speed(20, launches=()))]
    (row,) = csv.DictReader(io.StringIO(as_csv(groups_of(runs))))
    assert (row["decode_tokens_per_s"], row["decode_low"], row["decode_high"]) == ("20.0", "", "")
    assert row["launches"] == "1"


# words


def test_small_words() -> None:
    """No minus zero, one point is singular, few readings say how few."""
    assert signed(-0.04) == "0.0"
    assert points(Estimate(value=-0.0001, low=-0.001, high=0.001, n=300, method="x")) == (
        "0.0\n-0.1 to +0.1"
    )
    assert number(-0.0) == "0.00"
    assert (point_words(0.01), point_words(0.005)) == ("1 point", "0.5 points")
    assert with_interval(Estimate(value=20, n=2, method="x")) == "20.0\nn=2"
    assert with_interval(None) == ""


def test_suggestion_is_not_what_was_just_done() -> None:
    """After divergences alone the speed is measured next; after speed a pick is made."""
    words = suggestion(groups_of([diverged("f16", None), diverged("q8_0", 0.004)]), "cpu", None)
    assert words == "edgebench profile /models --device cpu --tasks none"
    words = suggestion(groups_of(ladder()), "cpu", None)
    assert words == "edgebench pick --device cpu --min-decode 30 --objective accuracy"

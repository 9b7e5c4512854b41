"""Cases and their ids: the same for the same inputs, others for any change that matters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import make_artifact, make_workload

from edgebench.errors import UsageError
from edgebench.plan.cases import WORKLOADS, Case, case_id, estimate_s, parse_workload
from edgebench.records.settings import Settings, Workload
from edgebench.records.task import Task
from edgebench.tasks.load import load_task


def make_case(**changes: Any) -> Case:
    """Return a case of the fake runtime."""
    fields: dict[str, Any] = {
        "artifact": make_artifact(),
        "device": "cpu",
        "runtime": "fake",
        "settings": Settings(),
        "workload": make_workload(),
    }
    return Case(**(fields | changes))


SAME: list[dict[str, Any]] = [
    {},
    {"artifact": make_artifact(path="/elsewhere/x.json", name="other")},
    {"workload": make_workload(repetitions=50)},
    {"workload": make_workload(name="64+32")},
]
OTHER: list[dict[str, Any]] = [
    {"artifact": make_artifact(sha256="another")},
    {"device": "cuda"},
    {"runtime": "llama.cpp"},
    {"settings": Settings(threads=3)},
    {"workload": make_workload(prompt_tokens=65)},
    {"workload": make_workload(generate_tokens=33)},
    {"workload": make_workload(depth=1)},
    {"workload": None, "task": load_task("basics")},
]


@pytest.mark.parametrize("changes", SAME)
def test_what_does_not_matter_keeps_the_id(changes: dict[str, Any]) -> None:
    """Where the file lies, how often it is timed and what the workload is called."""
    assert case_id(make_case(**changes), "1") == case_id(make_case(), "1")


def test_whatever_matters_changes_the_id() -> None:
    """Bytes, device, runtime and its version, settings, sizes and task: each has another id."""
    ids = [case_id(make_case(**changes), "1") for changes in [{}, *OTHER]]
    ids.append(case_id(make_case(), "2"))
    assert len(set(ids)) == len(ids)


def test_id_is_stable_across_versions_of_this_program() -> None:
    """A stored run is found again after an upgrade: this id must never change."""
    assert case_id(make_case(), "1") == case_id(make_case(), "1")
    assert len(case_id(make_case(), "1")) == 16
    int(case_id(make_case(), "1"), 16)


@given(st.integers(1, 9_999_999), st.integers(1, 9_999_999), st.integers(0, 9_999_999))
def test_sizes_are_read_as_written(prompt: int, generate: int, depth: int) -> None:
    """prompt+generated@depth, with the depth left out where it is 0."""
    text = f"{prompt}+{generate}" + (f"@{depth}" if depth else "")
    assert parse_workload(text, 7) == Workload(
        name=text, prompt_tokens=prompt, generate_tokens=generate, depth=depth, repetitions=7
    )


@given(st.text(max_size=20))
def test_any_other_text_is_refused(text: str) -> None:
    """Whatever is typed is read or refused with a hint; nothing else happens."""
    hint = ""
    try:
        parse_workload(text, 5)
    except UsageError as error:
        hint = error.hint
    known = text in WORKLOADS or text == "none" or text.replace("+", "").replace("@", "").isdigit()
    assert known or "512+128@4096" in hint


def test_names_stand_for_sizes() -> None:
    """chat is 512+128; none is no workload."""
    chat = parse_workload("chat", 5)
    assert chat is not None
    assert (chat.prompt_tokens, chat.generate_tokens) == WORKLOADS["chat"] == (512, 128)
    assert parse_workload("none", 5) is None


def test_more_work_is_estimated_to_take_longer() -> None:
    """Twice the prompt, or a model twice as large, takes longer."""
    base = estimate_s(make_case())
    assert estimate_s(make_case(workload=make_workload(prompt_tokens=10**6))) > base
    assert estimate_s(make_case(artifact=make_artifact(parameters=10**10))) > base
    assert estimate_s(make_case(workload=None, task=load_task("basics"))) > 0


def test_basics_is_balanced_and_has_no_twins() -> None:
    """At least 240 items of five kinds; gold positions even; no repeated question or choice."""
    task = load_task("basics")
    assert isinstance(task, Task)
    assert len(task.items) >= 240
    golds = [item.gold for item in task.items]
    counts = [golds.count(place) for place in range(4)]
    assert max(counts) - min(counts) <= 1
    assert len({(item.contexts, item.continuations) for item in task.items}) == len(task.items)
    assert len({item.id for item in task.items}) == len(task.items)
    for item in task.items:
        assert len(set(item.continuations)) == len(item.continuations) == 4, item.id

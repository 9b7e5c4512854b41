"""Tasks through the whole command: what is left out, chat templates, generated answers."""

from __future__ import annotations

import pytest
from support.shell import MakeFake, Shell
from support.task_files import write_quiz, write_task

from edgebench.records import answers
from edgebench.sources import templates

QUIZ = ("--workload", "none", "--tasks", "quiz.yaml")


def test_item_longer_than_the_context_is_left_out_and_counted(
    edgebench: Shell, fakes: MakeFake
) -> None:
    """It stands in the run with its reason, and in the table; n is what was answered."""
    fakes("f16", context_length=300)
    rows = [
        {"id": name, "context": "word " * length, "choices": ["yes", "no"], "gold": 0}
        for name, length in (("short", 3), ("long", 90), ("other", 5))
    ]
    write_task(edgebench.cwd, rows)
    run = edgebench.profile(*QUIZ)["f16"]
    assert run.accuracy
    assert ([item.id for item in run.accuracy.items], run.accuracy.n) == (["short", "other"], 2)
    assert [skip.id for skip in run.accuracy.skipped] == ["long"]
    assert "longer than the context of 300" in run.accuracy.skipped[0].reason
    assert any("left out" in warning for warning in run.conditions.warnings)
    assert "2 items (1 left out)" in edgebench("compare").stdout


def test_task_without_an_item_left_is_a_failed_case(edgebench: Shell, fakes: MakeFake) -> None:
    """No figure is made of nothing."""
    fakes("f16", context_length=20)
    rows = [{"id": "long", "context": "word " * 90, "choices": ["yes", "no"], "gold": 0}]
    write_task(edgebench.cwd, rows)
    run = edgebench.profile(*QUIZ, code=1)["f16"]
    assert run.status == "failed"
    assert run.error
    assert "no item of quiz could be answered" in run.error.message


def test_chat_task_of_a_model_without_template_says_so(edgebench: Shell, fakes: MakeFake) -> None:
    """The message names what to do; with a template the same task runs."""
    fakes("f16")
    fakes("q8_0", {"chat_template": "<{{ messages[0].content }}>"})
    write_quiz(edgebench.cwd, chat=True)
    runs = edgebench.profile(*QUIZ, code=1)
    error = runs["f16"].error
    assert error
    assert "wants a chat template" in error.message
    assert "chat: false" in error.hint
    assert runs["q8_0"].status == "ok"


def test_generated_answers_are_kept_beside_the_verdict(edgebench: Shell, fakes: MakeFake) -> None:
    """The run holds what was read of each answer."""
    fakes("f16", {"says": "3 + 4\n#### 7\n\nQuestion:"})
    rows = [{"id": str(n), "question": f"3 + 4 = {n}?", "answer": f"#### {n}"} for n in (7, 8)]
    write_task(edgebench.cwd, rows, schema="generation", answer_pattern="gsm8k", stop="\n\n")
    run = edgebench.profile(*QUIZ)["f16"]
    assert run.accuracy
    answers = [(item.answer, item.correct) for item in run.accuracy.items]
    assert answers == [("7", True), ("7", False)]


@pytest.mark.parametrize("bomb", ["pattern", "template"])
def test_what_never_ends_while_answering_costs_its_case_alone(
    edgebench: Shell, fakes: MakeFake, monkeypatch: pytest.MonkeyPatch, bomb: str
) -> None:
    """The run is stored with what took too long; the other case has its figure."""
    monkeypatch.setattr(answers, "PATTERN_S", 0.2)
    monkeypatch.setattr(templates, "RENDER_S", 0.2)
    templates._chat_renderer.cache_clear()
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    fine, slow = {"says": "aab"}, {"says": "a" * 60 + "b"}
    if bomb == "template":
        slow = fine | {"chat_template": loops}
    fakes("f16", fine | {"chat_template": "{{ messages[0].content }}"})
    fakes("q8_0", slow | ({"chat_template": "{{ messages[0].content }}"} | slow))
    rows = [{"id": "a", "question": "Say a", "answer": "aa"}]
    header = {"schema": "generation", "answer_pattern": "^(a|aa)+$", "chat": True}
    write_task(edgebench.cwd, rows, **header)
    runs = edgebench.profile(*QUIZ, code=1)
    assert (runs["f16"].status, runs["q8_0"].status) == ("ok", "failed")
    error = runs["q8_0"].error
    assert error
    assert ("answer_pattern '^(a|aa)+$' takes too long" in error.message) == (bomb == "pattern")
    assert ("chat template can't be rendered" in error.message) == (bomb == "template")


def test_items_alone_have_a_reason_for_no_energy(edgebench: Shell, fakes: MakeFake) -> None:
    """Energy is measured with a workload; a task's run says so and holds no speed."""
    fakes("f16")
    write_quiz(edgebench.cwd)
    run = edgebench.profile(*QUIZ)["f16"]
    assert (run.speed, run.energy, run.workload, run.task) == (None, (), None, "quiz")
    assert run.energy_reason == "energy is measured with a workload, not with a task"


def test_two_tasks_of_one_name_are_refused(edgebench: Shell, fakes: MakeFake) -> None:
    """Their figures could not be told apart."""
    fakes("f16")
    write_quiz(edgebench.cwd)
    (edgebench.cwd / "twin.yaml").write_bytes((edgebench.cwd / "quiz.yaml").read_bytes())
    typed = ("--workload", "none", "--tasks", "quiz.yaml,twin.yaml")
    done = edgebench("profile", "fakes", "--device", "cpu", *typed)
    assert done.returncode == 2
    assert "two tasks have the name 'quiz'" in done.stderr


@pytest.mark.parametrize("typed", [("tasks",), ("tasks", "--json")])
def test_tasks_are_listed(edgebench: Shell, typed: tuple[str, ...]) -> None:
    """The tasks that come with the program are named."""
    done = edgebench(*typed)
    assert done.returncode == 0
    assert "basics" in done.stdout
    assert "divergence" in done.stdout

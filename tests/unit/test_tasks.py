"""Task files: what a header and its rows become, and what is said of those that are wrong."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from support.shell import MakeFake, Shell
from support.task_files import write_task

from edgebench.errors import BadFileError, UsageError
from edgebench.records import answers
from edgebench.records.task import Task, TextTask
from edgebench.sources import templates
from edgebench.sources.sandbox import compiled, is_plain
from edgebench.tasks import load, rows
from edgebench.tasks.load import load_task, read_task
from edgebench.tasks.rows import MultipleChoiceRow, read_rows

QUESTION = {"id": "q1", "context": "Two and two make", "choices": ["four", "five"], "gold": 0}


def read(folder: Path, rows: Sequence[dict[str, Any]], **header: Any) -> Task:
    """Write and read a task of items."""
    task = read_task(write_task(folder, rows, **header))
    assert isinstance(task, Task)
    return task


def test_each_schema_becomes_contexts_and_continuations(tmp_path: Path) -> None:
    """A space is put before a continuation; what brings white space itself is taken as it is."""
    choice = read(tmp_path, [QUESTION]).items[0]
    assert choice.pairs == [("Two and two make", " four"), ("Two and two make", " five")]
    partial = {"id": "p", "context_options": ["Ann because Ann", "Ann because Bo"],
               "continuation": "slept.", "gold": 1}  # fmt: skip
    item = read(tmp_path, [partial], schema="partial").items[0]
    assert item.pairs == [("Ann because Ann", " slept."), ("Ann because Bo", " slept.")]
    rows = [
        {"id": "a", "context": "He opened the", "continuation": "door"},
        {"id": "b", "context": "5 + 5 =", "continuation": " 10"},
        {"id": "c", "context": "the", "continuation": "\n\nrecorder"},
        {"id": "d", "context": "", "continuation": "Alone"},
    ]
    task = read(tmp_path, rows, schema="completion")
    assert [item.continuations for item in task.items] == [
        (" door",), (" 10",), ("\n\nrecorder",), ("Alone",),
    ]  # fmt: skip
    assert task.metric == "greedy_match"


def test_prompt_and_examples_are_rendered(tmp_path: Path) -> None:
    """Few-shot examples stand before each item, those of its own subject where asked for."""
    examples = [
        {"id": f"e{i}", "context": f"Example {i}", "choices": ["no", "yes"], "gold": i % 2,
         "subject": "ab"[i % 2]} for i in range(4)
    ]  # fmt: skip
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in examples))
    rows = [QUESTION | {"subject": "b"}]
    task = read(
        tmp_path, rows, prompt="Q: {{context}}\nA:",
        fewshot={"count": 1, "data": "dev.jsonl", "match": "subject"},
    )  # fmt: skip
    assert task.items[0].contexts == ("Q: Example 1\nA: yes\n\nQ: Two and two make\nA:",)


def test_examples_of_the_task_itself_are_not_scored(tmp_path: Path) -> None:
    """`fewshot: 2` takes the first two rows as examples and leaves them out of the items."""
    rows = [QUESTION | {"id": f"q{i}", "context": f"Case {i}"} for i in range(5)]
    task = read(tmp_path, rows, fewshot=2)
    assert [item.id for item in task.items] == ["q2", "q3", "q4"]
    assert task.items[0].contexts == ("Case 0 four\n\nCase 1 four\n\nCase 2",)


def test_limit_takes_items_from_the_whole_file(tmp_path: Path) -> None:
    """Ten of a hundred are every tenth."""
    rows = [QUESTION | {"id": f"q{i}", "context": f"Case {i}"} for i in range(100)]
    assert [item.id for item in read(tmp_path, rows, limit=10).items] == [
        f"q{i}" for i in range(0, 100, 10)
    ]


def test_generation_reads_its_answers_by_the_pattern(tmp_path: Path) -> None:
    """GSM8K's worked answers become the number that its scorer reads."""
    row = {"id": "g", "question": "How many?", "answer": "It is 2*617 = 1,234.\n#### 1,234"}
    task = read(tmp_path, [row], schema="generation", answer_pattern="gsm8k", stop="\n\n")
    assert task.items[0].answers == ("1234",)
    assert (task.metric, task.generation.stop) == ("exact_match", ("\n\n",))


def test_question_without_an_answer_is_refused(tmp_path: Path) -> None:
    """No answer could be right."""
    with pytest.raises(BadFileError, match="line 1, the item: it has neither answer nor answers"):
        read(tmp_path, [{"id": "g", "question": "How many?"}], schema="generation")


def test_task_knows_whether_its_items_are_generated(tmp_path: Path) -> None:
    """By its items' kind, which is the same for all."""
    asked = read(tmp_path, [{"id": "g", "question": "q", "answer": "a"}], schema="generation")
    chosen = read(tmp_path, [QUESTION])
    assert (asked.generates, chosen.generates) == (True, False)
    with pytest.raises(ValidationError, match="some items have continuations and others answers"):
        Task(name="mixed", metric="acc", items=(*asked.items, *chosen.items), sha256="")


def test_text_is_joined_byte_for_byte(tmp_path: Path) -> None:
    """A text task is the rows' texts, nothing between them."""
    rows = [{"id": "1", "text": " = A =\n"}, {"id": "2", "text": "B"}]
    task = read_task(write_task(tmp_path, rows, schema="text", chunks=2))
    assert isinstance(task, TextTask)
    assert (task.text, task.chunks) == (" = A =\nB", 2)


def test_items_that_share_a_context_share_a_cluster(tmp_path: Path) -> None:
    """By themselves where the whole context is the same, by the header's template otherwise."""
    rows = [
        QUESTION | {"id": "a"}, QUESTION | {"id": "b", "choices": ["six", "ten"]},
        QUESTION | {"id": "c", "context": "Other"},
    ]  # fmt: skip
    first, second, third = (item.cluster for item in read(tmp_path, rows).items)
    assert first == second != third
    named = read(tmp_path, rows, cluster="{{ context.split(' ')[0] }}")
    assert [item.cluster for item in named.items] == ["Two", "Two", "Other"]


def test_cluster_by_a_long_passage_has_a_short_name(tmp_path: Path) -> None:
    """Two passages that part late are two clusters, and no answer carries a whole passage."""
    passages = ["a" * 20_000 + end for end in ("x", "y", "x")]
    questions = [QUESTION | {"id": str(n), "p": text} for n, text in enumerate(passages)]
    names = [item.cluster for item in read(tmp_path, questions, cluster="{{p}}").items]
    assert names[0] == names[2] != names[1]
    assert len(names[0]) == 64


def test_repeated_choice_is_left_out_and_counted(tmp_path: Path) -> None:
    """An item whose choices are no choice is no item; the task says which and why."""
    rows = [QUESTION, QUESTION | {"id": "q2", "choices": ["same", "same"]}]
    task = read(tmp_path, rows)
    assert [item.id for item in task.items] == ["q1"]
    assert [(skip.id, skip.reason) for skip in task.skipped] == [("q2", "a choice stands twice")]


def test_answer_that_is_always_first_is_told(tmp_path: Path) -> None:
    """A scorer that takes the first would get everything right there."""
    rows = [QUESTION | {"id": f"q{i}"} for i in range(30)]
    assert "always choice 1" in read(tmp_path, rows).warnings[0]
    mixed = [row | {"gold": i % 2} for i, row in enumerate(rows)]
    assert read(tmp_path, mixed).warnings == ()


def test_sum_names_whatever_decides_the_result(tmp_path: Path) -> None:
    """Another prompt, metric or item is another task; another name is not."""
    base = read(tmp_path, [QUESTION])
    assert read(tmp_path, [QUESTION], name="other").sha256 == base.sha256
    changed = [
        read(tmp_path, [QUESTION], metric="acc"),
        read(tmp_path, [QUESTION], prompt="{{context}}:"),
        read(tmp_path, [QUESTION | {"gold": 1}]),
        read(tmp_path, [QUESTION], chat=True),
    ]
    assert len({base.sha256, *(task.sha256 for task in changed)}) == 5


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"gold": 2}, "line 2, the item: gold is 2, but there are 2 choices"),
        ({"gold": -1}, "line 2, gold:"),
        ({"gold": "first"}, "line 2, gold:"),
        ({"choices": ["four", ""]}, "line 2, choices.1:"),
        ({"choices": ["four"]}, "line 2, choices:"),
        ({"choices": None}, "line 2, choices:"),
        ({"context": ["a"]}, "line 2, context:"),
        ({"id": "q1"}, "'q1' stands on line 1 already"),
        ({"id": ""}, "line 2, id:"),
    ],
)
def test_bad_row_is_refused_by_line_and_field(
    tmp_path: Path, row: dict[str, Any], said: str
) -> None:
    """The message says where, and what was expected there."""
    with pytest.raises(BadFileError) as caught:
        read(tmp_path, [QUESTION, QUESTION | {"id": "q2"} | row])
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"schema": "quiz"}, "line 3, schema:"),
        ({"metric": "exact_match"}, "line 4, metric: exact_match doesn't go with the schema"),
        ({"metrics": "acc"}, "line 4, metrics: no such field"),
        ({"limit": 0}, "line 4, limit:"),
        ({"name": "../up"}, "line 1, name:"),
        ({"data": "missing.jsonl"}, "can't read"),
        ({"data": "../quiz.jsonl"}, "data: '../quiz.jsonl' is outside its folder"),
        ({"data": "/dev/zero"}, "data: '/dev/zero' is outside its folder"),
        ({"data": "a\0b"}, "can't be the name of a file"),
        ({"data": "."}, "is a folder, not a file"),
        ({"fewshot": {"count": 1, "data": "/etc/passwd"}}, "is outside its folder"),
        ({"limit": 10**41}, "line 4: a number has more than 40 digits"),
        ({"prompt": "{{context"}, "prompt isn't a Jinja template"),
        ({"prompt": "{{missing}}"}, "line 1: quiz.yaml, prompt can't be rendered"),
        ({"prompt": "{{ ''.__class__.__mro__ }}"}, "can't be rendered"),
        ({"prompt": "{{ 'a' * 1000000000 }}"}, "can't be rendered"),
        (
            {"prompt": "{{ 'a'.ljust(3000000000) }}"},
            "line 1: quiz.yaml, prompt can't be rendered: ",
        ),
        ({"prompt": "{{" + "9" * 5000 + "}}"}, "prompt isn't a Jinja template"),
        ({"prompt": "{{ context" + "|trim" * 500 + "}}"}, "prompt isn't a Jinja template"),
        ({"answer_pattern": "(", "schema": "multiple_choice"}, "answer_pattern: not a regular"),
        ({"fewshot": 9}, "9 examples leave none"),
        ({"stop": [""]}, "line 4, stop.0:"),
    ],
)
def test_bad_header_is_refused_by_line_and_field(
    tmp_path: Path, header: dict[str, Any], said: str
) -> None:
    """The message says where; a template can neither reach out nor blow up."""
    with pytest.raises(BadFileError) as caught:
        read(tmp_path, [QUESTION], **header)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"id": "1", "text": "caf\xe9"}\n', "line 1, byte 25: 0xe9 is not UTF-8"),
        (b'{"id": "1", "text": "ok"}\n\xff\xfe\n', "line 2, byte 1: 0xff is not UTF-8"),
        ('{"id": "1", "text": "ok"}'.encode("utf-16"), "UTF-16"),
        (b'{"id": "1", "text": "\\ud800"}\n', "line 1"),
        (b"", "has no items"),
        (b"[1]\n", "line 1"),
    ],
)
def test_mixed_encodings_are_named_by_line_and_byte(tmp_path: Path, raw: bytes, said: str) -> None:
    """A line in another encoding is never guessed at."""
    path = write_task(tmp_path, [], schema="text")
    (tmp_path / "quiz.jsonl").write_bytes(raw)
    with pytest.raises(BadFileError) as caught:
        read_task(path)
    assert said in caught.value.message


def test_byte_order_mark_and_line_separators_are_text(tmp_path: Path) -> None:
    """A BOM at the start is dropped; U+2028 inside a string ends no line."""
    path = write_task(tmp_path, [], schema="text")
    raw = '{"id": "1", "text": "a\u2028b"}\n{"id": "2", "text": "c"}\n'.encode("utf-8-sig")
    (tmp_path / "quiz.jsonl").write_bytes(raw)
    task = read_task(path)
    assert isinstance(task, TextTask)
    assert task.text == "a\u2028bc"


@given(st.binary(max_size=300))
def test_whatever_stands_in_a_file_is_rows_or_refused(raw: bytes) -> None:
    """No bytes get anything else than rows or one clear error."""
    try:
        rows = read_rows("x.jsonl", raw, MultipleChoiceRow)
    except BadFileError as error:
        said = error.message
    else:
        said = "x.jsonl" if rows else ""
    assert said.startswith("x.jsonl")


def test_pattern_that_takes_for_ever_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers of a task's own rows are read while it is loaded, and not for long."""
    monkeypatch.setattr(answers, "PATTERN_S", 0.1)
    row = {"id": "g", "question": "How many?", "answer": "a" * 50_000 + "b"}
    with pytest.raises(BadFileError, match=r"line 1: the answer_pattern '\(a\|aa\)\+\$' takes too"):
        read(tmp_path, [row], schema="generation", answer_pattern="(a|aa)+$")


def test_task_is_no_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, what stands in them, and all prompts together have their limits."""
    questions = [QUESTION | {"id": str(number)} for number in range(3)]
    monkeypatch.setattr(rows, "DATA_ROWS", 2)
    with pytest.raises(BadFileError, match="line 3: more than 2 rows"):
        read(tmp_path, questions)
    monkeypatch.undo()
    monkeypatch.setattr(rows, "DATA_VALUES", 20)
    with pytest.raises(BadFileError, match="line 1: more than 20 values"):
        read(tmp_path, [QUESTION | {"more": [[]] * 20}])
    monkeypatch.undo()
    monkeypatch.setattr(load, "TASK_BYTES", 300)
    with pytest.raises(BadFileError, match="line 2: the task's texts take more than"):
        read(tmp_path, questions)
    monkeypatch.undo()
    with pytest.raises(BadFileError, match="line 3: with its examples more than 200000 char"):
        read(tmp_path, [row | {"context": "a" * 90_000} for row in questions], fewshot=2)


def test_templates_that_print_values_need_no_process() -> None:
    """What only prints is rendered here; what could take time or memory isn't."""
    for source in ("", "Q: {{context}}\nA:", "{{ a.b[0]['c'] | trim }}{{ 1 }}"):
        assert is_plain(source, "it")
    for source in (
        "{% for a in b %}{% endfor %}", "{{ a() }}", "{{ a ~ a }}", "{{ a|center(9) }}",
        "{{ a + b }}", "{{ a|indent }}", "{% set a = 1 %}", "{{ a[1:] }}", "{{ [a, a] }}",
    ):  # fmt: skip
        assert not is_plain(source, "it")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "time"),
        ("{% set a = namespace(x=99) %}{% for i in range(99) %}{% set a.x = a.x * a.x %}"
         "{% endfor %}", "time"),
        ("{{ '%3000000000d' % 1 }}", "memory"),
        ("{{ range(99999)|join('a'.ljust(99999)) }}", "memory"),
        ("{% for a in range(99999) %}abc{% endfor %}", "200000 characters"),
    ],
    ids=["loops", "numbers", "width", "join", "output"],
)  # fmt: skip
def test_template_that_takes_too_much_is_ended(
    source: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time, memory and output have limits of their own, and another template goes on."""
    monkeypatch.setattr(templates, "RENDER_S", 0.2)
    with closing(templates.Renderer()) as renderer:
        with pytest.raises(BadFileError, match=f"it can't be rendered: .*{said}"):
            renderer.template(source, "it")({})
        assert renderer.template("{% if a %}{{ a }}{% endif %}", "it")({"a": "é😀"}) == "é😀"


def test_renderer_that_is_ended_or_stopped_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever becomes of the process, there is one line, and no waiting for ever."""
    for number, said in {signal.SIGKILL: "ended by signal 9", signal.SIGSTOP: "answer"}.items():
        with closing(templates.Renderer()) as renderer:
            render = renderer.template("{% if a %}{{ a }}{% endif %}", "it")
            assert render({"a": "b"}) == "b"
            assert renderer._child is not None
            os.kill(renderer._child._process.pid, number)
            if number == signal.SIGSTOP:
                monkeypatch.setattr(templates, "RENDER_SILENCE_S", 0.3)
            with pytest.raises(BadFileError, match=said):
                render({"a": "b" * 200_000})


@given(st.dictionaries(st.sampled_from("abc"), st.text(max_size=20), max_size=3), st.text())
def test_templates_give_text_or_one_error(values: dict[str, str], source: str) -> None:
    """Whatever is written in a template, it renders a text or is refused."""
    try:
        said = "the prompt" + compiled(source, "the prompt")(values)
    except BadFileError as error:
        said = error.message
    assert said.startswith("the prompt")


def test_unknown_task_is_refused_with_the_nearest() -> None:
    """A name that is nearly right is told."""
    with pytest.raises(UsageError) as caught:
        load_task("basic")
    assert "basics" in caught.value.hint


def test_passages_are_long_enough_for_their_chunks() -> None:
    """The built-in text has at least 60 kB."""
    task = load_task("divergence")
    assert isinstance(task, TextTask)
    assert len(task.text.encode()) >= 60_000


def test_two_tasks_of_one_name_are_refused(edgebench: Shell, fakes: MakeFake) -> None:
    """Their runs would be taken for one another."""
    fakes("f16")
    for folder in ("a", "b"):
        (edgebench.cwd / folder).mkdir()
        write_task(edgebench.cwd / folder, [QUESTION])
    done = edgebench("profile", "fakes", "--device", "cpu", "--tasks", "a/quiz.yaml,b/quiz.yaml")
    assert (done.returncode, "two tasks have the name 'quiz'" in done.stderr) == (2, True)

"""Answers read out of generated text, as the scorers that people know read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.errors import BadFileError
from edgebench.records import answers
from edgebench.records.answers import (
    PATTERNS,
    after_thought,
    before_stop,
    check_pattern,
    extracted,
    is_right,
)
from edgebench.records.settings import Settings
from edgebench.records.spans import ChatTemplate
from edgebench.records.task import Generation
from edgebench.sources import templates
from edgebench.worker.runtimes import Room
from edgebench.worker.runtimes.fake import FakeSession
from edgebench.worker.score.chat import Prompts
from edgebench.worker.score.generate import Writer


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("so 3 + 4 = 7\n#### 7", "7"),
        ("#### 1,450 apples", "1450"),
        ("#### -3.5", "-3.5"),
        ("#### 5\n#### 6", "5"),
        ("the answer is 7", None),
        ("####7", None),
        ("#### $7", None),
    ],
)
def test_numbers_are_read_as_gsm8k_reads_them(text: str, found: str | None) -> None:
    """Its own regular expression, the first match, commas removed."""
    assert extracted(text, PATTERNS["gsm8k"]) == found


@given(st.integers(-(10**12), 10**12), st.text(alphabet="abc #\n.", max_size=30))
def test_number_after_the_mark_is_found_in_any_text(number: int, before: str) -> None:
    """Whatever stands before it, and with or without commas."""
    text = before.replace("####", "") + f"#### {number:,}"
    expected = re.search(r"#### (\-?[0-9\.\,]+)", text)
    assert expected
    assert extracted(text, PATTERNS["gsm8k"]) == str(number)


@pytest.mark.parametrize(
    ("text", "found"),
    [("From 3 to 12 there are 9.", "9"), ("It costs $1,200.", "1200"), ("none", None),
     ("-4 degrees", "-4"), ("x" * 50_000, None)],
)  # fmt: skip
def test_last_number_is_read(text: str, found: str | None) -> None:
    """Without its comma, currency and full stop; quickly in a long text without numbers."""
    assert extracted(text, PATTERNS["last_number"]) == found


@given(
    st.sampled_from(
        [*PATTERNS.values(), r"answer is (\-?[0-9\.,]+)", r"(?i)\(([a-e])\)", r"^\s*(\w+)(?<!\.)",
         r"(\$?[0-9]+(?:\.[0-9]+)?)\s*$", r"\b([A-D])\b", r"(a|b)?\1x*"]
    ),
    st.text("ab(ABC)9.,-$# x\n\u00c9\u0661answeri", max_size=40),
)  # fmt: skip
def test_patterns_with_a_limit_match_what_re_matches(pattern: str, text: str) -> None:
    """The engine that can be told to stop gives the same answers as Python's own."""
    wanted, match = re.search(pattern, text), answers._Search(pattern)(text)
    assert (wanted and (wanted.span(), wanted.groups())) == (
        match and (match.span(), match.groups())
    )


@pytest.mark.parametrize(
    "pattern", ["(", "a{e<=1}", "(?R)", "[", "a**", r"\p{L}", "(?P<a", "(a" * 500]
)
def test_what_re_would_not_take_is_no_pattern(pattern: str) -> None:
    """Neither is what only the other engine understands."""
    with pytest.raises(BadFileError, match="not a regular expression"):
        check_pattern(pattern)


def test_time_of_a_pattern_is_limited_for_all_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many texts, each a little too slow, come to an end as one does that never ends."""
    monkeypatch.setattr(answers, "PATTERN_S", 0.1)
    monkeypatch.setattr(answers, "PATTERN_EACH_S", 0.001)
    search = answers._Search("(a|aa)+$")
    with pytest.raises(BadFileError, match=r"the answer_pattern '\(a\|aa\)\+\$' takes too long"):
        list(map(search, ["a" * 22 + "b"] * 1000))


def test_trace_is_no_part_of_the_answer() -> None:
    """What stands up to the last end-of-thought mark is left out."""
    assert after_thought("I think 4.</think>\n5", ["</think>"]) == "\n5"
    assert after_thought("no trace", ["</think>"]) == "no trace"


def test_first_stop_string_ends_the_answer() -> None:
    """Whichever of them comes first."""
    assert before_stop("a\n\nb Question:", ["Question:", "\n\n"]) == ("a", True)
    assert before_stop("abc", ["x"]) == ("abc", False)


def test_squad_comparison_takes_case_articles_and_punctuation_away() -> None:
    """As SQuAD's scorer normalises, any of the answers counts."""
    squad = Generation(normalise="squad")
    assert is_right(" The Eiffel Tower!", ["eiffel tower"], squad)[0]
    assert not is_right("The Eiffel Tower!", ["eiffel tower"], Generation())[0]
    assert is_right("b", ["a", "b"], Generation()) == (True, "b")


def say(words: str, prompt: str = "Q", **generation: object) -> str:
    """Return what is taken of a session that says `words`."""
    session = FakeSession({"says": words}, Settings(), Room(2048))
    said = Generation(**{"max_tokens": 200, **generation})  # type: ignore[arg-type]
    return Writer(session, said).write(list(prompt.encode()), prompt)


def test_generation_ends_at_stop_end_or_limit() -> None:
    """A stop string is cut off; the end token and the limit are no text."""
    assert say("four\n\nQuestion: next", stop=("\n\n",)) == "four"
    assert say("four") == "four"
    assert say("abcdef", max_tokens=3) == "abc"


def test_stop_strings_do_not_count_inside_a_trace() -> None:
    """A trace may have empty lines; one that never ends is no answer."""
    words = "<think>first\n\nthen</think>four\n\nmore"
    assert say(words, stop=("\n\n",)).endswith("</think>four")
    assert say("first\n\nthen</think>four", "Q<think>\n", stop=("\n\n",)).endswith("</think>four")
    assert say("<think>on and on", stop=("\n\n",)) == ""


def test_neighbouring_prompts_give_what_each_gives_alone() -> None:
    """What a prompt shares with the one before is kept, never what was said after it."""
    session = FakeSession({"says": "yes"}, Settings(), Room(2048))
    writer = Writer(session, Generation(max_tokens=10))
    assert [writer.write(list(p.encode()), p) for p in ("abc", "abd", "abd", "a")] == ["yes"] * 4


CHATML = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def test_chat_template_frames_the_prompt_and_the_answer_follows() -> None:
    """The continuation starts right after the assistant's mark, without its space."""
    session = FakeSession({}, Settings(), Room(2048))
    prompts = Prompts(session, ChatTemplate(CHATML))
    start, tokens = prompts.joined("Hi", " there")
    assert bytes(tokens) == b"<|user|>Hi<|end|><|assistant|>there"
    assert bytes(tokens[start:]) == b"there"


def test_without_a_context_the_first_token_is_scored_too() -> None:
    """The token that stands for a text's beginning comes before it, but never twice."""
    prompts = Prompts(FakeSession({}, Settings(), Room(64)))
    assert prompts.joined("", "He") == (1, (0, 72, 101))
    assert prompts.joined("", "\0He") == (1, (0, 72, 101))
    assert prompts.joined("a", "He") == (1, (97, 72, 101))


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.append(1) }}",
        "{{ messages.__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ raise_exception('no system message') }}",
        "{% for a in range(1000000) %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'a'.ljust(3000000000) }}",
        "{% for a in range(99999) %}{{ messages }}{% endfor %}",
        "{" * 300_000,
    ],
    ids=["append", "class", "globals", "raise", "range", "loops", "memory", "output", "source"],
)
def test_chat_template_is_rendered_in_a_sandbox(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can change nothing, reach nothing and take no length of time, memory or output."""
    monkeypatch.setattr(templates, "RENDER_S", 0.2)
    templates._chat_renderer.cache_clear()
    prompts = Prompts(FakeSession({}, Settings(), Room(64)), ChatTemplate(source))
    with pytest.raises(BadFileError, match=r"chat template (can't be rendered|has more)"):
        prompts.rendered("Hi")

"""tasks check --show: what a model reads, to the letter, and where what is scored begins."""

from __future__ import annotations

import json
from pathlib import Path

from support.shell import Shell


def write(folder: Path, header: str, *rows: dict[str, object]) -> None:
    """Write a task file with its rows."""
    (folder / "quiz.yaml").write_text(f"name: quiz\ndata: quiz.jsonl\n{header}")
    (folder / "quiz.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_choices_are_shown_after_their_prompt(edgebench: Shell) -> None:
    """The prompt's lines and spaces, a mark where scoring begins, and which choice is right."""
    row = {"id": "a", "context": "One\ttab", "choices": ["red", "blue"], "gold": 1}
    write(
        edgebench.cwd,
        'schema: multiple_choice\nprompt: "Q: {{context}}\\nA:"\n',
        row,
        row | {"id": "b", "context": "Two"},
    )
    done = edgebench("tasks", "check", "quiz.yaml", "--show", "1")
    assert done.stdout.splitlines()[1:] == [
        "Item a, as the model reads it:",
        "    Q: One\\ttab⏎",
        "    A:»",
        "  From » on each of these is scored:",
        "    1. » red",
        "    2. » blue  <- right",
    ]
    shown = edgebench.json("tasks", "check", "quiz.yaml", "--show", "5", "--json")["shown"]
    assert [item["id"] for item in shown] == ["a", "b"]
    assert (shown[0]["prompts"], shown[0]["right"]) == (["Q: One\ttab\nA:"], 1)


def test_generation_shows_what_stops_it_and_what_is_right(edgebench: Shell) -> None:
    """And that a chat template, which the artifact brings, isn't in what is shown."""
    row = {"id": "a", "question": "2 + 2 =", "answers": ["4", "four"]}
    write(edgebench.cwd, 'schema: generation\nchat: true\nstop: ["\\n"]\nmax_tokens: 8\n', row)
    told = edgebench("tasks", "check", "quiz.yaml", "--show", "1").stdout
    assert "Shown without the chat template, which is the artifact's own" in told
    assert "2 + 2 =»" in told
    assert "up to '\\n' or 8 tokens" in told
    assert told.splitlines()[-2:] == ["    4", "    four"]


def test_partial_contexts_and_completions_stand_whole(edgebench: Shell) -> None:
    """Each context with the same continuation; a completion alone."""
    row = {"id": "a", "context_options": ["Ann", "Bob"], "continuation": "ran.", "gold": 0}
    write(edgebench.cwd, "schema: partial\n", row)
    told = edgebench("tasks", "check", "quiz.yaml", "--show", "1").stdout.splitlines()
    assert told[2:6] == ["  1.  <- right", "    Ann» ran.", "  2.", "    Bob» ran."]
    write(edgebench.cwd, "schema: completion\n", {"id": "a", "context": "I", "continuation": "am"})
    assert "    I» am" in edgebench("tasks", "check", "quiz.yaml", "--show", "1").stdout


def test_built_in_tasks_and_texts_can_be_looked_at(edgebench: Shell) -> None:
    """By name; of a text its beginning."""
    assert "<- right" in edgebench("tasks", "check", "basics", "--show", "1").stdout
    assert (
        "The text begins like this"
        in edgebench("tasks", "check", "divergence", "--show", "1").stdout
    )

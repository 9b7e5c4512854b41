"""The small world that the pair learns: questions with exact answers, and a text with a grammar.

Everything is drawn from a seed. A question belongs to the test where its digest says so, so that
training never sees one, however much is drawn.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LETTERS = "abcdefghij"
CHOICES = 4
TEST_SHARE = 10  # one question in ten is kept for the test

NOUNS = ("fox", "cat", "dog", "bird", "child", "farmer", "king", "horse", "fish", "bear")
ADJECTIVES = ("red", "old", "small", "quick", "quiet", "brave", "tired", "young", "green", "kind")
VERBS = ("sees", "follows", "helps", "finds", "likes", "hears", "calls", "meets")
PLACES = ("river", "forest", "house", "field", "bridge", "market", "garden", "road")
WHEN = ("In the morning", "At night", "Today", "Every day", "In spring", "Before dawn")


@dataclass(frozen=True)
class Question:
    """A question with its exact answer and three wrong ones."""

    kind: str
    text: str
    answer: str
    wrong: tuple[str, ...]

    @property
    def is_test(self) -> bool:
        """Return whether it is kept from training."""
        digest = hashlib.sha256(f"{self.kind}|{self.text}".encode()).digest()
        return digest[0] % TEST_SHARE == 0

    @property
    def prompt(self) -> str:
        """Return what a model is given."""
        return f"Q: {self.text}\nA:"

    @property
    def document(self) -> str:
        """Return what a model learns from."""
        return f"{self.prompt} {self.answer}\n"


def question(rng: random.Random) -> Question:
    """Draw a question of any kind."""
    return rng.choice((_sum, _reverse, _sort, _count, _largest, _agree))(rng)


def _sum(rng: random.Random) -> Question:
    first, second = rng.randrange(50), rng.randrange(50)
    answer = first + second
    others = {answer + step for step in (-10, -2, -1, 1, 2, 10)} - {answer}
    wrong = rng.sample(sorted(other for other in others if other >= 0), CHOICES - 1)
    return Question("sum", f"{first} plus {second}", str(answer), tuple(map(str, wrong)))


def _reverse(rng: random.Random) -> Question:
    letters = rng.sample(LETTERS, 4)
    answer = letters[::-1]
    return Question(
        "reverse", f"reverse {' '.join(letters)}", " ".join(answer), _shuffled(answer, rng)
    )


def _sort(rng: random.Random) -> Question:
    letters = rng.sample(LETTERS, 4)
    answer = sorted(letters)
    return Question("sort", f"sort {' '.join(letters)}", " ".join(answer), _shuffled(answer, rng))


def _shuffled(answer: list[str], rng: random.Random) -> tuple[str, ...]:
    """Return other orders of the same letters."""
    wrong: set[str] = set()
    while len(wrong) < CHOICES - 1:
        order = rng.sample(answer, len(answer))
        if order != answer:
            wrong.add(" ".join(order))
    return tuple(sorted(wrong, key=lambda _: rng.random()))


def _count(rng: random.Random) -> Question:
    letter = rng.choice(LETTERS[:4])
    text = [rng.choice(LETTERS[:4]) for _ in range(8)]
    answer = text.count(letter)
    near = sorted(range(9), key=lambda other: (abs(other - answer), rng.random()))
    wrong = tuple(str(other) for other in near if other != answer)[: CHOICES - 1]
    return Question("count", f"count {letter} in {' '.join(text)}", str(answer), wrong)


def _largest(rng: random.Random) -> Question:
    numbers = rng.sample(range(10, 100), 4)
    answer, *wrong = sorted(numbers, reverse=True)
    listed = " ".join(map(str, numbers))
    return Question("largest", f"largest of {listed}", str(answer), tuple(map(str, wrong)))


def _agree(rng: random.Random) -> Question:
    """Ask who did something in a sentence with a clause between."""
    who, other, third, fourth = rng.sample(NOUNS, 4)
    verb, act = rng.sample(VERBS, 2)
    place = rng.choice(PLACES)
    told = f"the {who} that {verb} the {other} {act} the {third} by the {place}."
    text = f"{told} who {act} the {third}?"
    return Question("agree", text, f"the {who}", (f"the {other}", f"the {third}", f"the {fourth}"))


def sentence(rng: random.Random) -> str:
    """Draw a sentence of the text."""
    who, whom = rng.sample(NOUNS, 2)
    first = f"the {rng.choice(ADJECTIVES)} {who} {rng.choice(VERBS)} the {whom}"
    second = f"the {whom} {rng.choice(VERBS)} the {rng.choice(NOUNS)}"
    start = f"{rng.choice(WHEN)} {first} near the {rng.choice(PLACES)}"
    return f"{start}, and {second}." if rng.random() < 0.5 else f"{start}."


def documents(seed: int) -> Iterator[str]:
    """Yield documents to learn from, without end: two questions for each passage of text."""
    rng = random.Random(f"train {seed}")
    while True:
        draw = question(rng)
        if not draw.is_test:
            yield draw.document
        if rng.random() < 0.2:
            yield " ".join(sentence(rng) for _ in range(rng.randrange(2, 5))) + "\n"


def held_out(count: int) -> list[Question]:
    """Return questions that no training has seen, each once."""
    rng = random.Random("test")
    questions: dict[str, Question] = {}
    while len(questions) < count:
        draw = question(rng)
        if draw.is_test:
            questions.setdefault(draw.text, draw)
    return list(questions.values())


def write_task(folder: Path, count: int) -> Path:
    """Write the test as a task file of edgebench; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, asked in enumerate(held_out(count)):
        order = random.Random(f"order {index}").sample(range(CHOICES), CHOICES)
        options = [asked.answer, *asked.wrong]
        rows.append(
            {
                "id": f"{asked.kind}-{index}",
                "context": asked.prompt,
                "choices": [options[place] for place in order],
                "gold": order.index(0),
            }
        )
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "small-world.jsonl").write_text(lines)
    task = folder / "small-world.yaml"
    task.write_text(
        "name: small-world\ndata: small-world.jsonl\nschema: multiple_choice\nmetric: acc\n"
    )
    return task


def write_text(folder: Path, passages: int) -> Path:
    """Write a text of sentences that no training has drawn as a text task; return it."""
    rng = random.Random("held-out text")
    rows = [
        {"id": f"text-{index}", "text": " ".join(sentence(rng) for _ in range(50))}
        for index in range(passages)
    ]
    (folder / "small-text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = folder / "small-text.yaml"
    task.write_text("name: small-text\ndata: small-text.jsonl\nschema: text\n")
    return task

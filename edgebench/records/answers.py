"""Read an answer out of generated text, and compare it with those that count. Pure."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from edgebench.records.task import Generation

# GSM8K's own scorer (openai/grade-school-math, dataset.py), and the last number of a text, as
# lm-evaluation-harness's flexible-extract has it.
PATTERNS = {
    "gsm8k": r"#### (\-?[0-9\.\,]+)",
    "last_number": r"(-?[$0-9.,]{2,}|-?[0-9]+)",
}
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def after_thought(text: str, ends: Sequence[str]) -> str:
    """Return the text after the last end-of-thought mark; all of it where there is none."""
    for mark in ends:
        text = text.rpartition(mark)[2]
    return text


def before_stop(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """Return the text up to the first stop string, and whether there was one."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def extracted(text: str, pattern: str | None) -> str | None:
    """Return what a pattern's first group matches, without commas; the text without a pattern.

    As GSM8K's scorer: the first match, stripped, thousands commas removed. None without a match.
    """
    if pattern is None:
        return text.strip()
    if pattern == PATTERNS["last_number"]:
        numbers = [
            number for number in re.findall(pattern, text) if any(c.isdigit() for c in number)
        ]
        return numbers[-1].replace(",", "").replace("$", "").rstrip(".") if numbers else None
    match = re.search(pattern, text)
    if not match:
        return None
    answer = ((match.group(1) if match.re.groups else match.group(0)) or "").strip()
    return answer.replace(",", "") if re.fullmatch(r"[-\d.,]+", answer) else answer


def is_right(text: str, answers: Sequence[str], generation: Generation) -> tuple[bool, str]:
    """Return whether a generated text answers right, and the answer that was read."""
    given = extracted(after_thought(text, generation.end_of_thought), generation.answer_pattern)
    if given is None:
        return False, ""
    if generation.normalise == "squad":
        return _squad(given) in {_squad(answer) for answer in answers}, given
    return given in {answer.strip() for answer in answers}, given


def _squad(text: str) -> str:
    """Normalise as SQuAD's scorer: lower case, no punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())

"""Read an answer out of generated text, and compare it with those that count. Pure."""

from __future__ import annotations

import re
import string
import time
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from edgebench.errors import BadFileError
from edgebench.records.limits import PATTERN_EACH_S, PATTERN_S
from edgebench.records.task import Generation

# GSM8K's own scorer (openai/grade-school-math, dataset.py), and the last number of a text, as
# lm-evaluation-harness's flexible-extract has it.
PATTERNS = {
    "gsm8k": r"#### (\-?[0-9\.\,]+)",
    "last_number": r"(-?[$0-9.,]{2,}|-?[0-9]+)",
}
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
# `a{e<=1}` is plain text to `re`; the package regex would look for a with one error.
_FUZZY = re.compile(r"\{[^{}]*[eisd][^{}]*\}")


def after_thought(text: str, ends: Sequence[str]) -> str:
    """Return the text after the last end-of-thought mark; all of it where there is none."""
    for mark in ends:
        text = text.rpartition(mark)[2]
    return text


def before_stop(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """Return the text up to the first stop string, and whether there was one."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


class _Search:
    """Searches texts for a pattern of a task file, in so much time and no more.

    By the package regex, whose engine can be told to stop. What isn't a pattern of Python's own
    `re` isn't taken, so that a pattern means to both the same.
    """

    def __init__(self, pattern: str) -> None:
        import regex

        self._pattern = pattern
        self._left_s = PATTERN_S
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what a later Python will read otherwise
                re.compile(pattern)
                self._compiled: Any = regex.compile(pattern)
        except (re.error, regex.error, RecursionError, OverflowError, ValueError) as error:
            raise BadFileError(f"not a regular expression: {str(error)[:200]}") from None
        if _FUZZY.search(pattern):
            raise BadFileError("not a regular expression: letters in braces, as in {e<=1}")

    def __call__(self, text: str) -> Any:
        """Return the first match or None; raise BadFileError where the time is used up."""
        start = time.process_time()
        try:
            match = self._compiled.search(text, timeout=max(self._left_s, 1e-3))
        except (TimeoutError, MemoryError):
            raise BadFileError(
                f"the answer_pattern {self._pattern[:100]!r} takes too long to match",
                hint="nested repeats such as (a|aa)+ try every way to divide a text",
            ) from None
        taken_s = time.process_time() - start
        self._left_s = min(PATTERN_S, self._left_s + PATTERN_EACH_S - taken_s)
        return match


@lru_cache(maxsize=16)
def _search(pattern: str) -> Callable[[str], Any]:
    if pattern in PATTERNS.values():  # ours take time in proportion to the text
        return re.compile(pattern).search
    return _Search(pattern)


def check_pattern(pattern: str) -> None:
    """Raise BadFileError where this isn't a regular expression that can be taken."""
    _search(pattern)


def extracted(text: str, pattern: str | None) -> str | None:
    """Return what a pattern's first group matches, without commas; the text without a pattern.

    As GSM8K's scorer: the first match, stripped, thousands commas removed. None without a match.
    Raises BadFileError where the pattern takes too long.
    """
    if pattern is None:
        return text.strip()
    if pattern == PATTERNS["last_number"]:
        numbers = [
            number for number in re.findall(pattern, text) if any(c.isdigit() for c in number)
        ]
        return numbers[-1].replace(",", "").replace("$", "").rstrip(".") if numbers else None
    match = _search(pattern)(text)
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

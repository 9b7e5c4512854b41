"""Items and texts as a model gets them, for a person to look at: where a target begins is marked.

Knows tasks. Control characters are written out: nothing is hidden, and no terminal is fooled.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgebench.records.base import clean
from edgebench.records.task import Item, Task, TextTask
from edgebench.report.format import counted

TEXT_CHARACTERS = 1_000  # of a text's beginning
INDENT = "    "
MARK = "»"  # what stands right of it is scored, or is the model's to say


def shown(task: Task | TextTask, count: int) -> list[dict[str, Any]]:
    """Return the first `count` items: prompts, what is scored after them, and what is right."""
    if isinstance(task, TextTask):
        return [{"id": task.name, "text": task.text[:TEXT_CHARACTERS]}]
    return [
        {
            "id": item.id,
            "prompts": list(item.contexts),
            "choices": list(item.continuations),
            "right": item.gold if len(item.pairs) > 1 else None,
            "answers": list(item.answers),
            "cluster": item.cluster,
        }
        for item in task.items[:count]
    ]


def prompt_lines(task: Task | TextTask, count: int) -> list[str]:
    """Return the first `count` items, or a text's beginning, as lines."""
    if isinstance(task, TextTask):
        begin = f"The text begins like this; it is read in up to {counted(task.chunks, 'chunk')}:"
        return [begin, *_block(task.text[:TEXT_CHARACTERS])]
    lines = []
    if task.chat:
        lines.append(
            "Shown without the chat template, which is the artifact's own: each prompt is a user's "
            "message in it, and what is scored begins the answer, without its space."
        )
    for item in task.items[:count]:
        cluster = f", in cluster {item.cluster}" if item.cluster else ""
        lines.append(clean(f"Item {item.id}{cluster}, as the model reads it:", 400))
        lines += _item_lines(item, task)
    return lines


def _item_lines(item: Item, task: Task) -> Iterator[str]:
    if item.answers:
        yield from _block(item.contexts[0] + MARK)
        stops = ", ".join(repr(stop) for stop in task.generation.stop) or "an end token"
        limit = counted(task.generation.max_tokens, "token")
        yield f"  From {MARK} on it writes, up to {stops} or {limit}. Right is any of:"
        yield from (INDENT + visible(answer) for answer in item.answers)
        return
    pairs = item.pairs
    if len(item.contexts) == 1 and len(pairs) > 1:
        yield from _block(item.contexts[0] + MARK)
        yield f"  From {MARK} on each of these is scored:"
        for place, (_, continuation) in enumerate(pairs):
            right = "  <- right" if place == item.gold else ""
            yield f"{INDENT}{place + 1}. {MARK}{visible(continuation)}{right}"
        return
    for place, (context, continuation) in enumerate(pairs):
        if len(pairs) > 1:
            yield f"  {place + 1}.{'  <- right' if place == item.gold else ''}"
        yield from _block(context + MARK + continuation)
    yield f"  What stands after {MARK} is scored."


def _block(text: str) -> Iterator[str]:
    r"""Give a text's lines; a line that ends in a newline says so."""
    *ended, last = text.split("\n")
    yield from (f"{INDENT}{visible(line)}⏎" for line in ended)
    if last:
        yield f"{INDENT}{visible(last)}"


def visible(text: str) -> str:
    """Return a text with what can't be seen written out, as Python would write it."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )

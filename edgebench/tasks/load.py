"""Load tasks: a small YAML header beside JSONL rows, by name or by file. Scores nothing.

Knows how prompts and few-shot examples are rendered, and which rows are left out and counted.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from importlib.resources import as_file, files
from pathlib import Path

from pydantic import ValidationError

from edgebench.errors import BadFileError, UsageError, nearest
from edgebench.records.accuracy import Skip
from edgebench.records.answers import extracted
from edgebench.records.faults import first_fault
from edgebench.records.limits import (
    DATA_BYTES,
    LABEL_CHARACTERS,
    RENDERED_CHARACTERS,
    TASK_BYTES,
)
from edgebench.records.task import Item, Task, TextTask
from edgebench.sources.files import read_regular, within
from edgebench.sources.templates import Render, Renderer
from edgebench.tasks.header import Header, read_header
from edgebench.tasks.rows import ITEM_ROWS, GenerationRow, ItemRow, R, TextRow, read_rows

BUILT_IN = ("basics", "divergence")
MANY_ITEMS = 20  # from here on an answer that is always at one place isn't an accident
SEPARATOR = "\n\n"  # after each few-shot example


def load_task(name: str) -> Task | TextTask:
    """Load a built-in task by name, or a task file by its path.

    Raises UsageError on an unknown name, BadFileError with line and field on a bad file.
    """
    if name in BUILT_IN:
        with as_file(files("edgebench.tasks")) as folder:
            return read_task(folder / f"{name}.yaml")
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return read_task(path)
    hint = f"{nearest(name, BUILT_IN)} Or give a task file: FILE.yaml"
    raise UsageError(f"unknown task {name!r}", hint=hint)


def read_task(path: Path) -> Task | TextTask:
    """Read a task file: its header, and the rows that it names."""
    header = read_header(path)
    if header.kind == "text":
        return _text_task(header, [row.text for _, row in _rows(path, header.data, TextRow)])
    with closing(Renderer()) as renderer:
        builder = _Builder(path, header, renderer)
        return builder.task(_rows(path, header.data, ITEM_ROWS[header.kind]))


def _rows(task: Path, name: str, kind: type[R]) -> list[tuple[int, R]]:
    """Read the rows of a file beside a task's, or in a folder below."""
    try:
        path = within(task.parent, name)
    except BadFileError as error:
        raise BadFileError(f"{task}, data: {error.message}") from None
    return read_rows(path.name, read_regular(path, DATA_BYTES), kind)


def _text_task(header: Header, parts: Sequence[str]) -> TextTask:
    text = "".join(parts)
    try:
        return TextTask(name=header.name, text=text, sha256=_digest(text), chunks=header.chunks)
    except ValidationError as error:
        raise BadFileError(f"task {header.name}, {first_fault(error, 'the text')}") from None


class _Builder:
    """Turns rows into items as one header says."""

    def __init__(self, path: Path, header: Header, renderer: Renderer) -> None:
        self._path, self._header = path, header
        default = "{{question}}" if header.kind == "generation" else "{{context}}"
        self._prompt = renderer.template(header.prompt or default, f"{path.name}, prompt")
        self._cluster: Render | None = None
        if header.cluster:
            self._cluster = renderer.template(header.cluster, f"{path.name}, cluster")
        self._left_bytes = TASK_BYTES

    def task(self, rows: Sequence[tuple[int, ItemRow]]) -> Task:
        """Render all items; leave out, and count, what can't be scored."""
        header = self._header
        heads, rows = self._heads(rows)
        if header.limit and header.limit < len(rows):
            # Evenly spaced: files are often sorted by kind.
            rows = [rows[i * len(rows) // header.limit] for i in range(header.limit)]
        items, skipped = [], []
        for number, row in rows:
            if row.unusable:
                skipped.append(Skip(id=row.id, reason=row.unusable))
                continue
            with _Named(f"{header.data}, line {number}"):
                items.append(self._item(row, heads.get(self._match(row), "")))
        if not items:
            raise BadFileError(f"task {header.name} has no item left: {skipped[0].reason}")
        return _identified(
            Task(
                name=header.name,
                metric=header.chosen_metric,
                items=_clustered(items),
                sha256="",
                chat=header.chat,
                generation=header.generation,
                skipped=tuple(skipped),
                warnings=_constant_answer(items),
            )
        )

    def _item(self, row: ItemRow, head: str) -> Item:
        contexts = tuple(self._sized(head, self._prompt(values)) for values in row.renderings)
        cluster = self._sized(_label(self._cluster(row.values))) if self._cluster else ""
        if isinstance(row, GenerationRow) or self._header.chosen_metric == "exact_match":
            pattern = self._header.generation.answer_pattern
            answers = tuple(extracted(text, pattern) or text.strip() for text in row.options)
            return Item(id=row.id, contexts=contexts, answers=answers, cluster=cluster)
        return Item(
            id=row.id,
            contexts=contexts,
            continuations=tuple(
                self._sized(self._joined(contexts[0], option)) for option in row.options
            ),
            gold=row.right,
            cluster=cluster,
        )

    def _sized(self, *parts: str) -> str:
        """Join texts; raise BadFileError where they, or all of the task's, are too long."""
        if sum(map(len, parts)) > RENDERED_CHARACTERS:
            raise BadFileError(f"with its examples more than {RENDERED_CHARACTERS} characters")
        text = "".join(parts)
        self._left_bytes -= sys.getsizeof(text)
        if self._left_bytes < 0:
            raise BadFileError(
                f"the task's texts take more than {TASK_BYTES // 1_000_000} MB",
                hint="set limit: in the task file, or fewer examples",
            )
        return text

    def _joined(self, context: str, continuation: str) -> str:
        """Put the delimiter before a continuation that doesn't bring white space itself."""
        bare = not context or context[-1].isspace() or continuation[0].isspace()
        return continuation if bare else self._header.delimiter + continuation

    def _match(self, row: ItemRow) -> str:
        """Return what an example must have in common with a row."""
        field = self._header.fewshot.match if self._header.fewshot else None
        return str(row.values.get(field)) if field else ""

    def _heads(
        self, rows: Sequence[tuple[int, ItemRow]]
    ) -> tuple[dict[str, str], Sequence[tuple[int, ItemRow]]]:
        """Return the examples before an item, by what it must match, and the rows that are left.

        Those taken from the task's own rows are not scored.
        """
        fewshot = self._header.fewshot
        if fewshot is None:
            return {}, rows
        name, others = self._header.data, rows[: fewshot.count]
        if fewshot.data is not None:
            name = fewshot.data
            others = _rows(self._path, name, ITEM_ROWS[self._header.kind])
        elif fewshot.count >= len(rows):
            raise BadFileError(
                f"{self._path.name}, fewshot: {fewshot.count} examples leave none of "
                f"{len(rows)} items"
            )
        examples: dict[str, list[str]] = {}
        for number, row in others:
            group = examples.setdefault(self._match(row), [])
            if len(group) < fewshot.count:
                with _Named(f"{name}, line {number}"):
                    group.append(self._example(row))
        heads = {match: "".join(group) for match, group in examples.items()}
        return heads, rows if fewshot.data is not None else rows[fewshot.count :]

    def _example(self, row: ItemRow) -> str:
        # What is right is one of several contexts, or one of several options.
        contexts, options = row.renderings, row.options
        context = self._prompt(contexts[min(row.right, len(contexts) - 1)])
        option = self._joined(context, options[min(row.right, len(options) - 1)])
        return self._sized(context, option, SEPARATOR)


class _Named:
    """Puts a line's place before whatever is wrong with it."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        """Do nothing yet."""

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, ValidationError):
            raise BadFileError(f"{self._where}, {first_fault(error, 'the item')}") from None
        if isinstance(error, BadFileError):
            raise BadFileError(f"{self._where}: {error.message}", hint=error.hint) from None


def _clustered(items: list[Item]) -> tuple[Item, ...]:
    """Give items that share a whole context a common cluster, unless the header named clusters."""
    counts = Counter(item.contexts for item in items if item.contexts != ("",))
    if any(item.cluster for item in items) or max(counts.values(), default=1) == 1:
        return tuple(items)
    numbers = {contexts: str(number) for number, contexts in enumerate(counts)}
    return tuple(
        item.model_copy(update={"cluster": numbers.get(item.contexts, f"item {item.id}")})
        for item in items
    )


def _constant_answer(items: Sequence[Item]) -> tuple[str, ...]:
    places = {item.gold for item in items if len(item.pairs) > 1}
    if len(items) < MANY_ITEMS or len(places) != 1 or any(len(i.pairs) < 2 for i in items):
        return ()
    return (
        f"the right answer is always choice {places.pop() + 1}; ties are broken at random, so a "
        "scorer that takes the first gets no reward",
    )


def _label(cluster: str) -> str:
    """Return a cluster's name as each of its answers can carry it: a whole passage by its sum."""
    return cluster if len(cluster) <= LABEL_CHARACTERS else _digest(cluster)


def _identified(task: Task) -> Task:
    """Give a task the sum of all that decides its result: items, metric, how answers are read."""
    whole = task.model_dump_json(exclude={"name", "sha256", "warnings"})
    return task.model_copy(update={"sha256": _digest(whole)})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

"""Find a task of lm-evaluation-harness, and refuse what must not run or can't be translated.

Knows how lm-eval lists its tasks, and where a task's file can bring code. Loads no data.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.metadata
import io
import logging
import random
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from edgebench.errors import BadFileError, MissingExtraError, UnsupportedError, UsageError
from edgebench.records.limits import MESSAGE_CHARACTERS
from edgebench.sources.files import check_regular
from edgebench.sources.templates import Render, Renderer
from edgebench.sources.yaml_lines import compose_yaml

PREFIX = "lm_eval:"
SHOWN = 5  # names of a group's tasks
SEEDS = (0, 1234, 1234)  # lm-eval's own: Python's, numpy's, and that of few-shot examples
PICKLED = ("pandas",)  # builders of datasets that unpickle what they are given


@dataclass(frozen=True)
class Wish:
    """What is asked for: a task's name, where else to look, and how it is to be built."""

    name: str
    include: Path | None = None
    limit: int | None = None
    fewshot: int | None = None
    allow_code: bool = False


@dataclass(frozen=True)
class KnownTask:
    """A task that lm-eval knows: its manager, its settings as written, and its file."""

    manager: Any
    settings: dict[str, Any]
    path: Path | None


def lm_eval_version() -> str:
    """Return lm-eval's version without loading it; raise where it or datasets can't be used."""
    try:
        version = importlib.metadata.version("lm-eval")
        datasets = importlib.metadata.version("datasets")
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtraError("lm-eval", "eval") from None
    if int(datasets.partition(".")[0]) < 4:
        # Before 4.0 it runs the scripts that data sets bring.
        raise UnsupportedError(
            f"datasets {datasets} can run code that a data set brings",
            hint='pip install "datasets>=4"',
        )
    return version


@contextlib.contextmanager
def as_lm_eval_runs() -> Iterator[None]:
    """Seed as lm-eval does, and keep its talk off stdout, and off a stderr that nobody watches."""
    import numpy as np

    python, numpy = random.getstate(), np.random.get_state()
    random.seed(SEEDS[0])
    np.random.seed(SEEDS[1])
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    watched = sys.stderr if sys.stderr.isatty() else io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(watched),
            contextlib.redirect_stderr(watched),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        random.setstate(python)
        np.random.set_state(numpy)


def find_task(wish: Wish) -> KnownTask:
    """Return the task of a name; raise UsageError where it is a group's name, or nobody's."""
    try:
        from lm_eval.tasks import TaskManager
        from lm_eval.tasks._index import Kind
    except ImportError:
        raise UnsupportedError(
            f"lm-eval {lm_eval_version()} isn't a version that edgebench can read tasks of",
            hint='pip install "lm-eval>=0.4.13"',
        ) from None
    if wish.include is not None and not wish.include.is_dir():
        raise UsageError(
            f"there is no folder {wish.include}", hint="--include takes a folder of task YAML"
        )
    if wish.include is not None:
        _check_folder(wish.include)
    own = {path: text_of(path) for path in sorted(_own_folder().rglob("*.yaml"))}
    names = re.findall(r"^task:[ \t]*[\"']?([\w.:+-]+)", "\n".join(own.values()), re.M)
    for folders in _folders(wish, own):
        manager = TaskManager(include_path=folders, include_defaults=False)
        names += manager.all_subtasks
        entry = manager.task_index.get(wish.name)
        if entry is not None and entry.kind in (Kind.TASK, Kind.PY_TASK):
            return KnownTask(manager, dict(entry.cfg or {}), entry.yaml_path)
        if entry is not None and folders[0] in (str(wish.include), str(_own_folder())):
            raise _is_group(wish.name, manager)
    close = difflib.get_close_matches(wish.name, set(names), n=1, cutoff=0.5)
    hint = f"did you mean {PREFIX}{close[0]}?" if close else "lm_eval ls tasks names them all"
    raise UsageError(f"lm-evaluation-harness has no task {wish.name!r}", hint=hint)


def _folders(wish: Wish, own: Mapping[Path, str]) -> Iterator[list[str]]:
    """Give the folders to look in, small ones first: lm-eval takes ten seconds to read its own."""
    if wish.include:
        yield [str(wish.include)]
    naming = re.compile(rf"^task:\s*([\"']?){re.escape(wish.name)}\1\s*$", re.M)
    near = {str(path.parent) for path, text in own.items() if naming.search(text)}
    if near:
        yield sorted(near)
    if any(wish.name in text for text in own.values()):
        yield [str(_own_folder())]


def _own_folder() -> Path:
    import lm_eval

    return Path(str(lm_eval.__file__)).resolve().parent / "tasks"


def is_own(path: Path) -> bool:
    return path.resolve().is_relative_to(_own_folder())


def text_of(path: Path) -> str:
    return path.read_text("utf-8", "replace")


def _is_group(name: str, manager: Any) -> UsageError:
    names = sorted(set(_members(manager.task_index, name)))
    some = ",".join(PREFIX + task for task in names[:SHOWN])
    more = f",... ({len(names)} in all)" if len(names) > SHOWN else ""
    return UsageError(
        f"{PREFIX}{name} is a group of tasks",
        hint=f"give them one by one, separated by commas: {some}{more}",
    )


def _members(index: Any, name: str, depth: int = 0) -> Iterator[str]:
    entry = index.get(name)
    if entry is None:  # of lm-eval's own, beside a group of the user's
        yield name
        return
    if depth > 9:
        return
    listed = (entry.cfg or {}).get("task")
    if entry.yaml_path is not None and not isinstance(listed, list):
        yield name
        return
    for member in listed or entry.tags:
        child = (member.get("task") or member.get("group")) if isinstance(member, dict) else member
        if isinstance(child, str):
            yield from _members(index, child, depth + 1)


# what is refused


def refuse(name: str, reason: str) -> NoReturn:
    raise BadFileError(
        f"{PREFIX}{name} can't be translated: {' '.join(reason.split())[:MESSAGE_CHARACTERS]}",
        hint="lm-eval itself can run it on an artifact: edgebench-lm-eval "
        f"--model edgebench --model_args artifact=PATH --tasks {name}",
    )


def refuse_code(wish: Wish, known: KnownTask) -> None:
    """Refuse a task whose file brings code and is not lm-eval's own."""
    brought = list(_code(known.path, set())) if known.path else []
    settings = known.settings
    if not (known.path and is_own(known.path)):
        if settings.get("dataset_path") in PICKLED:
            brought.append(f"dataset_path: {settings['dataset_path']} unpickles files")
        if str(settings.get("use_prompt") or "").startswith("promptsource"):
            brought.append("use_prompt: promptsource")
    if brought and not wish.allow_code:
        raise BadFileError(
            f"{PREFIX}{wish.name} brings code of its own: {', '.join(brought[:SHOWN])}",
            hint="read that code; if you trust it, add --allow-code",
        )


def _check_folder(include: Path) -> None:
    """Refuse what lm-eval would wait for, or read without end, when it looks for tasks."""
    seen: set[Path] = set()
    for path in sorted(include.rglob("*.yaml")):
        for _ in _code(path, seen):
            pass


def _real(path: Path) -> Path:
    try:
        return path.expanduser().resolve()
    except (OSError, ValueError, RuntimeError):  # a NUL, links in a circle, nobody's home
        raise BadFileError(f"{str(path)[:200]!r} can't be the name of a file") from None


def _code(path: Path, seen: set[Path]) -> Iterator[str]:
    """Name what would run in a YAML file, and in those it includes, outside lm-eval's own.

    Raises BadFileError where one isn't YAML, or out of bounds.
    """
    import yaml

    path = _real(path)
    if path in seen or is_own(path):
        return
    seen.add(path)
    root = compose_yaml(path)
    waiting, done = [root], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in done:
            continue
        done.add(id(node))
        if not node.tag.startswith("tag:yaml.org,2002:") or ":python/" in node.tag:
            said = node.value[:100] if isinstance(node.value, str) else "..."
            yield f"{node.tag:.100} {said} ({path.name}, line {node.start_mark.line + 1})"
        elif isinstance(node, yaml.MappingNode):
            waiting += [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == "include":
            for included in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                yield from _code(path.parent / str(included.value), seen)


def check_settings(name: str, settings: dict[str, Any]) -> None:
    """Refuse, before any data is loaded, what a task file can't say."""
    from lm_eval.api.registry import metric_registry

    import lm_eval.api.metrics  # noqa: F401 - fills the registry  # isort: skip

    for file in _named_files((settings.get("dataset_kwargs") or {}).get("data_files")):
        if file.exists():  # else it is a pattern or an address, or datasets says so
            check_regular(file)
    kind = settings.get("output_type", "generate_until")
    if "class" in settings:
        refuse(name, "it is written in Python")
    if settings.get("process_results") and kind != "loglikelihood_rolling":
        refuse(name, "it scores answers with a function of its own (process_results)")
    if settings.get("doc_to_image") or settings.get("doc_to_audio"):
        refuse(name, "it needs more than text")
    if settings.get("unsafe_code"):
        refuse(name, "it runs what the model writes")
    if int(settings.get("repeats") or 1) > 1:
        refuse(name, f"it asks each item {settings['repeats']} times")
    for metric_settings in settings.get("metric_list") or ():
        metric = str(metric_settings.get("metric"))
        if metric_settings.get("hf_evaluate") or metric not in metric_registry:
            refuse(name, f"its metric {metric[-100:]!r} is none of lm-eval's own")


def _named_files(value: Any) -> Iterator[Path]:
    """Give the paths in `data_files`: one, several, or by split."""
    if isinstance(value, (list, tuple, dict)):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _named_files(child)
    elif isinstance(value, str):
        yield _real(Path(value))


@contextlib.contextmanager
def sandboxed() -> Iterator[None]:
    """Render templates as those of our own task files; lm-eval's own environment has no bounds."""
    import lm_eval.utils as utils

    own = utils.env
    with contextlib.closing(Renderer()) as renderer:
        utils.env = _Environment(renderer)
        try:
            yield
        finally:
            utils.env = own


@dataclass(frozen=True)
class _Environment:
    """What lm-eval asks of Jinja: `from_string(template).render(**values)`."""

    renderer: Renderer

    def from_string(self, source: str) -> _Template:
        return _Template(self.renderer.template(source, "its template"))


@dataclass(frozen=True)
class _Template:
    rendering: Render

    def render(self, **values: Any) -> str:
        return self.rendering(values)

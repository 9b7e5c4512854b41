"""Build task files from lm-evaluation-harness: its own code makes the requests, here on the host.

Knows how lm-eval loads a task, and how its requests become files. Runs no code that a task file
brings, unless it is lm-eval's own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgebench.errors import BadFileError, EdgebenchError, UsageError
from edgebench.lm_eval.find import (
    PREFIX,
    SEEDS,
    KnownTask,
    Wish,
    as_lm_eval_runs,
    check_settings,
    find_task,
    is_own,
    lm_eval_version,
    refuse,
    refuse_code,
    sandboxed,
    text_of,
)
from edgebench.lm_eval.rows import Row, translated
from edgebench.records.base import safe_name
from edgebench.tasks.load import read_task

MARK = "# Built by edgebench from lm-evaluation-harness"


def build(
    name: str,
    folder: Path,
    *,
    include: Path | None = None,
    limit: int | None = None,
    fewshot: int | None = None,
    allow_code: bool = False,
) -> Path:
    """Build a task of lm-evaluation-harness into NAME.yaml and NAME.jsonl; return the header.

    Raises UsageError on an unknown name or a group, BadFileError where the task can't be
    translated or its data can't be had, MissingExtraError without lm-eval.
    """
    wish = Wish(name.removeprefix(PREFIX), include, limit, fewshot, allow_code)
    version = lm_eval_version()
    _check_folder(folder, safe_name(wish.name))
    with as_lm_eval_runs():
        known = find_task(wish)
        own = known.path is not None and is_own(known.path)
        refuse_code(wish, known)
        check_settings(wish.name, known.settings)
        with contextlib.nullcontext() if own or allow_code else sandboxed():
            task = _loaded(wish, known)
            header, rows = translated(wish.name, task)
    examples = int(task.get_config("num_fewshot") or 0)
    mark = f"{MARK} {version}: {wish.name}, {examples} examples before each item"
    return _write(wish.name, folder, mark, header, rows)


def cached(
    name: str, cache_folder: Path, include: Path | None = None, *, allow_code: bool = False
) -> Path:
    """Return a task's header in the cache, built there once.

    It is built anew for another version of lm-eval, and where a file of `include` has changed.
    """
    bare = name.removeprefix(PREFIX)
    what: list[object] = [bare, lm_eval_version(), allow_code]
    if include is not None:
        what.append(str(include.resolve()))
        for path in sorted(include.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                state = path.stat()
                what.append([str(path), state.st_size, state.st_mtime_ns])
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    folder = cache_folder / "lm_eval" / f"{safe_name(bare)}-{digest}"
    header = folder / f"{safe_name(bare)}.yaml"
    if header.is_file():
        return header
    return build(bare, folder, include=include, allow_code=allow_code)


def _loaded(wish: Wish, known: KnownTask) -> Any:
    """Let lm-eval load the task's data and build its requests."""
    try:
        task = known.manager.load([wish.name])["tasks"][wish.name]
    except Exception as error:  # noqa: BLE001 - datasets and tasks raise whatever they like
        raise _not_loaded(wish.name, known, error) from None
    _set_examples(wish, task)
    try:
        task.build_all_requests(limit=wish.limit)
    except Exception as error:  # noqa: BLE001 - as above
        raise BadFileError(
            f"{PREFIX}{wish.name}: lm-eval can't build its requests: {_first_line(error)}"
        ) from None
    return task


def _not_loaded(name: str, known: KnownTask, error: Exception) -> BadFileError:
    data = str(known.settings.get("dataset_path"))[:100]
    origin = type(error).__module__.partition(".")[0]
    if not isinstance(error, OSError) and origin not in ("datasets", "huggingface_hub", "httpx"):
        return BadFileError(f"{PREFIX}{name}: lm-eval can't load it: {_first_line(error)}")
    hint = "go online and type this again: the task file that it makes needs no network"
    if known.settings.get("dataset_kwargs"):
        hint = f"check dataset_kwargs in {known.path}; or {hint}"
    return BadFileError(
        f"{PREFIX}{name}: its data {data!r} can't be loaded: {_first_line(error)}", hint=hint
    )


def _set_examples(wish: Wish, task: Any) -> None:
    stated = task.get_config("num_fewshot")
    if stated == 0 and wish.fewshot:
        raise UsageError(f"{PREFIX}{wish.name} is made for no examples", hint="leave --fewshot out")
    if wish.fewshot is not None or stated is None:
        task.set_config(key="num_fewshot", value=wish.fewshot or 0)
    task.set_fewshot_seed(seed=SEEDS[2])


def _first_line(error: Exception) -> str:
    if isinstance(error, EdgebenchError):
        return error.message
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()[:300]}" if lines else type(error).__name__


def _check_folder(folder: Path, stem: str) -> None:
    header = folder / f"{stem}.yaml"
    ours = header.is_file() and text_of(header).startswith(MARK)
    there = [path for path in (header, folder / f"{stem}.jsonl") if path.exists()]
    if there and not ours:
        raise UsageError(
            f"{there[0]} is there and was not built by this command",
            hint="give another --output, or move that file",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"can't write to {folder}: {error.strerror}", hint="give another --output"
        ) from None


def _write(name: str, folder: Path, mark: str, fields: Row, rows: Sequence[Row]) -> Path:
    """Write data and header, and read them back; they get their names only when both are good."""
    import yaml

    stem = safe_name(name)
    header = {"name": stem.lstrip("._-")[:100], "data": f"{stem}.jsonl", **fields}
    text = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{stem}.partial-", dir=folder) as made:
            partial = Path(made)
            (partial / f"{stem}.jsonl").write_bytes(lines.encode("utf-8", "surrogatepass"))
            (partial / f"{stem}.yaml").write_text(f"{mark}\n{text}", encoding="utf-8")
            read_task(partial / f"{stem}.yaml")
            for suffix in (".jsonl", ".yaml"):
                os.replace(partial / f"{stem}{suffix}", folder / f"{stem}{suffix}")
    except OSError as error:
        raise EdgebenchError(
            f"can't write {stem} below {folder}: {error.strerror}",
            hint="free some space, or give another --output",
        ) from None
    except BadFileError as error:
        refuse(name, error.message)
    return folder / f"{stem}.yaml"

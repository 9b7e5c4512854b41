"""`edgebench tasks`, `edgebench tasks build` and `edgebench tasks check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.common import common

if TYPE_CHECKING:
    from edgebench.records.task import Task, TextTask

PREFIX = "lm_eval:"


@click.group("tasks", invoke_without_command=True)
@common
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List accuracy tasks, or make and check task files.

    \b
    Examples:
      edgebench tasks
      edgebench tasks build lm_eval:arc_easy
      edgebench tasks check tasks/arc_easy.yaml
    """
    if context.invoked_subcommand:
        return
    from edgebench.tasks.load import BUILT_IN, load_task

    known = [_told(load_task(name), _schema_of_built_in(name)) for name in BUILT_IN]
    if as_json:
        click.echo(json.dumps({"tasks": known}))
        return
    _print(known)


@command.command("build")
@click.argument("name", metavar="lm_eval:NAME")
@click.option(
    "--include",
    type=click.Path(path_type=Path),
    help="A folder with task YAML of your own, in lm-evaluation-harness's format.",
)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many items.")
@click.option(
    "--fewshot",
    type=click.IntRange(0, 100),
    help="Examples before each item; what the task says by default.",
)
@click.option(
    "--allow-code", is_flag=True, help="Run the code that a task of --include brings (!function)."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("tasks"),
    show_default=True,
    help="The folder for NAME.yaml and NAME.jsonl.",
)
@common
def build(name: str, output: Path, as_json: bool, **wishes: Any) -> None:
    """Build a task of lm-evaluation-harness into a task file.

    Its own code makes the prompts, here; the device then needs only the file.

    \b
    Examples:
      edgebench tasks build lm_eval:arc_easy --limit 500
      edgebench tasks build lm_eval:mine --include my_tasks --output .
    """
    from edgebench.errors import UsageError
    from edgebench.lm_eval import build as lm_eval_build
    from edgebench.tasks.load import load_task

    if not name.startswith(PREFIX):
        raise UsageError(
            f"{name!r} isn't a task that can be built",
            hint=f"write {PREFIX}{name} for lm-evaluation-harness's task",
        )
    path = lm_eval_build.build(name, output, **wishes)
    task = load_task(str(path))
    told = _told(task, _schema(path))
    if as_json:
        click.echo(json.dumps({**told, "file": str(path)}))
        return
    _print_task(told, path)
    click.echo(f"Next: edgebench profile --tasks {path} --device cpu")


@command.command("check")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.yaml")
@click.option(
    "--show",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Print the first N items as the model reads them.",
)
@common
def check(file: Path, show: int | None, as_json: bool) -> None:
    """Check a task file: its items, what is left out and why, warnings.

    FILE.yaml may be the name of a task that is built in.

    \b
    Examples:
      edgebench tasks check tasks/mine.yaml
      edgebench tasks check basics --show 1
    """
    from edgebench.report.prompts import prompt_lines, shown
    from edgebench.tasks.load import BUILT_IN, load_task, read_task

    if str(file) in BUILT_IN:
        task, schema = load_task(str(file)), _schema_of_built_in(str(file))
    else:
        task, schema = read_task(file), _schema(file)
    told = _told(task, schema)
    if as_json:
        items = {"shown": shown(task, show)} if show else {}
        click.echo(json.dumps({**told, "file": str(file), **items}))
        return
    _print_task(told, file)
    for line in prompt_lines(task, show) if show else ():
        click.echo(line)


def _schema(path: Path) -> str:
    from edgebench.tasks.header import read_header

    return str(read_header(path).kind)


def _schema_of_built_in(name: str) -> str:
    from importlib.resources import as_file, files

    with as_file(files("edgebench.tasks")) as folder:
        return _schema(folder / f"{name}.yaml")


def _told(task: Task | TextTask, schema: str) -> dict[str, Any]:
    """Return what is said of a task: for a text, its chunks; else items, metric, what is left."""
    from edgebench.records.task import Task

    told: dict[str, Any] = {"name": task.name, "schema": schema, "sha256": task.sha256}
    if not isinstance(task, Task):
        size = len(task.text.encode("utf-8", "replace"))
        return told | {"items": None, "metric": None, "chunks": task.chunks, "bytes": size}
    return told | {
        "items": len(task.items),
        "metric": task.metric,
        "skipped": [skip.model_dump() for skip in task.skipped],
        "warnings": list(task.warnings),
    }


def _print(known: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for header in ("task", "schema", "items", "metric"):
        table.add_column(header, justify="right" if header == "items" else "left")
    for task in known:
        items = str(task["items"]) if task["items"] else f"{task['chunks']} chunks"
        table.add_row(task["name"], task["schema"], items, task["metric"] or "divergence")
    Console().print(table)
    click.echo("Others: a file of your own (edgebench tasks check FILE.yaml), or a task of")
    click.echo("lm-evaluation-harness (edgebench tasks build lm_eval:arc_easy).")


def _print_task(told: dict[str, Any], path: Path) -> None:
    from collections import Counter

    from edgebench.records.base import clean

    if told["items"] is None:
        what = f"a text of {told['bytes']} bytes, up to {told['chunks']} chunks"
    else:
        items = "1 item" if told["items"] == 1 else f"{told['items']} items"
        what = f"{items}, schema {told['schema']}, metric {told['metric']}"
    click.echo(clean(f"{path}: {told['name']}: {what}", 400))
    counts = Counter(skip["reason"] for skip in told.get("skipped", ()))
    for reason, count in counts.most_common():
        some = [skip["id"] for skip in told["skipped"] if skip["reason"] == reason][:3]
        dots = ", ..." if count > len(some) else ""
        click.echo(clean(f"left out: {count} ({reason}): {', '.join(some)}{dots}", 400))
    for warning in told.get("warnings", ()):
        click.echo(clean(f"warning: {warning}", 400))

"""`edgebench compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.common import LOSS, SHARE, SPAN, common, strict_option

if TYPE_CHECKING:
    from edgebench.analyze.compare import Group
    from edgebench.analyze.rows import Row
    from edgebench.cli.stored import LeftOut


@dataclass(frozen=True)
class Options:
    """What was typed."""

    paths: tuple[Path, ...]
    devices: tuple[str, ...]
    baseline: str | None
    against: str | None
    since: float | None
    fail_on_regression: float | None
    margin: float
    layout: str
    explain: bool
    sql: str | None
    parquet: Path | None
    output: Path | None
    strict: bool
    as_json: bool


@click.command("compare")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="NAME",
    help="Only runs of this device or family; given several times, they stand side by side.",
)
@click.option(
    "--baseline",
    metavar="LEVEL",
    help="The level to compare with; by default the checkpoint, else the most bits a weight.",
)
@click.option(
    "--against",
    metavar="ARTIFACT|PATH",
    help="An artifact that all are held against, or a file or folder of earlier runs.",
)
@click.option(
    "--since",
    type=SPAN,
    help="Hold the runs of this time, such as 7d, against those before it.",
)
@click.option(
    "--fail-on-regression",
    type=SHARE,
    metavar="5%",
    help="Exit 1 where something is shown to be worse than before, by more than this.",
)
@click.option(
    "--format",
    "layout",
    type=click.Choice(["table", "markdown", "csv", "json", "model-card"]),
    default="table",
    show_default=True,
)
@click.option(
    "--margin",
    type=LOSS,
    default="1%",
    show_default=True,
    help="The loss of accuracy that a level is asked to stay within.",
)
@click.option("--explain", is_flag=True, help="Add the statistics behind the figures.")
@click.option(
    "--sql",
    metavar="QUERY",
    help="Ask SQL of the tables rows (what is compared) and runs (all that is stored).",
)
@click.option(
    "--parquet",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the rows, or what --sql comes to, as Parquet.",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
@strict_option
@common
def command(**typed: Any) -> int:
    """Set stored runs side by side: models, levels, formats and settings, each with its loss.

    PATHS are files and folders of runs, in any order; profiles by default. Of several runs of one
    case the newest counts. Runs of other machines, power modes or builds stand in tables of their
    own. Against a path, or since a time, it says what changed beyond noise instead.

    \b
    Examples:
      edgebench compare
      edgebench compare profiles/cpu --baseline q8_0 --format markdown
      edgebench compare --against last-week --fail-on-regression 5%
    """
    from edgebench.errors import UsageError

    options = Options(**typed)
    earlier = options.against is not None and Path(options.against).exists()
    if earlier and options.since is not None:
        raise UsageError("--since and --against a path both name the earlier runs", hint="type one")
    asks = options.sql is not None or options.parquet is not None
    if earlier or options.since is not None:
        if asks:
            raise UsageError(
                "--sql and --parquet know no earlier runs", hint="leave out --since and --against"
            )
        return _changes(options)
    if options.fail_on_regression is not None:
        raise UsageError(
            "--fail-on-regression needs earlier runs",
            hint="add --against PATH, or --since 7d",
        )
    return _ask(options) if asks else _compare(options)


def _ask(options: Options) -> int:
    from edgebench.cli.querying import Question, answered
    from edgebench.cli.stored import despite_changes

    layout = "json" if options.as_json else options.layout
    question = Question(options.sql, layout, options.parquet)

    def ask(with_index: bool) -> str | None:
        from edgebench.analyze.compare import compare
        from edgebench.cli.stored import rows_of, stored_heads

        stored = stored_heads(options.paths, options.strict, with_index)
        rows = rows_of(stored.runs, options.devices)
        groups = compare(rows, options.baseline, options.margin, options.against)
        names = {row.device.name for row in rows}
        runs = [seen for seen in stored.runs if seen.head.device.name in names]
        return answered(question, runs, groups)

    document = despite_changes(ask)
    if document is not None:
        _write(document, options)
    else:
        click.echo(f"written to {options.parquet}", err=True)
    return 0


def _compare(options: Options) -> int:
    from edgebench.analyze.compare import compare
    from edgebench.cli.stored import stored_rows

    stored = stored_rows(options.paths, options.devices, options.strict)
    groups = compare(stored.rows, options.baseline, options.margin, options.against)
    layout = "json" if options.as_json else options.layout
    if layout == "json":
        _write(_as_json(groups, stored.left_out), options)
    elif layout == "csv":
        from edgebench.report.csv_file import as_csv

        _write(as_csv(groups), options)
    elif layout == "model-card":
        from edgebench.report.model_card import as_model_card

        _write(as_model_card(groups), options)
    else:
        from edgebench.report.boards import side_by_side
        from edgebench.report.tables import sections

        _show([*side_by_side(groups), *sections(groups)], options)
    return 0


def _changes(options: Options) -> int:
    from edgebench.analyze.changes import changes_between
    from edgebench.cli.stored import as_json, despite_changes
    from edgebench.report.changes import changes_section

    before, after, left_out = despite_changes(
        lambda with_index: _before_and_after(options, with_index)
    )
    changes = changes_between(before, after)
    least = options.fail_on_regression
    failed = changes.regressions(least) if least is not None else []
    if options.as_json or options.layout == "json":
        told = {
            **changes.model_dump(mode="json"),
            "regressions": [change.model_dump(mode="json") for change in failed],
            "passed_over": left_out.as_json(),
        }
        _write(as_json(told), options)
    else:
        _show([changes_section(changes, least, options.explain)], options)
    return 1 if failed else 0


def _before_and_after(options: Options, with_index: bool) -> tuple[list[Row], list[Row], LeftOut]:
    """Return the rows of earlier and of later runs, and what was passed over."""
    import datetime

    from edgebench.cli.stored import rows_of, stored_heads

    stored = stored_heads(options.paths, options.strict, with_index)
    if options.since is not None:
        now = datetime.datetime.now(datetime.timezone.utc)
        start = now - datetime.timedelta(seconds=options.since)
        earlier = [run for run in stored.runs if run.moment < start]
        later = [run for run in stored.runs if run.moment >= start]
    else:
        earlier = stored_heads([Path(options.against or "")], options.strict, with_index).runs
        later = stored.runs
    before, after = (rows_of(part, options.devices) if part else [] for part in (earlier, later))
    return before, after, stored.left_out


def _show(shown: Sequence[Any], options: Options) -> None:
    """Print sections on the terminal, or write them in a document's form."""
    if not options.explain:
        shown = [section.brief() for section in shown]
    if options.layout == "markdown":
        from edgebench.report.markdown import as_markdown

        return _write(as_markdown(shown), options)
    from rich.console import Console

    from edgebench.report.terminal import print_sections

    if options.output is None:
        print_sections(Console(), shown)
        return None
    import io

    out = io.StringIO()
    print_sections(Console(file=out, width=120), shown)
    return _write(out.getvalue(), options)


def _write(text: str, options: Options) -> None:
    """Print a document, or write it to the file that was named, whole or not at all."""
    if options.output is None:
        click.echo(text, nl=not text.endswith("\n"))
        return
    from edgebench.cli.common import write_whole

    write_whole(options.output, text)
    click.echo(f"written to {options.output}", err=True)


def _as_json(groups: list[Group], left_out: LeftOut) -> str:
    from edgebench.cli.stored import as_json
    from edgebench.report.verdicts import verdict

    rows = [row.model_dump(mode="json") for group in groups for row in group.rows]
    grouped = [
        {
            **group.model_dump(mode="json", exclude={"rows"}),
            "verdict": verdict(group),
            "artifacts": [row.artifact.name for row in group.rows],
        }
        for group in groups
    ]
    return as_json({"rows": rows, "grouped": grouped, "passed_over": left_out.as_json()})

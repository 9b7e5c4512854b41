"""`edgebench compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgebench.cli.common import LOSS, common, strict_option

if TYPE_CHECKING:
    from edgebench.analyze.compare import Group
    from edgebench.cli.stored import LeftOut


@click.command("compare")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--device", help="Only runs of this device.")
@click.option(
    "--baseline",
    metavar="LEVEL",
    help="The level to compare with; by default the checkpoint, else the most bits a weight.",
)
@click.option(
    "--format",
    "layout",
    type=click.Choice(["table", "markdown", "csv", "json"]),
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
@strict_option
@common
def command(
    paths: tuple[Path, ...],
    device: str | None,
    baseline: str | None,
    margin: float,
    layout: str,
    strict: bool,
    as_json: bool,
) -> None:
    """Set stored runs side by side, with paired differences between levels.

    PATHS are files and folders of runs, in any order; profiles by default. Of several runs of one
    case the newest counts. Runs of other machines, settings, power modes or builds stand in tables
    of their own.

    \b
    Examples:
      edgebench compare
      edgebench compare profiles/cpu --baseline q8_0 --format markdown
    """
    from edgebench.analyze.compare import compare
    from edgebench.cli.stored import stored_rows

    stored = stored_rows(paths, device, strict)
    groups = compare(stored.rows, baseline, margin)
    if as_json or layout == "json":
        click.echo(_as_json(groups, stored.left_out))
    elif layout == "csv":
        from edgebench.report.csv_file import as_csv

        click.echo(as_csv(groups), nl=False)
    elif layout == "markdown":
        from edgebench.report.markdown import as_markdown
        from edgebench.report.tables import sections

        click.echo(as_markdown(sections(groups)), nl=False)
    else:
        from rich.console import Console

        from edgebench.report.tables import print_groups

        print_groups(Console(), groups)


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

"""`edgebench report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.common import common

if TYPE_CHECKING:
    from edgebench.analyze.compare import Group
    from edgebench.report.overview import Report

DEFAULT = Path("report.html")
STDOUT = Path("-")


@dataclass(frozen=True)
class Options:
    """What was typed."""

    paths: tuple[Path, ...]
    output: Path | None
    png: Path | None
    svg: Path | None
    devices: tuple[str, ...]
    workloads: tuple[str, ...]
    baseline: str | None
    title: str | None
    as_json: bool

    @property
    def page(self) -> Path | None:
        """Return where the page goes: where something else was asked for, nowhere by itself."""
        asked = self.as_json or self.png or self.svg
        return self.output or (None if asked else DEFAULT)


@click.command("report")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="The page to write; report.html by default, - for stdout.",
)
@click.option(
    "--png", type=click.Path(path_type=Path, file_okay=False), help="Write each chart as PNG here."
)
@click.option(
    "--svg", type=click.Path(path_type=Path, file_okay=False), help="Write each chart as SVG here."
)
@click.option(
    "--device", "devices", multiple=True, metavar="NAME", help="Only runs of this device or family."
)
@click.option(
    "--workload", "workloads", multiple=True, metavar="NAME", help="Only this workload's speed."
)
@click.option("--baseline", metavar="LEVEL", help="The level to compare with.")
@click.option("--title", help="What stands at the head of the page.")
@common
def command(**typed: Any) -> None:
    """Write one page with charts that opens offline, the answer first.

    PATHS are files and folders of runs; profiles by default. The page needs no network, asks for
    none, and reads on a phone, in the dark and on paper.

    \b
    Examples:
      edgebench report
      edgebench report profiles/cpu -o pi.html --title "Which build?"
      edgebench report --png pictures
    """  # fmt: skip
    from edgebench.errors import UsageError
    from edgebench.report.pictures import need_drawing

    options = Options(**typed)
    if options.as_json and options.page == STDOUT:
        raise UsageError("--json and the page both go to stdout", hint="give -o a file")
    need_drawing()
    report = _report(options)
    _write(report, options)
    if options.as_json:
        import json
        from dataclasses import asdict

        from edgebench.report.drawing import CONFIG

        click.echo(json.dumps({**asdict(report), "config": CONFIG}))


def _report(options: Options) -> Report:
    from edgebench.analyze.compare import compare
    from edgebench.analyze.rows import summarize
    from edgebench.cli.stored import chosen_rows, stored_runs
    from edgebench.report.overview import make_report

    runs = stored_runs(options.paths).runs
    rows = chosen_rows(summarize(runs), options.devices)
    groups = _of_workloads(compare(rows, options.baseline), options.workloads)
    devices = {group.device.name for group in groups}
    labels = {group.workload_name for group in groups}
    told = [
        run
        for run in runs
        if run.device.name in devices and (run.workload is None or run.label in labels)
    ]
    return make_report(groups, told, options.title)


def _of_workloads(groups: Sequence[Group], wanted: Sequence[str]) -> list[Group]:
    from edgebench.errors import UsageError, nearest

    known = {group.workload_name for group in groups if group.workload_name}
    for name in wanted:
        if name not in known:
            raise UsageError(f"no runs of workload {name!r}", hint=nearest(name, known))
    return [group for group in groups if not wanted or group.workload_name in wanted]


def _write(report: Report, options: Options) -> None:
    """Write the page and the pictures, and say where."""
    if options.page:
        from edgebench.report.html import as_html
        from edgebench.report.pictures import chart_library

        page = as_html(report, chart_library())
        if options.page == STDOUT:
            click.echo(page, nl=False)
        else:
            from edgebench.cli.common import write_whole

            write_whole(options.page, page)
            click.echo(f"written to {options.page}", err=True)
    for kind, folder in (("png", options.png), ("svg", options.svg)):
        if folder:
            from edgebench.report.pictures import write_pictures

            paths = write_pictures(report, folder, kind)
            click.echo(f"{len(paths)} pictures written to {folder}", err=True)

"""`edgebench schema`."""

from __future__ import annotations

import json

import click

from edgebench.cli.common import common


@click.command("schema")
@common
def command(as_json: bool) -> None:
    """Print the JSON Schema of a run, a line of profiles/<device>/*.jsonl.

    The schema is JSON with and without --json.

    \b
    Example:
      edgebench schema > run.schema.json
    """
    from edgebench.records.run import run_schema

    click.echo(json.dumps(run_schema(), indent=None if as_json else 2))

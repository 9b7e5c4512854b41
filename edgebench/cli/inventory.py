"""`edgebench list`."""

from __future__ import annotations

from pathlib import Path

import click

from edgebench.cli.common import common


@click.command("list")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option("--clean", "name", metavar="NAME", help="Remove a cache by its name, or all.")
@common
def command(folder: Path, name: str | None, as_json: bool) -> None:
    """List what is here: artifacts, stored runs and caches, with their size and age.

    FOLDER is the working folder by default. Caches may be removed at any time.

    \b
    Examples:
      edgebench list
      edgebench list --clean logs
    """
    import json
    import time

    from platformdirs import user_cache_path

    from edgebench.run.inventory import clean, look_around

    cache = user_cache_path("edgebench")
    if name is not None:
        freed = clean(cache, name)
        if as_json:
            click.echo(json.dumps({"removed": name, "freed_bytes": freed}))
        else:
            from edgebench.report.format import size

            click.echo(f"{name}: {size(freed)} freed")
        return
    seen = look_around(folder, cache)
    if as_json:
        click.echo(seen.model_dump_json())
        return
    from rich.console import Console

    from edgebench.report.inventory import inventory_sections
    from edgebench.report.terminal import print_sections

    print_sections(Console(), inventory_sections(seen, time.time()), "--json")

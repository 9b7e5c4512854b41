"""`edgebench devices`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgebench.cli.common import common, devices_option

if TYPE_CHECKING:
    from edgebench.devices import Registry


@click.command("devices")
@devices_option
@common
def command(registry: Path | None, as_json: bool) -> None:
    """List the devices known, and which one this machine is.

    \b
    Example:
      edgebench devices
    """
    from edgebench.devices import load_registry

    known = load_registry(registry)
    if as_json:
        entries = [
            {"name": name, **entry.model_dump(mode="json")} for name, entry in known.devices.items()
        ]
        files = [str(path) for path in known.files]
        click.echo(json.dumps({"here": known.here(), "devices": entries, "files": files}))
        return
    _print(known)


def _print(known: Registry) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from edgebench.report.format import plain
    from edgebench.system import cpu_model

    here = known.here()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for header in ("device", "kind", "memory", "description"):
        table.add_column(header, overflow="fold")
    for name, entry in known.devices.items():
        memory = f"{entry.memory_gib:g} GiB" if entry.memory_gib else ""
        mark = " (here)" if name == here else ""
        table.add_row(
            *(Text(plain(cell)) for cell in (name + mark, entry.kind, memory, entry.description))
        )
    console = Console()
    console.print(table)
    console.print(Text(f"This machine is {here}: {plain(cpu_model() or 'an unknown processor')}"))
    console.print(Text("Read from: " + ", ".join(str(path) for path in known.files)))

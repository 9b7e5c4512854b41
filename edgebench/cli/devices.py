"""`edgebench devices` and `edgebench devices check`."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgebench.cli.common import common, devices_option

if TYPE_CHECKING:
    from edgebench.plan.devices import Registry
    from edgebench.records.messages import Check, Hello


@click.group("devices", invoke_without_command=True)
@devices_option
@common
@click.pass_context
def command(context: click.Context, registry: Path | None, as_json: bool) -> None:
    """List the devices known, and which one this machine is.

    \b
    Examples:
      edgebench devices
      edgebench devices check
      edgebench devices check jetson
    """
    if context.invoked_subcommand:
        return
    from edgebench.cli.places import greet, local_transport
    from edgebench.plan.devices import load_registry

    known = load_registry(registry)
    hello = greet(local_transport())
    if as_json:
        entries = [
            {"name": name, **entry.model_dump(mode="json")} for name, entry in known.devices.items()
        ]
        files = [str(path) for path in known.files]
        click.echo(json.dumps({"here": known.board_of(hello), "devices": entries, "files": files}))
        return
    _print(known, hello)


@command.command("check")
@click.argument("name", required=False)
@devices_option
@common
def check(name: str | None, registry: Path | None, as_json: bool) -> int:
    """Check that this machine is ready: runtimes, clocks, heat, memory, meters, bandwidth.

    Each line is ok, a warning or a failure, with what to type.

    \b
    Examples:
      edgebench devices check
      edgebench devices check jetson --json
    """
    from edgebench.cli.places import checks_of, greet, local_transport
    from edgebench.plan.devices import load_registry

    known = load_registry(registry)
    if name:
        known.check(name)
    transport = local_transport()
    hello = greet(transport)
    device = known.resolve(name or known.board_of(hello), hello)
    checks = checks_of(transport, device)
    if as_json:
        lines = [line.model_dump() for line in checks]
        click.echo(json.dumps({"device": device.name, "checks": lines}))
    else:
        for line in checks:
            _print_check(line)
    return 1 if any(line.status == "failure" for line in checks) else 0


def _print_check(one: Check) -> None:
    from edgebench.report.format import plain

    line = f"{one.status:<8} {plain(one.name)}: {plain(one.message, 400)}"
    click.echo(textwrap.fill(line, 80, subsequent_indent=" " * 9, break_on_hyphens=False))
    if one.hint:  # what to type stays on one line, to be copied
        click.echo(f"         {plain(one.hint, 300)}")


def _print(known: Registry, hello: Hello) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from edgebench.report.format import plain

    here = known.board_of(hello)
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
    console.print(
        Text(f"This machine is {here}: {plain(hello.device.cpu or 'an unknown processor')}")
    )
    console.print(Text("Read from: " + ", ".join(str(path) for path in known.files)))

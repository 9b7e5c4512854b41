"""`edgebench devices` and `edgebench devices check`."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.common import common, devices_option

if TYPE_CHECKING:
    from edgebench.plan.devices import Registry
    from edgebench.records.energy import Calibration
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


@command.command("calibrate")
@click.argument("name", required=False)
@click.option("--meter", help='A wall or USB meter to read beside the sensors: "command:PROGRAM".')
@click.option(
    "--pair",
    "pairs",
    multiple=True,
    metavar="SENSOR=METER",
    help="What both showed at one load, such as 5.1W=6.3W; three pairs at least.",
)
@click.option("--source", help="The sensor that --pair is of: ina, pmic, rapl, ...")
@devices_option
@common
def calibrate(name: str | None, registry: Path | None, as_json: bool, **typed: Any) -> None:
    """Fit this machine's power sensors to a wall or USB meter.

    Either the meter is read beside the sensors while the processor idles and works, or you type
    what both showed. The fit is kept among your settings, and later runs on the device have the
    wall's energy, with the fit's own error in their intervals.

    \b
    Examples:
      edgebench devices calibrate --meter "command:./plug --watts"
      edgebench devices calibrate jetson --source ina --pair 5W=6.4W --pair 9W=11W --pair 14W=17W
    """
    from edgebench.cli.places import calibrations_of, greet, local_transport
    from edgebench.plan.devices import load_registry, save_calibration

    known = load_registry(registry)
    transport = local_transport()
    hello = greet(transport)
    device = known.resolve(name or known.board_of(hello), hello)
    fits = _typed_fits(**typed) or calibrations_of(transport, device, typed["meter"])
    for source, fit in fits.items():
        path = save_calibration(device.name, source, fit)
        if not as_json:
            half = 100 * fit.gain_sd / fit.gain
            click.echo(
                f"{source}: wall = {fit.gain:.3f} x sensor {fit.offset_w:+.2f} W, over {fit.n} "
                f"loads; the gain's standard error is {half:.1f} %. Kept in {path}"
            )
    if as_json:
        told = {source: fit.model_dump() for source, fit in fits.items()}
        click.echo(json.dumps({"device": device.name, "calibration": told}))


def _typed_fits(
    meter: str | None, pairs: tuple[str, ...], source: str | None
) -> dict[str, Calibration]:
    """Return the fit of typed pairs, nothing where a meter was named instead."""
    import datetime

    from edgebench.errors import UsageError
    from edgebench.figures.calibration import fit, parse_pair

    if bool(meter) == bool(pairs):
        raise UsageError(
            "a calibration needs a meter or pairs",
            hint='--meter "command:PROGRAM", or --source ina --pair 5.1W=6.3W three times or more',
        )
    if meter:
        return {}
    if not source:
        raise UsageError("--pair needs the sensor's name", hint="add --source ina, pmic, rapl, ...")
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return {source: fit([parse_pair(typed) for typed in pairs], today)}


def _print_check(outcome: Check) -> None:
    from edgebench.records.base import clean

    line = f"{outcome.status:<8} {clean(outcome.name)}: {clean(outcome.message, 400)}"
    click.echo(textwrap.fill(line, 80, subsequent_indent=" " * 9, break_on_hyphens=False))
    if outcome.hint:  # what to type stays on one line, to be copied
        click.echo(f"         {clean(outcome.hint, 300)}")


def _print(known: Registry, hello: Hello) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from edgebench.records.base import clean

    here = known.board_of(hello)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for header in ("device", "kind", "memory", "description"):
        # A name is typed again, so it stays whole.
        table.add_column(header, overflow="fold", no_wrap=header == "device")
    for name, entry in known.devices.items():
        memory = f"{entry.memory_gib:g} GiB" if entry.memory_gib else ""
        mark = " (here)" if name == here else ""
        table.add_row(
            *(Text(clean(cell)) for cell in (name + mark, entry.kind, memory, entry.description))
        )
    console = Console()
    console.print(table)
    console.print(
        Text(f"This machine is {here}: {clean(hello.device.cpu or 'an unknown processor')}")
    )
    console.print(Text("Read from: " + ", ".join(str(path) for path in known.files)))

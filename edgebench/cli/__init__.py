"""The command line: a group that loads a command's module when it is called.

The only place that catches errors, prints them and chooses an exit code. Imports nothing but
Click, so that help is there at once.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from edgebench.interrupts import LINE, Interrupted
from edgebench.streams import drop_stdout

# name -> (module, what it does in one line); the module holds a Click command named `command`.
COMMANDS = {
    "devices": ("edgebench.cli.devices", "List the devices known; which one this machine is."),
    "export": ("edgebench.cli.export", "Export a checkpoint to GGUF or ONNX."),
    "quantize": ("edgebench.cli.quantize", "Make levels of a model."),
    "profile": ("edgebench.cli.profile", "Measure speed, memory, energy and accuracy."),
    "compare": ("edgebench.cli.compare", "Set stored runs side by side."),
    "pick": ("edgebench.cli.pick", "Pick the artifact that fits your constraints."),
    "list": ("edgebench.cli.inventory", "List the artifacts, runs and caches that are here."),
    "check": ("edgebench.cli.check", "Hold a deployment's demands against stored runs."),
    "report": ("edgebench.cli.report", "Write one page with charts that opens offline."),
    "tasks": ("edgebench.cli.tasks", "List accuracy tasks, or make and check task files."),
    "schema": ("edgebench.cli.schema", "Print the JSON Schema of a run."),
}
NAME = "edgebench"
_UNWRITABLE = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT, errno.EFBIG)
INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended


class LazyGroup(click.Group):
    """A group that knows its commands' names and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of a first use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say which command was meant where none has the name."""
        if args and args[0] not in COMMANDS:
            from edgebench.errors import UsageError, nearest

            raise UsageError(f"no command {args[0]!r}", hint=nearest(args[0], COMMANDS))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' lines without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from edgebench import __version__

        click.echo(f"edgebench {__version__}")
        ctx.exit()


def set_debug(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Remember that tracebacks are wanted."""
    if wanted:
        ctx.find_root().meta["edgebench.debug"] = True


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="Print the version.",
)  # fmt: skip
@click.option(
    "--debug", is_flag=True, is_eager=True, expose_value=False, callback=set_debug,
    help="Print a traceback with an error.",
)  # fmt: skip
def cli() -> None:
    """Which build of this language model should run on that device?

    Measures every level of a model on the real device: tokens per second, memory, energy and task
    accuracy, each with its uncertainty. Then compares, and picks.

    \b
    Examples:
      edgebench profile --device cpu
      edgebench quantize model-f16.gguf --levels q8_0,q4_k_m
      edgebench compare
      edgebench pick --device cpu --min-decode 20
    """


def run(args: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code, after printing its error where there is one."""
    context: dict[str, Any] = {}
    try:
        if instruction := os.environ.get(f"_{NAME.upper()}_COMPLETE"):
            return _complete(instruction)
        typed = list(sys.argv[1:] if args is None else args)
        with cli.make_context(NAME, typed or ["--help"]) as ctx:
            context = ctx.meta
            result = cli.invoke(ctx)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except Exception as error:  # noqa: BLE001 - the one place where errors become words
        return _explain(error, bool(context.get("edgebench.debug")))
    except KeyboardInterrupt as error:
        return interrupted(error)


def interrupted(error: BaseException) -> int:
    """Say that the command was told to end; return its exit code."""
    click.echo(LINE, err=True)
    return error.exit_code if isinstance(error, Interrupted) else INTERRUPTED


def _complete(instruction: str) -> int:
    """Answer a shell: its script, or the words that may come next."""
    from click.shell_completion import shell_complete

    return shell_complete(cli, {}, NAME, f"_{NAME.upper()}_COMPLETE", instruction)


def _explain(error: Exception, debug: bool) -> int:
    from edgebench.errors import EdgebenchError

    if reason := _interrupt_behind(error):
        return interrupted(reason)
    if debug and not isinstance(error, click.exceptions.Exit):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort):
        return interrupted(error)
    if isinstance(error, EdgebenchError):
        _say(error.message, error.hint)
        return error.exit_code
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "edgebench"
        _say(error.format_message(), f"{path} --help")
        return 2
    if isinstance(error, BrokenPipeError):
        drop_stdout()  # the reader has gone
        return 1
    if isinstance(error, OSError) and error.errno in _UNWRITABLE and error.filename is None:
        drop_stdout()
        _say(f"can't write the output: {error.strerror}", "")
        return 2
    _say(
        f"{type(error).__name__}: {error}", "this is a fault of edgebench; add --debug to see where"
    )
    return 1


def _interrupt_behind(error: BaseException) -> BaseException | None:
    """Return the interrupt that an error stems from, as that of an import that it broke off."""
    reason: BaseException | None = error
    while reason and not isinstance(reason, KeyboardInterrupt):
        reason = reason.__cause__ or reason.__context__
    return reason


def _say(message: str, hint: str) -> None:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    if hint:
        click.echo(f"hint: {' '.join(hint.split())}", err=True)

"""Help, versions and documents: what a person reads before anything is measured."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from support.shell import Shell

from edgebench import __version__
from edgebench.cli import COMMANDS, cli


def test_bare_command_prints_its_help(edgebench: Shell) -> None:
    """`edgebench` alone says on stdout what there is, and that is no error."""
    bare, asked = edgebench(), edgebench("--help")
    assert (bare.returncode, bare.stderr) == (0, "")
    assert bare.stdout == asked.stdout
    for name in COMMANDS:
        assert f"  {name} " in bare.stdout


def test_listed_help_is_each_commands_own() -> None:
    """The line shown for a command says what the command's own help begins with."""
    context = cli.make_context("edgebench", ["--help"], resilient_parsing=True)
    for name, (_, line) in COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert line.endswith(".")
        assert len(line) < 60


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(edgebench: Shell, name: str) -> None:
    """--help works everywhere, fits 80 columns, and shows a command to type."""
    done = edgebench(name, "--help")
    assert done.returncode == 0
    assert f"edgebench {name}" in done.stdout.split("Example")[1]
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_version_is_printed(edgebench: Shell) -> None:
    """--version names the program and its version."""
    assert edgebench("--version").stdout == f"edgebench {__version__}\n"


ROOT = Path(__file__).resolve().parents[2]


def documents() -> str:
    """Return the text of README and docs."""
    return "\n".join(path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_is_documented(name: str) -> None:
    """A command without a section, or an option without a word, fails here."""
    text = documents()
    assert f"## edgebench {name}\n" in text
    section = text.split(f"## edgebench {name}\n")[1].split("\n## ")[0]
    command = cli.get_command(cli.make_context("edgebench", ["x"], resilient_parsing=True), name)
    assert command is not None
    options = [option for parameter in command.params for option in parameter.opts]
    missing = [
        option
        for option in options
        if option.startswith("--")
        and option not in ("--json", "--debug")
        and f"`{option}`" not in section
        and f"{option} " not in section
    ]
    assert missing == []


def documented_commands() -> list[str]:
    """Return each `edgebench ...` line of the shell blocks."""
    blocks = documents().split("```sh\n")[1:]
    lines = [line for block in blocks for line in block.split("```")[0].splitlines()]
    return sorted({line.split("#")[0].strip() for line in lines if line.startswith("edgebench ")})


@pytest.mark.parametrize("line", documented_commands())
def test_every_documented_command_can_be_parsed(line: str) -> None:
    """Commands and options in the documents exist, and their values are of the right kind."""
    words = shlex.split(line.split(">")[0])[1:]
    context = cli.make_context("edgebench", words, resilient_parsing=True)
    command = cli.get_command(context, words[0])
    assert command is not None
    command.make_context(words[0], words[1:]).close()


def test_changelog_has_this_version() -> None:
    """The version that is installed has its entry."""
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()

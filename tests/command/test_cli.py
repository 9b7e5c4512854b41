"""Whole commands on the fake runtime: what a person types, sees, and gets back."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.shell import MakeFake, Shell, error_of

from edgebench.cli import COMMANDS, cli

QUICK = ("--device", "cpu", "--workload", "64+16", "--tasks", "none")


def stored_lines(shell: Shell) -> list[dict[str, Any]]:
    """Return what lies in profiles/cpu."""
    files = sorted((shell.cwd / "profiles" / "cpu").glob("*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


# help


def test_help_loads_nothing_heavy() -> None:
    """`edgebench --help` imports no numpy, pydantic, torch, onnxruntime, rich or yaml."""
    code = (
        "import sys\nfrom edgebench.cli import run\nassert run(['--help']) == 0\n"
        "heavy = {'numpy', 'pydantic', 'torch', 'onnxruntime', 'llama_cpp', 'rich', 'yaml'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "profile" in done.stdout


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
    from edgebench import __version__

    assert edgebench("--version").stdout == f"edgebench {__version__}\n"


# the main job


def test_profile_measures_compares_and_says_what_is_next(edgebench: Shell, fakes: MakeFake) -> None:
    """Two levels, speed and accuracy: a table within 80 columns and one line to type next."""
    fakes("f16", {"decode_s": 2e-3}, bits_per_weight=16.0)
    fakes("q8_0", {"seed": 2})
    done = edgebench("profile", "fakes", "--device", "cpu", "--workload", "64+16")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    for word in ("f16", "q8_0", "prefill", "Energy: none:", "basics"):
        assert word in done.stdout
    following = done.stdout.splitlines()[-1]
    assert following.startswith("Next: edgebench pick --device cpu ")
    picked = edgebench(*following.removeprefix("Next: edgebench ").split())
    assert picked.returncode in (0, 5, 6), picked.stderr


def test_figures_recover_what_the_fake_model_states(edgebench: Shell, fakes: MakeFake) -> None:
    """A model that takes 4 ms a token decodes near, and never above, 250 tokens a second."""
    fakes("q8_0", {"decode_s": 4e-3})
    speed = edgebench.json("profile", "fakes", *QUICK, "--json")["runs"][0]["speed"]
    estimate = speed["decode"]["tokens_per_s"]
    assert 100 < estimate["value"] <= 250
    assert estimate["low"] <= estimate["value"] <= estimate["high"]
    assert estimate["n"] == len(speed["decode"]["samples_s"]) == 5
    assert speed["token_latency_s"]["p50"] >= 4e-3


def test_profiled_runs_are_valid_by_the_published_schema(edgebench: Shell, fakes: MakeFake) -> None:
    """Good and failed runs alike satisfy what `edgebench schema` prints, by another validator."""
    fakes("f16")
    fakes("q8_0", {"fault": "oom"})
    done = edgebench("profile", "fakes", "--device", "cpu", "--workload", "64+16", "--json")
    assert done.returncode == 1
    runs = json.loads(done.stdout)["runs"]
    schema = edgebench.json("schema")
    jsonschema.Draft202012Validator.check_schema(schema)
    for run in runs:
        jsonschema.validate(run, schema)
    assert sorted(run["status"] for run in runs) == ["ok", "ok", "ok", "oom"]
    assert runs == sorted(stored_lines(edgebench), key=lambda run: runs.index(run))


def test_second_profile_measures_only_what_is_missing(edgebench: Shell, fakes: MakeFake) -> None:
    """What is stored is skipped, also when another level is added; --no-resume measures again."""
    fakes("f16")
    first = edgebench.json("profile", "fakes", *QUICK, "--json")["runs"]
    assert len(stored_lines(edgebench)) == 1
    fakes("q8_0", {"seed": 1})
    second = edgebench("profile", "fakes", *QUICK, "--json")
    runs = json.loads(second.stdout)["runs"]
    assert "1 cases were stored already" in second.stderr
    assert next(run["run_id"] for run in runs) == first[0]["run_id"]
    assert len(stored_lines(edgebench)) == 2
    edgebench.json("profile", "fakes", *QUICK, "--no-resume", "--json")
    assert len(stored_lines(edgebench)) == 4


def test_dry_run_stores_nothing(edgebench: Shell, fakes: MakeFake) -> None:
    """--dry-run lists each case with an estimate of its time and leaves no file."""
    fakes("f16")
    done = edgebench("profile", "fakes", "--device", "cpu", "--dry-run")
    assert done.returncode == 0
    assert "2 of 2 cases to measure, about" in done.stdout
    assert not (edgebench.cwd / "profiles").exists()
    cases = edgebench.json("profile", "fakes", "--device", "cpu", "--dry-run", "--json")["cases"]
    assert [case["stored"] for case in cases] == [False, False]


def test_compare_in_every_format(edgebench: Shell, fakes: MakeFake) -> None:
    """Table, Markdown, CSV and JSON hold the same levels."""
    fakes("f16", bits_per_weight=16.0)
    fakes("q8_0", {"seed": 2})
    edgebench.json("profile", "fakes", "--device", "cpu", "--workload", "64+16", "--json")
    table = edgebench("compare").stdout
    assert "baseline" in table
    markdown = edgebench("compare", "--format", "markdown").stdout
    assert [line.count("|") for line in markdown.splitlines() if "|" in line] == [9] * 4
    rows = list(csv.DictReader(io.StringIO(edgebench("compare", "--format", "csv").stdout)))
    assert [row["level"] for row in rows] == ["f16", "q8_0"]
    found = edgebench.json("compare", "--json")
    assert [row["level"] for row in found["rows"]] == ["f16", "q8_0"]
    assert set(found) == {"rows", "grouped"}


def test_pick_has_a_code_for_each_decision(edgebench: Shell, fakes: MakeFake) -> None:
    """0 where one is picked, 5 where nothing fits, 6 where the evidence does not decide."""
    fakes("f16", {"decode_s": 8e-3}, bits_per_weight=16.0)
    fakes("q8_0", {"decode_s": 1e-3, "seed": 2})
    edgebench.json("profile", "fakes", "--device", "cpu", "--workload", "64+16", "--json")
    picked = edgebench("pick", "--device", "cpu", "--min-decode", "150", "--json")
    decision = json.loads(picked.stdout)
    assert (picked.returncode, decision["decision"]) == (0, "picked")
    assert decision["artifact"].endswith("q8_0")
    assert decision["rejected"][0]["constraint"] == "min-decode"
    none = edgebench("pick", "--device", "cpu", "--min-decode", "1e6")
    assert (none.returncode, none.stdout.splitlines()[0][:12]) == (5, "Nothing fits")
    undecided = edgebench(
        "pick", "--device", "cpu", "--min-decode", "150", "--max-accuracy-loss", "0.1%"
    )
    assert undecided.returncode == 6
    assert "items" in undecided.stdout


def test_devices_says_which_one_this_is(edgebench: Shell) -> None:
    """The list marks this machine; JSON names it."""
    found = edgebench.json("devices", "--json")
    assert found["here"] in [device["name"] for device in found["devices"]]
    assert "(here)" in edgebench("devices").stdout


# bad input


@pytest.mark.parametrize(
    ("arguments", "code", "said", "hint"),
    [
        (["profle"], 2, "no command 'profle'", "profile"),
        (["profile", "--device", "cpuu"], 2, "unknown device 'cpuu'", "did you mean 'cpu'?"),
        (["profile", "--device", "jetson"], 3, "jetson", "--device"),
        (["profile", "--device", "cpu", "--workload", "chta"], 2, "'chta'", "'chat'"),
        (["profile", "--device", "cpu", "--workload", "5+0"], 2, "'5+0'", "512+128@4096"),
        (["profile", "--device", "cpu", "--tasks", "basic"], 2, "'basic'", "basics"),
        (["profile", "--device", "cpu", "--set", "thread=2"], 2, "'thread=2'", "'threads'"),
        (["profile", "--device", "cpu", "--set", "threads=x"], 2, "threads=x", "--help"),
        (["profile", "--device", "cpu", "--wrkload", "x"], 2, "--wrkload", "--help"),
        (["profile", "--workload", "chat"], 2, "--device", "--help"),
        (["profile", "nowhere", "--device", "cpu"], 2, "nowhere", ""),
        (
            ["profile", "--device", "cpu", "--workload", "none", "--tasks", "none"],
            2, "nothing to measure", "--workload",
        ),
        (["quantize", "x.gguf", "--levels", "q4_m"], 2, "'q4_m'", "did you mean"),
        (["quantize", "missing.gguf", "--levels", "q4_0"], 2, "missing.gguf", ""),
        (["compare"], 2, "profiles", "edgebench profile"),
        (["pick", "--device", "cpu", "--max-memory", "6 bananas"], 2, "bananas", "--help"),
        (["pick", "--device", "cpu", "--max-accuracy-loss", "1"], 2, "1%", "--help"),
    ],
)  # fmt: skip
def test_wrong_words_get_one_line_and_a_hint(
    edgebench: Shell, arguments: list[str], code: int, said: str, hint: str
) -> None:
    """What was typed wrong is named, with the nearest right word, and nothing is written."""
    pytest.importorskip("llama_cpp")
    done = edgebench(*arguments)
    assert done.returncode == code, done.stderr
    assert said in error_of(done)
    assert hint in done.stderr
    assert list(edgebench.cwd.iterdir()) == []


def test_debug_adds_the_traceback(edgebench: Shell) -> None:
    """--debug works before and after the command's name."""
    for arguments in (
        ["--debug", "profile", "--device", "x"],
        ["profile", "--debug", "--device", "x"],
    ):
        done = edgebench(*arguments)
        assert done.returncode == 2
        assert "Traceback" in done.stderr


@pytest.mark.parametrize("command", ["profile", "quantize"])
def test_file_that_is_no_gguf_is_a_bad_file(edgebench: Shell, command: str) -> None:
    """Exit 4, and the file is named."""
    pytest.importorskip("llama_cpp")
    (edgebench.cwd / "x.gguf").write_bytes(b"PK\x03\x04 not a model")
    options = {"profile": ["--device", "cpu"], "quantize": ["--levels", "q8_0"]}[command]
    done = edgebench(command, "x.gguf", *options)
    assert done.returncode == 4
    assert "x.gguf" in error_of(done)
    assert [path.name for path in edgebench.cwd.iterdir()] == ["x.gguf"]


def test_folder_that_cannot_be_written(edgebench: Shell, fakes: MakeFake) -> None:
    """The measuring does not begin where its results could not be kept."""
    fakes("f16")
    (edgebench.cwd / "file").touch()
    for folder in ("file/runs", "/proc/edgebench"):
        done = edgebench("profile", "fakes", *QUICK, "--output", folder)
        assert done.returncode == 2
        assert folder in error_of(done)


def test_full_disk_loses_nothing_that_was_stored(edgebench: Shell, fakes: MakeFake) -> None:
    """On a full disk the command ends with a clear line; earlier lines stay whole."""
    disk = edgebench.cwd / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("mounting a small disk needs rights that this user has not")
    try:
        fakes("f16")
        edgebench("profile", "fakes", *QUICK, "--output", str(disk))
        path = next((disk / "cpu").glob("*.jsonl"))
        before = path.read_bytes()
        with (disk / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(b"\0" * 512):
                    pass
            except OSError:
                pass
        fakes("q8_0", {"seed": 1})
        done = edgebench("profile", "fakes", *QUICK, "--output", str(disk), "--no-resume")
        assert done.returncode in (1, 2)
        assert "No space left" in error_of(done)
        assert path.read_bytes() == before
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_wrong_field_in_devices_yaml_is_shown(edgebench: Shell) -> None:
    """File, line, field and what was expected."""
    (edgebench.cwd / "devices.yaml").write_text("devices:\n  cpu:\n    memory_gib: lots\n")
    done = edgebench("devices")
    assert done.returncode == 4
    said = error_of(done)
    for word in ("devices.yaml", "line 3", "memory_gib", "number"):
        assert word in said


def test_ctrl_c_keeps_what_is_done(edgebench: Shell, fakes: MakeFake) -> None:
    """After Ctrl-C in the second of two cases, the first is stored, whole, and no worker is left.

    The exit code is 130, as a shell has it.
    """
    fakes("f16")
    fakes("q8_0", {"fault": "hang", "fault_in": "score"})
    edgebench.json("profile", "fakes/f16", *QUICK, "--json")
    process = edgebench.start("profile", "fakes", "--device", "cpu", "--workload", "64+16")
    deadline = time.monotonic() + 60
    while len(stored_lines(edgebench)) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(2)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "interrupted" in stderr
    assert [run["status"] for run in stored_lines(edgebench)] == ["ok"] * 3


def test_names_from_files_are_only_text(edgebench: Shell, fakes: MakeFake) -> None:
    """A name with HTML, markup, control characters and slashes harms neither screen nor disk."""
    nasty = "<script>[red]../../etc$(id)\x1b[31m|`x`"
    fakes("f16", model=nasty)
    done = edgebench("profile", "fakes", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert [path.parent for path in edgebench.cwd.glob("profiles/**/*.jsonl")] == [
        edgebench.cwd / "profiles" / "cpu"
    ]
    markdown = edgebench("compare", "--format", "markdown").stdout
    assert "<script>" not in markdown
    assert "\\|" in markdown


# documents

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
    import shlex

    words = shlex.split(line.split(">")[0])[1:]
    context = cli.make_context("edgebench", words, resilient_parsing=True)
    command = cli.get_command(context, words[0])
    assert command is not None
    command.make_context(words[0], words[1:]).close()


def test_changelog_has_this_version() -> None:
    """The version that is installed has its entry."""
    from edgebench import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()

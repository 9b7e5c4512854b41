"""The registry: merged files, errors that a person can act on, and which board this is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgebench.device.identity import hello
from edgebench.errors import BadFileError, DeviceError, UsageError
from edgebench.plan.devices import load_registry


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder with no settings of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("EDGEBENCH_SYSROOT", str(tmp_path / "root"))
    return tmp_path


def board(folder: Path, model: str) -> None:
    """Make the machine say that it is this board."""
    path = folder / "root/proc/device-tree/model"
    path.parent.mkdir(parents=True)
    path.write_bytes(model.encode() + b"\0")


def test_shipped_registry_has_what_the_readme_names() -> None:
    """cpu, cuda, and families whose boards name them."""
    devices = load_registry().devices
    assert {"cpu", "cuda", "jetson", "raspberry-pi", "jetson-orin-nano-8gb"} <= set(devices)
    for entry in devices.values():
        assert entry.family is None or devices[entry.family].kind == "family"


def test_later_files_change_only_what_they_name(elsewhere: Path) -> None:
    """Configuration folder, then working folder, then --devices; the nearer one wins."""
    config = elsewhere / "config/edgebench"
    config.mkdir(parents=True)
    (config / "devices.yaml").write_text(
        "devices: {cpu: {description: from config, memory_gib: 3}, mine: {memory_gib: 1}}"
    )
    (elsewhere / "devices.yaml").write_text("devices: {cpu: {description: from here}}")
    (elsewhere / "more.yaml").write_text("devices: {mine: {memory_gib: 2}}")
    known = load_registry(elsewhere / "more.yaml")
    assert (known.devices["cpu"].description, known.devices["cpu"].memory_gib) == ("from here", 3)
    assert known.devices["cpu"].kind == "cpu"
    assert known.devices["mine"].memory_gib == 2
    assert [path.name for path in known.files] == ["devices.yaml"] * 3 + ["more.yaml"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "devices:\n  cpu:\n    memory_gib: lots\n",
            "line 3, field devices.cpu.memory_gib: .*numb",
        ),
        ("devices:\n  cpu:\n    memory_gb: 4\n", "line 3: unknown field 'devices.cpu.memory_gb'"),
        (
            "devices:\n  cpu: {settings: {thread: 4}}\n",
            "unknown field 'devices.cpu.settings.thread'",
        ),
        ("devices:\n  cpu: {memory_gib: -4}\n", "memory_gib: .*greater than"),
        ("device: {}\n", "line 1"),
        ("- a\n- b\n", "field the file"),
        ("", "field the file"),
        ("devices: {../x: {}}\n", "line 1"),
        ("devices: [\n", "line 2: not valid YAML"),
        ("devices: !!python/object/apply:os.system [id]\n", "not valid YAML"),
        (
            "devices:\n  cpu: {soc: 2000-99-99}\n",
            "line 2: '2000-99-99' isn't a value of the type",
        ),
        ("devices:\n\n  cpu: {memory_gib: 0b_}\n", "line 3: '0b_' isn't a value of the type int"),
        ("devices: {cpu: {soc: !!timestamp x}}\n", "line 1: 'x' isn't a value of the type time"),
        (
            "devices: {cpu: {memory_gib: !!float x}}\n",
            "line 1: 'x' isn't a value of the type fl",
        ),
        ("devices: {cpu: {soc: !!bool zz}}\n", "line 1: 'zz' isn't a value of the type bool"),
        ("devices: {cpu: {memory_gib: " + "1" * 5000 + "}}\n", "line 1: a number has more than 40"),
        ("devices: {cpu: {memory_gib: 1" + ":59" * 5000 + "}}\n", "line 1: a number has more than"),
        ("devices: {cpu: {soc: *there}}\n", "not valid YAML: found undefined alias"),
        ("devices: {" + "a" * 200 + ": {}}\n", "line 1"),
    ],
)
def test_wrong_file_is_shown_by_line_and_field(elsewhere: Path, text: str, said: str) -> None:
    """File, line, field, and what was expected."""
    path = elsewhere / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(BadFileError, match=said) as caught:
        load_registry(path)
    assert "wrong.yaml" in caught.value.message
    assert len(caught.value.message) < 1000


def bomb() -> str:
    """Return a small file whose aliases stand for 10^9 entries."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 9):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]")
    return "\n".join(lines) + "\ndevices: {cpu: {match: *a8}}\n"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (bomb().encode(), "line 5: more than 50000 entries"),
        (b"a: &a [*a]\ndevices: {cpu: {match: *a}}\n", "line 1: nested more than 64 deep"),
        (b"[" * 20000, "line 1: nested more than 64 deep"),
        (b"? " * 20000, "line 1: nested more than 64 deep"),
        (b"\xff\xfe\x00", "isn't UTF-8"),
        (b"devices: {}\n" + b"#" * (2 << 20), "more than 1 MiB"),
    ],
    ids=["bomb", "loop", "lists", "keys", "binary", "large"],
)
def test_hostile_file_is_refused_at_once(elsewhere: Path, raw: bytes, said: str) -> None:
    """Alias bombs, loops, endless nesting, bytes and size: an error, in little time and memory."""
    path = elsewhere / "hostile.yaml"
    path.write_bytes(raw)
    with pytest.raises(BadFileError, match=said):
        load_registry(path)


def test_aliases_of_a_person_count_as_what_they_stand_for(elsewhere: Path) -> None:
    """Anchors save typing; only what they blow up to is limited."""
    path = elsewhere / "lab.yaml"
    path.write_text("devices:\n  a: &a {memory_gib: 2, match: [x]}\n  b: {<<: *a, soc: s}\n")
    devices = load_registry(path).devices
    assert (devices["b"].memory_gib, devices["b"].match, devices["b"].soc) == (2, ("x",), "s")


def test_registry_is_a_file(elsewhere: Path) -> None:
    """A FIFO isn't waited for, a device isn't read."""
    os.mkfifo(elsewhere / "fifo.yaml")
    for path, said in {elsewhere / "fifo.yaml": "FIFO", Path("/dev/zero"): "device"}.items():
        with pytest.raises(BadFileError, match=f"is a {said}, not a file"):
            load_registry(path)


def test_unknown_name_gets_the_nearest() -> None:
    """jetsn is answered with jetson."""
    with pytest.raises(UsageError, match="unknown device 'jetsn'") as caught:
        load_registry().resolve("jetsn", hello())
    assert caught.value.hint == "did you mean 'jetson'?"


def test_machine_without_a_device_tree_is_cpu() -> None:
    """And jetson is then not here, with what to do."""
    known, said = load_registry(), hello()
    assert known.board_of(said) == "cpu"
    assert known.resolve("cpu", said).name == "cpu"
    with pytest.raises(DeviceError, match="this machine is cpu, not jetson") as caught:
        known.resolve("jetson", said)
    assert "edgebench profile --device jetson" in caught.value.hint
    with pytest.raises(DeviceError, match="no NVIDIA GPU"):
        known.resolve("cuda", said)
    with_driver = said.model_copy(update={"nvidia": True})
    assert known.resolve("cuda", with_driver).name == "cuda"


@pytest.mark.parametrize(
    ("model", "name", "family"),
    [
        ("NVIDIA Jetson Orin Nano Developer Kit", "jetson-orin-nano-8gb", "jetson"),
        ("Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi-5", "raspberry-pi"),
        ("Raspberry Pi 4 Model B Rev 1.4", "raspberry-pi-4", "raspberry-pi"),
    ],
)
def test_board_is_known_by_its_device_tree(
    elsewhere: Path, model: str, name: str, family: str
) -> None:
    """The board's own name, its family's, and cpu all stand for this machine."""
    board(elsewhere, model)
    known, said = load_registry(), hello()
    assert said.device.board == model
    assert known.board_of(said) == name
    assert known.resolve(family, said).name == name
    assert known.resolve(name, said).name == name
    assert known.resolve("cpu", said).name == "cpu"


def test_machine_of_a_board_is_told_by_a_hash_of_its_number(elsewhere: Path) -> None:
    """Two boards of one kind differ, one board is itself again, and no number is given away."""
    board(elsewhere, "Raspberry Pi 5 Model B Rev 1.0")
    serial = elsewhere / "root/proc/device-tree/serial-number"
    hashes = []
    for number in ("10000000abcdef01", "10000000abcdef02", "10000000abcdef01"):
        serial.write_bytes(number.encode() + b"\0")
        hashes.append(hello().device.machine)
    assert hashes[0] == hashes[2] != hashes[1]
    assert hashes[0]
    assert "abcdef01" not in hashes[0]

"""The registry of devices, and which of them this machine is.

Knows devices.yaml: the one that is installed, then the working folder's, the user's and the one
that was named, each merged over the last. Measures nothing.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgebench.device.conditions import l4t, power_mode
from edgebench.device.system import cpu_model, os_name, read_text, root
from edgebench.errors import BadFileError, DeviceError, UsageError, nearest
from edgebench.records.device import DeviceInfo
from edgebench.records.settings import Settings

MAX_FILE_BYTES = 1 << 20


class DeviceEntry(BaseModel):
    """One entry; an entry of a later file changes only the fields it names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["cpu", "cuda", "family", "board"] = "board"
    description: Annotated[str, Field(max_length=200)] = ""
    family: str | None = None
    match: tuple[str, ...] = ()
    match_cpu: tuple[str, ...] = ()
    soc: str | None = None
    cpu: str | None = None
    gpu: str | None = None
    memory_gib: Annotated[float, Field(gt=0)] | None = None
    bandwidth_gb_s: dict[str, Annotated[float, Field(gt=0)]] = {}
    peak_tops: dict[str, Annotated[float, Field(gt=0)]] = {}
    sensors: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    host: str | None = None
    settings: Settings = Settings()


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    devices: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")], DeviceEntry]


@dataclass(frozen=True)
class Registry:
    """All devices by name, and the files they came from."""

    devices: dict[str, DeviceEntry]
    files: tuple[Path, ...]

    def here(self) -> str:
        """Return the name of the board that this machine is, or `cpu`."""
        model, cpu = read_text("/proc/device-tree/model") or "", cpu_model() or ""
        matches = [
            (len(prefix), name)
            for name, entry in self.devices.items()
            for text, prefixes in ((model, entry.match), (cpu, entry.match_cpu))
            for prefix in prefixes
            if text.startswith(prefix)
        ]
        return max(matches)[1] if matches else "cpu"

    def resolve(self, name: str) -> str:
        """Return the device that `name` stands for on this machine.

        Raises UsageError on an unknown name, DeviceError where it is not this machine.
        """
        if name not in self.devices:
            raise UsageError(f"unknown device {name!r}", hint=nearest(name, self.devices))
        entry, here = self.devices[name], self.here()
        if entry.kind == "cpu" or name == here:
            return name
        if entry.kind == "cuda":
            if (root() / "dev/nvidiactl").exists():
                return name
            raise DeviceError(
                "this machine has no NVIDIA GPU, or its driver is not loaded",
                hint="nvidia-smi should list it; edgebench profile --device cpu runs here",
            )
        if entry.kind == "family" and self.devices[here].family == name:
            return here
        raise DeviceError(
            f"this machine is {here}, not {name}",
            hint=f"install edgebench on the {name} and type "
            f"edgebench profile --device {name} there",
        )


def this_device(name: str) -> DeviceInfo:
    """Describe this machine as the device `name`."""
    import psutil

    return DeviceInfo(
        name=name,
        board=read_text("/proc/device-tree/model"),
        cpu=cpu_model(),
        memory_bytes=psutil.virtual_memory().total,
        os=os_name(),
        kernel=platform.release(),
        l4t=l4t(),
        power_mode=power_mode(),
    )


def default_files() -> list[Path]:
    """Return the registry files that exist, the installed one first."""
    from platformdirs import user_config_path

    installed = Path(__file__).parents[1] / "devices.yaml"
    if not installed.exists():  # an editable install: the file is at the root
        installed = Path(__file__).parents[2] / "devices.yaml"
    own = [user_config_path("edgebench") / "devices.yaml", Path("devices.yaml")]
    return [installed, *(path for path in own if path.is_file())]


def load_registry(extra: Path | None = None) -> Registry:
    """Read and merge the registry files, `extra` on top.

    Raises BadFileError with file, line, field and what was expected.
    """
    files = default_files() + ([extra] if extra else [])
    merged: dict[str, dict[str, Any]] = {}
    for path in files:
        for name, entry in _read(path).devices.items():
            merged.setdefault(name, {}).update(entry.model_dump(exclude_unset=True))
    devices = {name: DeviceEntry.model_validate(fields) for name, fields in merged.items()}
    return Registry(devices, tuple(files))


def _read(path: Path) -> _File:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadFileError(f"can't read {path}: {error.strerror}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise BadFileError(f"{path} has {len(raw)} bytes; a registry is smaller")
    try:
        text = raw.decode()
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except UnicodeDecodeError:
        raise BadFileError(f"{path} is no UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "can't be read"
        raise BadFileError(f"{path}{where}: no valid YAML: {problem}") from None
    except RecursionError:
        raise BadFileError(f"{path} is nested too deeply") from None
    try:
        return _File.model_validate(data)
    except ValidationError as error:
        raise _explain(path, node, error) from None


def _explain(path: Path, node: yaml.Node | None, error: ValidationError) -> BadFileError:
    first = error.errors(include_url=False)[0]
    keys = [str(part) for part in first["loc"] if part != "[key]"]
    line = _line_of(node, keys)
    field = ".".join(keys) or "the file"
    if first["type"] == "extra_forbidden":
        known = Settings.model_fields if "settings" in keys[:-1] else DeviceEntry.model_fields
        if len(keys) == 1:
            return BadFileError(f"{path}, line {line}: unknown field {field!r}, expected 'devices'")
        return BadFileError(
            f"{path}, line {line}: unknown field {field!r}", hint=nearest(keys[-1], known)
        )
    return BadFileError(
        f"{path}, line {line}, field {field}: {first['msg']}, not {first['input']!r:.80}"
    )


def _line_of(node: yaml.Node | None, keys: list[str]) -> int:
    """Return the line of the deepest key of `keys` that stands in the file."""
    line = 1
    for key in keys:
        found = next((pair for pair in _children(node) if pair[0] == key), None)
        if found is None:
            return line
        _, line, node = found
    return line


def _children(node: yaml.Node | None) -> Iterator[tuple[str, int, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value), key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield str(index), value.start_mark.line + 1, value

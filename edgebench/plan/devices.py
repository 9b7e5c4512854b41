"""The registry of devices, and which of them a machine is that said hello.

Knows devices.yaml: the one that is installed, then the working folder's, the user's and the one
that was named, each merged over the last. Measures nothing.
"""

from __future__ import annotations

import os
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgebench.errors import BadFileError, DeviceError, UsageError, nearest
from edgebench.records.device import DeviceEntry
from edgebench.records.energy import Calibration
from edgebench.records.faults import UNKNOWN_FIELD, Fault
from edgebench.records.messages import Hello
from edgebench.records.settings import Settings
from edgebench.sources.yaml_lines import LinedYaml, load_yaml


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    devices: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")], DeviceEntry]


@dataclass(frozen=True)
class Device:
    """An entry of the registry under its name."""

    name: str
    entry: DeviceEntry

    @property
    def settings(self) -> Settings:
        """Return the settings that suit it."""
        return self.entry.settings


THIS_MACHINE = Device("cpu", DeviceEntry(kind="cpu"))  # whatever it is, workers start on it


@dataclass(frozen=True)
class Registry:
    """All devices by name, and the files they came from."""

    devices: dict[str, DeviceEntry]
    files: tuple[Path, ...]

    def check(self, name: str) -> None:
        """Raise UsageError on a device that no file names."""
        if name not in self.devices:
            raise UsageError(f"unknown device {name!r}", hint=nearest(name, self.devices))

    def board_of(self, hello: Hello) -> str:
        """Return the name of the board that a worker said it runs on, or `cpu`."""
        model, cpu = hello.device.board or "", hello.device.cpu or ""
        matches = [
            (len(prefix), name)
            for name, entry in self.devices.items()
            for told, prefixes in ((model, entry.match), (cpu, entry.match_cpu))
            for prefix in prefixes
            if told.startswith(prefix)
        ]
        return max(matches)[1] if matches else "cpu"

    def resolve(self, name: str, hello: Hello) -> Device:
        """Return the device that `name` stands for on the machine that said hello.

        Raises UsageError on an unknown name, DeviceError where it is not that machine.
        """
        self.check(name)
        entry, here = self.devices[name], self.board_of(hello)
        if entry.kind == "cpu" or name == here:
            return Device(name, entry)
        if entry.kind == "cuda":
            if hello.nvidia:
                return Device(name, entry)
            raise DeviceError(
                "this machine has no NVIDIA GPU, or its driver isn't loaded",
                hint="nvidia-smi should list it; edgebench profile --device cpu runs here",
            )
        if entry.kind == "family" and self.devices[here].family == name:
            return Device(here, self.devices[here])
        raise DeviceError(
            f"this machine is {here}, not {name}",
            hint=f"install edgebench on the {name} and type "
            f"edgebench profile --device {name} there",
        )


def default_files() -> list[Path]:
    """Return the registry files that exist, the installed one first."""
    from platformdirs import user_config_path

    installed = Path(__file__).parents[1] / "devices.yaml"
    if not installed.exists():  # an editable install: the file is at the root
        installed = Path(__file__).parents[2] / "devices.yaml"
    own = [user_config_path("edgebench") / "devices.yaml", Path("devices.yaml"), _calibrations()]
    return [installed, *(path for path in own if path.is_file())]


def _calibrations() -> Path:
    """Return where `devices calibrate` writes; a person's own file keeps its comments."""
    from platformdirs import user_config_path

    return user_config_path("edgebench") / "calibrations.yaml"


def save_calibration(device: str, source: str, calibration: Calibration) -> Path:
    """Add a calibration to those of this user, in the form of devices.yaml; return the file.

    Raises UsageError where it can't be written.
    """
    import yaml

    path = _calibrations()
    held = _read(path).devices if path.is_file() else {}
    entries = {name: {"calibration": dict(entry.calibration)} for name, entry in held.items()}
    entries.setdefault(device, {"calibration": {}})["calibration"][source] = calibration
    plain = {
        name: {"calibration": {key: fit.model_dump() for key, fit in entry["calibration"].items()}}
        for name, entry in entries.items()
    }
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(yaml.safe_dump({"devices": plain}, sort_keys=False), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UsageError(
            f"can't write {path}: {error.strerror}", hint="change the rights of that folder"
        ) from None
    return path


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
    lined = load_yaml(path)
    try:
        return _File.model_validate(lined.data)
    except ValidationError as error:
        raise _explain(path, lined, error) from None


def _explain(path: Path, lined: LinedYaml, error: ValidationError) -> BadFileError:
    fault = Fault.of(error)
    place, field = f"{path}, line {lined.line(*fault.keys)}", fault.field or "the file"
    if fault.kind != UNKNOWN_FIELD:
        value = reprlib.repr(fault.value)  # aliases can make a small file stand for 10^9 entries
        return BadFileError(f"{place}, field {field}: {fault.expected}, not {value:.80}")
    if len(fault.keys) == 1:
        return BadFileError(f"{place}: unknown field {field!r}, expected 'devices'")
    known = Settings.model_fields if "settings" in fault.keys[:-1] else DeviceEntry.model_fields
    return BadFileError(
        f"{place}: unknown field {field!r}", hint=nearest(str(fault.keys[-1]), known)
    )

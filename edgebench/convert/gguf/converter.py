"""llama.cpp's own converter of checkpoints, of the very version that is installed.

It isn't in the wheel, but in the sdist that the wheel was made from. Knows how to fetch that
once with pip, and which parts of it are needed. Does not convert.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from platformdirs import user_cache_path

from edgebench.errors import EdgebenchError, MissingExtraError, UsageError
from edgebench.processes import python_module, run_guarded, safe_environment

SCRIPT = "convert_hf_to_gguf.py"
_PACKAGE = "llama-cpp-python"
_INSIDE = ("vendor", "llama.cpp")
_PARTS = ((SCRIPT,), ("conversion",), ("gguf-py",), ("LICENSE",))
_MAX_BYTES = 64 << 20  # what these parts may unpack to; they are 2 MiB


class NoConverterError(EdgebenchError):
    """The converter is not here and can't be fetched."""

    exit_code = 7


def find_converter(checkout: Path | None) -> Path:
    """Return a folder with convert_hf_to_gguf.py: the checkout named, the cache, or fetched now.

    Raises UsageError where the checkout has none, NoConverterError where it can't be fetched,
    MissingExtraError where the packages that it needs are not installed.
    """
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "export")
    if checkout is not None:
        folder = checkout.parent if checkout.name == SCRIPT else checkout
        if not (folder / SCRIPT).is_file():
            raise UsageError(
                f"no {SCRIPT} in {folder}", hint="give --converter a checkout of llama.cpp"
            )
        return folder
    version = _version()
    ready = user_cache_path("edgebench") / "converter" / version
    return ready if (ready / SCRIPT).is_file() else _fetch(version, ready)


def _version() -> str:
    try:
        # A wheel may carry a local part (+cu124, say) that its sdist has not.
        return importlib.metadata.version(_PACKAGE).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtraError(_PACKAGE, "export") from None


def _fetch(version: str, ready: Path) -> Path:
    ready.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ready.parent) as work:
        archive = _download(version, Path(work) / "sdist")
        source = Path(work) / "source"
        _unpack(archive, source)
        try:
            source.rename(ready)
        except OSError as error:  # another process may have been faster
            if not (ready / SCRIPT).is_file():
                raise EdgebenchError(f"can't write {ready}: {error.strerror}") from None
    return ready


def _download(version: str, into: Path) -> Path:
    into.mkdir()
    command = [*python_module("pip"), "download", "--disable-pip-version-check", "--no-input"]
    command += ["--quiet", "--no-deps", "--no-binary", _PACKAGE, f"{_PACKAGE}=={version}"]
    environment = {"PIP_RETRIES": "1"} | safe_environment()
    code, said = run_guarded([*command, "-d", str(into)], environment)
    archives = sorted(into.glob("*.tar.gz"))
    if code or len(archives) != 1:
        lines = [line for line in said.splitlines() if line.startswith("ERROR")]
        raise NoConverterError(
            f"llama.cpp's converter is not in the cache, and the sdist of {_PACKAGE} {version} "
            f"can't be downloaded: {(lines or ['pip gave no reason'])[-1][:200]}",
            hint="go online once, or give --converter a checkout of llama.cpp",
        )
    return archives[0]


def _unpack(archive: Path, into: Path) -> None:
    """Write the needed parts under checked names: plain files alone, no links, no `..`."""
    total = 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                parts = path.parts[3:]
                if path.parts[1:3] != _INSIDE or not member.isreg():
                    continue
                if not any(parts[: len(part)] == part for part in _PARTS):
                    continue
                total += member.size
                if ".." in parts or path.is_absolute() or total > _MAX_BYTES:
                    raise EdgebenchError(f"{archive.name} is not as expected at {member.name}")
                content = tar.extractfile(member)
                target = into.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                if content:
                    with content, target.open("wb") as file:
                        shutil.copyfileobj(content, file)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise EdgebenchError(f"can't unpack {archive.name}: {error}") from None
    if not (into / SCRIPT).is_file():
        raise NoConverterError(
            f"{archive.name} holds no {SCRIPT}",
            hint="give --converter a checkout of llama.cpp",
        )

"""Build llama.cpp's own tools on the very libraries the installed llama-cpp-python loads.

What this module knows: where the installed llama-cpp-python keeps its shared libraries, that the
sdist of the same version carries the llama.cpp sources those libraries were compiled from, and
how to compile `llama-bench`, `llama-perplexity` and `llama-quantize` from them. Only the tools'
own sources are compiled; they are linked against the wheel's libllama and libggml*, and their
rpath points into the wheel. Whatever a tool computes is thus computed by the same machine code
that edgebench runs through llama-cpp-python: a difference between the two is a difference in
measuring, never in kernels or compiler flags. On ELF systems the rpath also beats
LD_LIBRARY_PATH, and `ldd` is asked after each build whether the links really end in the wheel.

llama.cpp's `common` library (argument parsing, loading, logging) lies between tool and libllama.
If the wheel happens to have installed it too (as of 0.3.36 it does, in site-packages/lib), it is
linked as well and the build takes seconds; otherwise, or if it cannot be linked (it may want an
OpenSSL that is not there), it is compiled from the sdist, which takes minutes. It computes
nothing of a model, so this choice does not touch what is measured.

What it does not know: how to build llama.cpp itself (there is no fallback to a second, separately
compiled llama.cpp, which would not be the same build), anything about models or results, Windows,
and how sources much older than 0.3.36's were laid out. Wheels whose backends are loaded at run
time (GGML_BACKEND_DL) are not supported: the tools look for such backends next to themselves,
not in the wheel.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import platformdirs

TOOLS = ("llama-bench", "llama-perplexity", "llama-quantize")

_PACKAGE = "llama-cpp-python"
_SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"

# The parts of vendor/llama.cpp that are unpacked: of src/ only headers are read.
_SOURCES = ("common", "ggml/include", "include", "src", "vendor", "tools/llama-bench",
            "tools/perplexity", "tools/quantize")  # fmt: skip

# A compiler run over `common` can take about 1 GB, so more jobs than this can hurt small machines.
_JOBS = 2

# Stands in for llama.cpp's top-level CMakeLists.txt in the unpacked copy: it declares the
# libraries that one would have built as imported from the wheel, and leaves the rest to
# llama.cpp's own lists, so that their sources and flags need no second list here.
_CMAKE = """\
cmake_minimum_required(VERSION 3.21)
project(edgebench-llama-cpp-tools CXX)
find_package(Threads REQUIRED)

set(CMAKE_CXX_STANDARD 17)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
set(CMAKE_INSTALL_RPATH ${WHEEL_LIB})
set(BUILD_SHARED_LIBS OFF)
set(LLAMA_BUILD_COMMON ON)
set(LLAMA_OPENSSL OFF)
if (NOT APPLE)
    # DT_RPATH of the program comes before LD_LIBRARY_PATH, the default DT_RUNPATH after it; and
    # it is sure to be used only for libraries the program itself asks for, hence all of them.
    add_link_options(LINKER:--disable-new-dtags LINKER:--no-as-needed)
endif()

# What llama.cpp's lists expect from the file this one replaces.
function(llama_add_compile_flags)
endfunction()
function(license_add_file)
endfunction()
set(LLAMA_BUILD_NUMBER 0)
set(LLAMA_BUILD_COMMIT ${WHEEL_VERSION})
set(BUILD_COMPILER "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
set(BUILD_TARGET "${CMAKE_SYSTEM_NAME} ${CMAKE_SYSTEM_PROCESSOR}")

set(wheel_targets)
foreach(name ggml-base ggml-cpu ggml llama)
    set(file ${WHEEL_LIB}/lib${name}${CMAKE_SHARED_LIBRARY_SUFFIX})
    if (EXISTS ${file})
        add_library(${name} SHARED IMPORTED)
        set_target_properties(${name} PROPERTIES IMPORTED_LOCATION ${file})
        list(APPEND wheel_targets ${name})
    endif()
endforeach()
target_compile_definitions(llama INTERFACE LLAMA_SHARED GGML_SHARED GGML_BACKEND_SHARED)
target_include_directories(llama INTERFACE
    ${CMAKE_CURRENT_SOURCE_DIR}/include ${CMAKE_CURRENT_SOURCE_DIR}/ggml/include)
list(REMOVE_ITEM wheel_targets llama)
target_link_libraries(llama INTERFACE ${wheel_targets})

if (WHEEL_COMMON)
    get_filename_component(common_dir ${WHEEL_COMMON} DIRECTORY)
    # After the folder that llama-cpp-python loads: this one holds second copies of its libraries.
    list(APPEND CMAKE_INSTALL_RPATH ${common_dir})
    add_library(llama-common SHARED IMPORTED)
    set_target_properties(llama-common PROPERTIES IMPORTED_LOCATION ${WHEEL_COMMON})
    target_include_directories(llama-common INTERFACE
        ${CMAKE_CURRENT_SOURCE_DIR}/common ${CMAKE_CURRENT_SOURCE_DIR}/vendor)
else()
    add_subdirectory(vendor EXCLUDE_FROM_ALL)
    add_subdirectory(common EXCLUDE_FROM_ALL)
endif()
add_subdirectory(tools/llama-bench)
add_subdirectory(tools/perplexity)
add_subdirectory(tools/quantize)
"""


def tool(name: str) -> Path:
    """Return the path of the built tool `name`, building all three on first use.

    Raises RuntimeError, with one line that says what is wrong, if `name` is none of TOOLS, if
    llama-cpp-python or a build program is missing, or if download or build fail.
    """
    if name not in TOOLS:
        raise RuntimeError(f"unknown llama.cpp tool {name!r}: it must be one of {', '.join(TOOLS)}")
    return _built() / name


@functools.cache
def _built() -> Path:
    """Return the cache folder that holds the three tools, filling it if need be."""
    if sys.platform == "win32":
        raise RuntimeError("building llama.cpp's tools is not supported on Windows")
    version = _wheel_version()
    lib = _wheel_lib()
    compiler = _compiler()
    folder = Path(platformdirs.user_cache_dir("edgebench")) / "llama.cpp-tools" / version
    ready = folder / _key(version, lib, compiler)
    if not _complete(ready):
        _build(version, lib, compiler, ready)
    return ready


def _complete(folder: Path) -> bool:
    """Tell whether all three tools are in `folder`."""
    return all((folder / name).is_file() for name in TOOLS)


def _wheel_version() -> str:
    """Return the installed llama-cpp-python's version."""
    try:
        return importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise RuntimeError(f"{_PACKAGE} is not installed in {sys.executable}") from None


def _wheel_lib() -> Path:
    """Return the folder from which `import llama_cpp` loads libllama.

    The package is found but not imported: importing it would load the libraries.
    """
    spec = importlib.util.find_spec("llama_cpp")
    places = (spec.submodule_search_locations if spec else None) or []
    for place in places:
        lib = Path(place).resolve() / "lib"
        if (lib / f"libllama{_SUFFIX}").is_file():
            return lib
    raise RuntimeError(f"the installed {_PACKAGE} has no llama_cpp/lib/libllama{_SUFFIX}")


def _wheel_common() -> Path | None:
    """Return the wheel's copy of llama.cpp's `common` library, None if it installed none."""
    for file in importlib.metadata.files(_PACKAGE) or []:
        if file.name == f"libllama-common{_SUFFIX}":
            path = Path(str(file.locate())).resolve()
            return path if path.is_file() else None
    return None


def _compiler() -> str:
    """Return the C++ compiler's command: $CXX, else the first usual name found."""
    command = os.environ.get("CXX") or next(filter(_which, ("c++", "g++", "clang++")), None)
    if command is None:
        raise RuntimeError(
            "no C++ compiler is on PATH: install g++ or clang++, or set CXX, "
            "to build llama.cpp's tools"
        )
    return command


def _which(program: str) -> str | None:
    """Find `program` next to the interpreter, where pip puts programs, or else on PATH."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(program, path=beside) or shutil.which(program)


def _key(version: str, lib: Path, compiler: str) -> str:
    """Return a name for a build that changes with all that the build depends on.

    The wheel's folder counts as well as its bytes: the tools' rpath leads to it, and another
    environment's wheel, equal today, may be rebuilt tomorrow.
    """
    command = [*shlex.split(compiler), "--version"]
    parts = [version, _run(command, "asking the compiler for its version"), str(lib), _CMAKE]
    parts += [f"{file.name} {_sha256(file)}" for file in sorted(lib.glob(f"lib*{_SUFFIX}"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _sha256(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, read piece by piece."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _build(version: str, lib: Path, compiler: str, ready: Path) -> None:
    """Fetch, unpack and compile in a temporary folder, then rename the result to `ready`."""
    cmake = _which("cmake")
    if cmake is None:
        raise RuntimeError(
            "cmake is not on PATH: install it (`python -m pip install cmake ninja`, or your "
            "system's cmake package) to build llama.cpp's tools"
        )
    print(
        f"building {', '.join(TOOLS)} for {_PACKAGE} {version} (once; up to some minutes) ...",
        file=sys.stderr,
        flush=True,
    )
    folder = ready.parent
    folder.mkdir(parents=True, exist_ok=True)
    # In the same folder as the result, since a rename must not cross file systems.
    with tempfile.TemporaryDirectory(prefix="building-", dir=folder) as name:
        work = Path(name)
        source = _unpack(_download(version, work / "sdist", folder), work / "source")
        (source / "CMakeLists.txt").write_text(_CMAKE, encoding="utf-8")
        settings = {"WHEEL_VERSION": f"{_PACKAGE}-{version}", "WHEEL_LIB": str(lib)}
        binaries = _compile(cmake, compiler, source, work, settings, folder)
        # Another process may have been faster: its build is as good as this one.
        if not _complete(ready):
            # What may be there is a finished build that somebody deleted parts of.
            shutil.rmtree(ready, ignore_errors=True)
            _rename(binaries, ready)


def _rename(binaries: Path, ready: Path) -> None:
    """Rename the folder `binaries` to `ready`, minding that another process may do the same."""
    try:
        binaries.rename(ready)
    except OSError as error:
        if not _complete(ready):
            raise RuntimeError(f"cannot put the built tools into {ready}: {error}") from None


def _download(version: str, into: Path, logs: Path) -> Path:
    """Fetch the sdist of `version` with pip and return the archive's path."""
    # A wheel may carry a local part (+cu124, say) that the sdist it was made from has not.
    public = version.partition("+")[0]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    command += ["download", "--no-deps", "--no-binary", _PACKAGE, f"{_PACKAGE}=={public}"]
    _run([*command, "-d", str(into)], f"downloading the {_PACKAGE} {public} sdist", logs)
    archives = sorted(into.glob("*.tar.gz"))
    if len(archives) != 1:
        raise RuntimeError(f"pip left {len(archives)} .tar.gz files for {_PACKAGE} {public}, not 1")
    return archives[0]


def _unpack(archive: Path, into: Path) -> Path:
    """Unpack the needed parts of vendor/llama.cpp into `into` and return it.

    Only plain files are written, under names checked here and with default permissions. An
    archive with an absolute name or `..` is refused whole, and so is one with links among the
    parts unpacked.
    """
    prefix = ("vendor", "llama.cpp")
    wanted = tuple(PurePosixPath(part).parts for part in _SOURCES)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise RuntimeError(f"{archive.name} has an unsafe name: {member.name}")
                parts = path.parts[3:]
                if path.parts[1:3] != prefix or member.isdir():
                    continue
                if not any(parts[: len(part)] == part for part in wanted):
                    continue
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    raise RuntimeError(f"{archive.name} has a link or device: {member.name}")
                target = into.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with content, target.open("wb") as stream:
                    shutil.copyfileobj(content, stream)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise RuntimeError(f"cannot unpack {archive.name}: {error}") from None
    if not (into / "tools").is_dir():
        raise RuntimeError(f"{archive.name} has no {'/'.join(prefix)}/tools")
    return into


def _compile(
    cmake: str, compiler: str, source: Path, work: Path, settings: dict[str, str], logs: Path
) -> Path:
    """Compile the tools, if possible with the wheel's own `common`; return their folder."""
    common = _wheel_common()
    if common is not None:
        quick = settings | {"WHEEL_COMMON": str(common)}
        # It was built for another purpose and may lack what it needs itself (OpenSSL, say). The
        # long way does not depend on it, and if the fault is elsewhere, that will report it.
        with contextlib.suppress(RuntimeError):
            return _cmake(cmake, compiler, source, work / "quick", quick, None)
    return _cmake(cmake, compiler, source, work / "full", settings, logs)


def _cmake(
    cmake: str,
    compiler: str,
    source: Path,
    build: Path,
    settings: dict[str, str],
    logs: Path | None,
) -> Path:
    """Configure and build in `build`, check the links, and return the folder of the binaries."""
    configure = [cmake, "-S", str(source), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release"]
    configure += [f"-D{name}={value}" for name, value in settings.items()]
    ninja = _which("ninja")
    if ninja is not None:
        configure += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    environment = {**os.environ, "CXX": compiler}
    _run(configure, "configuring llama.cpp's tools", logs, environment)
    make = [cmake, "--build", str(build), "--parallel", str(_JOBS), "--target", *TOOLS]
    _run(make, "compiling llama.cpp's tools", logs, environment)
    for program in TOOLS:
        _check_links(build / "bin" / program, Path(settings["WHEEL_LIB"]))
    return build / "bin"


def _check_links(binary: Path, lib: Path) -> None:
    """Raise RuntimeError unless `binary` finds its libraries, and libllama and libggml* in `lib`.

    Without an `ldd` (macOS has none) the rpath is trusted.
    """
    ldd = shutil.which("ldd")
    if ldd is None:
        return
    for line in _run([ldd, str(binary)], f"asking ldd about {binary.name}").splitlines():
        library, arrow, target = line.strip().partition(" => ")
        if arrow and target.startswith("not found"):
            raise RuntimeError(f"the built {binary.name} does not find {library}")
        if not arrow or not library.startswith(("libllama.", "libggml")):
            continue
        found = Path(target.rpartition(" (")[0])
        if found.parent.resolve() != lib:
            raise RuntimeError(f"the built {binary.name} loads {found}, not the copy in {lib}")


def _run(
    command: Sequence[str],
    what: str,
    logs: Path | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    """Run `command` and return its output; if it fails, raise RuntimeError with the telling line.

    With `logs`, the whole output of a failure is kept there and the error says where.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=environment,
            check=False,
        )
    except OSError as error:
        raise RuntimeError(f"{what} failed: {error}") from None
    if done.returncode == 0:
        return done.stdout
    # Shortened since pip, for one, lists all versions there are when it cannot find one.
    line = textwrap.shorten(_telling_line(done.stdout), 200, placeholder=" ...")
    message = f"{what} failed: {line or f'exit code {done.returncode}'}"
    if logs is not None:
        log = logs / "failed.log"
        log.write_text(f"{shlex.join(command)}\n{done.stdout}", encoding="utf-8")
        message += f" (all of its output: {log})"
    raise RuntimeError(message)


def _telling_line(output: str) -> str:
    """Return the first line that speaks of an error, else the last line that says anything."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if re.search(r"\berror\b", line, re.IGNORECASE):
            # cmake says where on one line, and what on the next.
            return " ".join(lines[number : number + 2]) if line.endswith(":") else line
    return lines[-1] if lines else ""

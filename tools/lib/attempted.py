"""Run attempts in a forked child and judge each: refused, ok, failed, or a fault.

Knows what is wrong with an outcome: a traceback, "a fault of edgebench", a code that is none of the
command's, a death, too long, too much memory. Knows no kind of input.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import resource
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Literal

from lib.attempts import Attempt, Materials, attempt
from lib.real_workers import in_place_of_workers, peak_bytes, run_command, waited_s
from lib.replayed import Replay

LONGEST_S = 10.0
LARGEST_BYTES = 1 << 30
KILLED_AFTER_S = 120.0  # by the clock, however busy the machine is
ADDRESS_SPACE = 8 << 30  # of the child, so that a leak ends it and not this machine
REFUSED, DECIDED = (2, 3, 4, 7), (0, 5, 6)
FAULT = "this is a fault of edgebench"
TRACEBACK = "Traceback (most recent call last)"

Kind = Literal["refused", "ok", "failed", "fault"]


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt; `words` are the last that were said."""

    index: int
    kind: Kind
    seconds: float
    peak_bytes: int
    words: str = ""
    fault: str = ""


def judged(code: int, words: str, seconds: float, peak_bytes: int) -> tuple[Kind, str]:
    """Return what an exit code and the words beside it are, and what is wrong with them."""
    if FAULT in words or TRACEBACK in words:
        return "fault", "traceback" if TRACEBACK in words else "fault"
    if code not in (*REFUSED, *DECIDED, 1):
        return "fault", f"exit code {code}"
    if seconds > LONGEST_S:
        return "fault", f"{seconds:.0f} s"
    if peak_bytes > LARGEST_BYTES:
        return "fault", f"{peak_bytes / 2**20:.0f} MiB"
    if code in REFUSED:
        return "refused", ""
    return ("ok", "") if code in DECIDED else ("failed", "")


class Child:
    """A forked process that makes attempts one by one, in a folder of its own."""

    def __init__(self, kind: str, seed: int, materials: Materials, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        asked, self._asks = os.pipe()
        self._hears, told = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._asks)
            os.close(self._hears)
            _be_child(kind, seed, materials, folder, os.fdopen(asked), os.fdopen(told, "w"))
        os.close(asked)
        os.close(told)

    @property
    def mutant(self) -> Path:
        """Where the last attempt's input lies."""
        return self._folder / "mutant"

    def attempt(self, index: int) -> Outcome:
        """Let it make an attempt; a child that dies or never answers is a fault and is gone."""
        begin = time.monotonic()
        os.write(self._asks, f"{index}\n".encode())
        line = b""
        while not line.endswith(b"\n"):
            left = begin + KILLED_AFTER_S - time.monotonic()
            if left <= 0 or not select.select([self._hears], [], [], left)[0]:
                return self._gone(index, f"no end after {KILLED_AFTER_S:.0f} s")
            piece = os.read(self._hears, 1 << 16)
            if not piece:
                return self._gone(index, "")
            line += piece
        return Outcome(**json.loads(line))

    def close(self) -> None:
        """Let it end."""
        if self._pid:
            os.close(self._asks)
            os.close(self._hears)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def _gone(self, index: int, why: str) -> Outcome:
        if why:
            os.kill(self._pid, signal.SIGKILL)
        _, status, usage = os.wait4(self._pid, 0)
        os.close(self._asks)
        os.close(self._hears)
        self._pid = 0
        said = why or f"died: {os.waitstatus_to_exitcode(status)}"
        log = (self._folder / "child.log").read_text("utf-8", "replace")[-4000:]
        return Outcome(index, "fault", KILLED_AFTER_S, usage.ru_maxrss * 1024, log, said)

    @property
    def lives(self) -> bool:
        """Whether it can make another attempt."""
        return self._pid != 0


def _be_child(
    kind: str, seed: int, materials: Materials, folder: Path, asked: IO[str], told: IO[str]
) -> None:
    """Answer until nothing more is asked, and end without the parent's own clean-up."""
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        log = os.open(folder / "child.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 2)  # what C libraries say
        os.dup2(log, 1)
        use_recorded_hello(materials)
        if kind != "devices":
            read_registry_once()
        for line in asked:
            outcome = _made(kind, seed, int(line), materials, folder / "mutant")
            told.write(json.dumps(asdict(outcome)) + "\n")
            told.flush()
        code = 0
    except Exception:  # noqa: BLE001 - nobody else would tell
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def use_recorded_hello(materials: Materials) -> None:
    """Let commands find a worker that only says hello, as one did while materials were made."""
    from edgebench.cli import places

    hello = materials.workers[0][:1]
    places.local_transport = lambda: Replay.of_workers([hello] * 9)


def read_registry_once() -> None:
    """Let commands have the installed registry as it was read first: that is most of their time."""
    from edgebench.plan import devices

    devices.load_registry = functools.cache(devices.load_registry)


def _made(kind: str, seed: int, index: int, materials: Materials, folder: Path) -> Outcome:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    made = attempt(kind, seed, index, folder, materials)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    code, words, seconds, peak = _timed(made)
    if seconds > LONGEST_S and made.is_alone:  # once more: the disk may have been busy
        code, words, again_s, peak = _timed(made)
        seconds = min(seconds, again_s)
    verdict, why = judged(code, words, seconds if made.is_alone else 0.0, peak)
    if why == "fault":
        words = command(made, "--debug")[1]
    return Outcome(index, verdict, seconds, peak, words[-4000:], why)


def _timed(made: Attempt) -> tuple[int, str, float, int]:
    """Return the code and words of an attempt, its seconds and its largest memory.

    What other programs took of its time on a busy machine does not count.
    """
    begin = time.monotonic() - waited_s()
    if made.call:
        code, words = _called(made)
    elif made.in_process:
        code, words = command(made)
    else:
        code, words, peak = run_command(made.command)
        return code, words, time.monotonic() - waited_s() - begin, peak
    return code, words, time.monotonic() - waited_s() - begin, peak_bytes()


def _called(made: Attempt) -> tuple[int, str]:
    if made.call is None:
        raise ValueError("nothing to call")
    try:
        return (0 if made.call() else 4), ""
    except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
        return 1, traceback.format_exc()


def command(made: Attempt, *more: str) -> tuple[int, str]:
    """Run a command in this process; return its code and what it said on stderr."""
    from edgebench import cli
    from edgebench.cli import places

    shown = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    usual = places.local_transport
    if made.workers is not None:
        replay = Replay.of_workers(made.workers)
        places.local_transport = lambda: replay
    try:
        with contextlib.ExitStack() as stack:
            if made.program:
                programs = stack.enter_context(in_place_of_workers(made.program))
                places.local_transport = lambda: programs
            stack.enter_context(contextlib.redirect_stdout(shown))
            stack.enter_context(contextlib.redirect_stderr(said))
            code = cli.run((*more, *made.command))
    except BaseException:  # noqa: BLE001 - a SystemExit past `run` is a fault as well
        code = -1
        said.write(traceback.format_exc())
    finally:
        places.local_transport = usual
    texts = []
    for stream in (shown, said):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8", "replace"))  # type: ignore[attr-defined]
    if "--json" in made.command and code == 0:
        json.loads(texts[0])
    return code, texts[1]


def outcomes(
    kind: str, seed: int, indices: Sequence[int], materials: Materials, folder: Path
) -> Iterator[tuple[Outcome, Path]]:
    """Make attempts, in a new child after each that is gone; yield what became of each."""
    child = None
    try:
        for index in indices:
            if child is None or not child.lives:
                sys.stdout.flush()
                child = Child(kind, seed, materials, folder)
            yield child.attempt(index), child.mutant
    finally:
        if child and child.lives:
            child.close()

"""The process on the device: requests as JSON lines on stdin, replies on stdout, the log on stderr.

Serves one artifact and then ends. Knows how to open, measure, score and close; does not plan,
store or compare. Run as `python -m edgebench.worker.server`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import BinaryIO

from edgebench.device.conditions import snapshot
from edgebench.device.meters import find_meters
from edgebench.device.meters.nvml import process_vram_bytes
from edgebench.device.sampler import Sampler, find_pace
from edgebench.device.system import available_bytes, process_memory
from edgebench.errors import EdgebenchError, OutOfMemoryError, UnsupportedError
from edgebench.records.base import Record
from edgebench.records.messages import (
    AnyRequest,
    Close,
    CompareText,
    DivergenceResult,
    Failed,
    Open,
    Opened,
    Progress,
    ProtocolError,
    ScoreResult,
    ScoreTask,
    SpeedResult,
    SpeedTest,
    read_request,
    write,
)
from edgebench.records.run import RunError, Status
from edgebench.records.speed import Memory
from edgebench.worker.measure import rest, run_trials, warm_up
from edgebench.worker.runtimes import Room, Session, get_runtime


class Server:
    """Answers requests about one session."""

    def __init__(self, replies: BinaryIO) -> None:
        self._replies = replies
        self._session: Session | None = None
        self._folder = Path()
        self._free_at_start = available_bytes()
        self._no_energy: str | None = None
        self._sampler = Sampler((), ())

    def say(self, message: Record) -> None:
        """Write one reply line and flush it."""
        self._replies.write(write(message))
        self._replies.flush()

    def answer(self, request: AnyRequest) -> bool:
        """Answer one request; return False after the last one."""
        if isinstance(request, Close):
            if self._session:
                self._session.close()
            return False
        try:
            self.say(self._result(request))
        except (MemoryError, OutOfMemoryError) as error:
            self.say(_failed("oom", error))
        except UnsupportedError as error:
            self.say(_failed("unsupported", error))
        except EdgebenchError as error:
            self.say(_failed("failed", error))
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises fails this case alone
            traceback.print_exc()
            self.say(_failed("failed", error))
        return True

    def _result(self, request: Open | SpeedTest | ScoreTask | CompareText) -> Record:
        if isinstance(request, Open):
            return self._open(request)
        if self._session is None:
            raise ProtocolError("nothing is open yet")
        if isinstance(request, SpeedTest):
            return self._speed(self._session, request)
        if isinstance(request, ScoreTask):
            return self._score(self._session, request)
        return self._compare(self._session, request)

    def _open(self, request: Open) -> Opened:
        before = snapshot()
        start = time.perf_counter_ns()
        room = Room(request.context, request.sequences)
        session = get_runtime(request.runtime).open(request.artifact, request.settings, room)
        self._session = session
        meters, self._no_energy = find_meters(request.meters)
        self._sampler = Sampler(meters, [find_pace(meter) for meter in meters])
        self._folder = Path(request.artifact.path).parent
        return Opened(
            runtime=session.info,
            warnings=session.warnings,
            load_s=(time.perf_counter_ns() - start) / 1e9,
            weights_bytes=session.weights_bytes,
            kv_cache_bytes=session.kv_cache_bytes,
            before=before,
        )

    def _speed(self, session: Session, request: SpeedTest) -> SpeedResult:
        rounds = warm_up(session, request.workload) if request.warm_up else 0
        trials = run_trials(
            session, request.workload, request.repetitions, self._sampler, self._progress
        )
        if request.idle:
            rest(self._sampler)
        return SpeedResult(
            trials=trials,
            warm_up_rounds=rounds,
            memory=self._memory(session),
            after=snapshot(),
            timelines=self._sampler.take(),
            energy_reason=self._no_energy,
        )

    def _score(self, session: Session, request: ScoreTask) -> ScoreResult:
        from edgebench.worker.score import generate, likelihood
        from edgebench.worker.score.chat import Prompts, template_of
        from edgebench.worker.score.text import SharedText

        task = request.task
        text = SharedText(session, self._folder, session.vocabulary)
        prompts = Prompts(text, template_of(session.chat_template(), task.chat))
        answer = generate.answer if task.items[0].answers else likelihood.answer
        items, skipped = answer(session, task, prompts, self._progress)
        return ScoreResult(
            items=tuple(items),
            skipped=tuple(skipped),
            memory=self._memory(session),
            after=snapshot(),
            warnings=text.warnings(),
        )

    def _compare(self, session: Session, request: CompareText) -> DivergenceResult:
        from edgebench.worker.score.compare_text import compare_text
        from edgebench.worker.score.text import SharedText

        text = SharedText(session, self._folder, session.vocabulary)
        return DivergenceResult(
            divergence=compare_text(session, text, request, self._progress),
            memory=self._memory(session),
            after=snapshot(),
            warnings=text.warnings(),
        )

    def _memory(self, session: Session) -> Memory:
        return process_memory().model_copy(
            update={
                "weights_bytes": session.weights_bytes,
                "kv_cache_bytes": session.kv_cache_bytes,
                "vram_bytes": process_vram_bytes() if session.info.provider != "cpu" else None,
                "system_delta_bytes": self._free_at_start - available_bytes(),
            }
        )

    def _progress(self, done: int, total: int) -> None:
        self.say(Progress(done=done, total=total))


def main() -> int:
    """Answer requests until `close` or the end of stdin."""
    # A library that prints to stdout must not break the protocol: it gets stderr.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _prepare_process()
    server = Server(replies)
    for line in sys.stdin.buffer:
        try:
            request = read_request(line)
        except ProtocolError as error:
            server.say(_failed("failed", error))
            continue
        if not server.answer(request):
            return 0
    return 0


def _prepare_process() -> None:
    """Let the kernel take this process first when memory ends, and end it with its parent."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        sys.stderr.write("can't raise oom_score_adj\n")
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means


def _failed(status: Status, error: BaseException) -> Failed:
    hint = error.hint if isinstance(error, EdgebenchError) else ""
    message = str(error) or type(error).__name__
    return Failed(
        status=status,
        error=RunError(type=type(error).__name__, message=message[:5000], hint=hint),
    )


if __name__ == "__main__":
    sys.exit(main())

"""Answers requests about one artifact: open it, measure it, let it answer, compare it with a text.

Knows which part of the worker answers which request, and how a failure becomes a reply. Knows no
pipe: replies go to whoever gave `say`. Does not plan, store or compare runs.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from edgebench.device.affinity import check_pin, pin
from edgebench.device.conditions import snapshot
from edgebench.device.identity import hello
from edgebench.device.meters import find_meters
from edgebench.device.meters.nvml import process_vram_bytes
from edgebench.device.sampler import Sampler, find_pace
from edgebench.device.system import available_bytes, process_memory
from edgebench.errors import EdgebenchError, OutOfMemoryError, UnsupportedError
from edgebench.records.device import Snapshot
from edgebench.records.messages import (
    AnyReply,
    AnyRequest,
    Calibrate,
    Calibrated,
    Check,
    Checks,
    Close,
    CompareText,
    DivergenceResult,
    Failed,
    Generate,
    MeasureSpeed,
    Open,
    Opened,
    Preflight,
    ProbeMeters,
    Progress,
    ProtocolError,
    Result,
    ScoreResult,
    ScoreSpans,
    ScoreTask,
    SpeedResult,
    Tokenize,
    Vocabulary,
)
from edgebench.records.run import RunError, Status
from edgebench.records.speed import Memory
from edgebench.worker.measure import measure_speed
from edgebench.worker.runtimes import Room, Session, Tokens, get_runtime

Say = Callable[[AnyReply], None]
Of = TypeVar("Of")


class Server:
    """Answers requests about one session; says who it is before it is asked."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._session: Session | None = None
        self._folder = Path()
        self._free_before_open = available_bytes()
        self._no_energy: str | None = None
        self._sampler = Sampler((), ())
        say(hello())

    def answer(self, request: AnyRequest) -> bool:
        """Answer one request; return False after the last one."""
        if isinstance(request, Close):
            self.close()
            return False
        try:
            self._say(self._result(request))
        except (MemoryError, OutOfMemoryError) as error:
            self._say(failed("oom", error))
        except UnsupportedError as error:
            self._say(failed("unsupported", error))
        except EdgebenchError as error:
            self._say(failed("failed", error))
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises fails this case alone
            traceback.print_exc()
            self._say(failed("failed", error))
        return True

    def close(self) -> None:
        """Let the meters and the session go."""
        self._sampler.close()
        if self._session:
            self._session.close()
            self._session = None

    def _result(self, request: AnyRequest) -> Result:
        if isinstance(request, Open):
            return self._open(request)
        if isinstance(request, Preflight):
            from edgebench.device.preflight import preflight

            return Checks(checks=tuple(preflight(request.entry)))
        if isinstance(request, ProbeMeters):
            return Checks(checks=tuple(_probed(meter) for meter in request.meters))
        if isinstance(request, Calibrate):
            return self._calibrate(request)
        if self._session is None:
            raise ProtocolError("nothing is open yet")
        if isinstance(request, MeasureSpeed):
            return self._speed(self._session, request)
        if isinstance(request, ScoreTask):
            return self._score(self._session, request)
        if isinstance(request, CompareText):
            return self._compare(self._session, request)
        if isinstance(request, Tokenize | ScoreSpans | Generate):
            return self._serve(self._session, request)
        raise ProtocolError(f"a request of kind {request.request!r} can't be answered here")

    def _calibrate(self, request: Calibrate) -> Calibrated:
        from edgebench.device.calibrate import record_pairs

        references, why = find_meters((request.reference,))
        if not references:
            raise EdgebenchError(why or "the reference meter gave nothing")
        sensors, why = find_meters()
        if not sensors:
            references[0].close()
            raise EdgebenchError(f"there is no sensor here to calibrate: {why}")
        return Calibrated(timelines=record_pairs(references[0], sensors, self._progress))

    def _open(self, request: Open) -> Opened:
        before = spared(snapshot, Snapshot())
        self._free_before_open = available_bytes()
        start = time.perf_counter_ns()
        room = Room(request.context, request.sequences)
        pin(request.settings.cores)
        session = get_runtime(request.runtime).open(request.artifact, request.settings, room)
        check_pin(request.settings.cores)
        load_s = (time.perf_counter_ns() - start) / 1e9  # the loading alone, without the meters
        self._session = session
        self._open_meters(request.meters)
        self._folder = Path(request.artifact.path).parent
        return Opened(
            runtime=session.info,
            warnings=session.warnings,
            load_s=load_s,
            vocabulary=_vocabulary(session),
            before=before,
        )

    def _open_meters(self, wanted: Sequence[str]) -> None:
        """Begin to know the meters' paces; a fault there costs the energy and not the case."""
        meters, self._no_energy = find_meters(wanted)
        try:
            self._sampler = Sampler(meters, [find_pace(meter) for meter in meters])
        except Exception as error:  # noqa: BLE001 - whatever a meter's file or program gives
            traceback.print_exc()
            self._no_energy = f"the meters could not be read ({type(error).__name__})"
            for meter in meters:
                with contextlib.suppress(Exception):
                    meter.close()

    def _speed(self, session: Session, request: MeasureSpeed) -> SpeedResult:
        measured = measure_speed(session, request.workload, self._sampler, self._progress)
        timelines = spared(self._sampler.take, None)
        return SpeedResult(
            trials=measured.trials,
            warm_up_rounds=measured.warm_up.rounds,
            settled=measured.warm_up.settled,
            memory=spared(lambda: self._memory(session), Memory()),
            loaded=measured.loaded,
            after=spared(snapshot, Snapshot()),
            foreign_cpu=measured.foreign_cpu,
            timelines=timelines or (),
            energy_reason="the readings make no timeline" if timelines is None else self._no_energy,
            at_s=measured.at_s,
            course=measured.course,
            timing=measured.timing,
        )

    def _score(self, session: Session, request: ScoreTask) -> ScoreResult:
        from edgebench.worker.score import generate, likelihood
        from edgebench.worker.score.chat import Prompts, template_of
        from edgebench.worker.score.text import SharedText

        task = request.task
        text = SharedText(session, self._folder, session.vocabulary)
        prompts = Prompts(text, template_of(session.chat_template(), task.chat))
        answer = generate.answer if task.generates else likelihood.answer
        items, skipped = answer(session, task, prompts, self._progress)
        return ScoreResult(
            items=tuple(items),
            skipped=tuple(skipped),
            memory=spared(lambda: self._memory(session), Memory()),
            after=spared(snapshot, Snapshot()),
            warnings=text.warnings(),
        )

    def _compare(self, session: Session, request: CompareText) -> DivergenceResult:
        from edgebench.worker.score.compare_text import compare_text
        from edgebench.worker.score.text import SharedText

        text = SharedText(session, self._folder, session.vocabulary)
        return DivergenceResult(
            divergence=compare_text(session, text, request, self._progress),
            memory=spared(lambda: self._memory(session), Memory()),
            after=spared(snapshot, Snapshot()),
            warnings=text.warnings(),
        )

    def _serve(self, session: Session, request: Tokenize | ScoreSpans | Generate) -> Result:
        from edgebench.worker.score import requests

        if isinstance(request, Tokenize):
            return requests.answer_tokenize(session, request)
        if isinstance(request, ScoreSpans):
            return requests.answer_spans(session, request)
        return requests.answer_generate(session, request, self._progress)

    def _memory(self, session: Session) -> Memory:
        return Memory(
            **process_memory().model_dump(exclude_none=True),
            weights_bytes=session.weights_bytes,
            kv_cache_bytes=session.kv_cache_bytes,
            vram_bytes=process_vram_bytes() if session.info.provider != "cpu" else None,
            system_delta_bytes=self._free_before_open - available_bytes(),
        )

    def _progress(self, done: int, total: int) -> None:
        self._say(Progress(done=done, total=total))


def spared(compute: Callable[[], Of], otherwise: Of) -> Of:
    """Return what is read beside a measurement; where that fails `otherwise`, for it was made."""
    try:
        return compute()
    except Exception:  # noqa: BLE001 - the trials and the answers are there
        traceback.print_exc()
        return otherwise


def _vocabulary(tokens: Tokens) -> Vocabulary:
    return Vocabulary(
        size=tokens.vocabulary,
        start_token=tokens.start_token(),
        prefix_token=tokens.prefix_token(),
        chat_template=tokens.chat_template(),
    )


def _probed(name: str) -> Check:
    meters, why = find_meters((name,))
    for meter in meters:
        meter.close()
    status: Literal["ok", "failure"] = "ok" if meters else "failure"
    return Check(name=name, status=status, message=why or "")


def failed(status: Status, error: BaseException) -> Failed:
    """Return the reply that a request came to nothing."""
    hint = error.hint if isinstance(error, EdgebenchError) else ""
    message = str(error) or type(error).__name__
    return Failed(
        status=status,
        error=RunError(type=type(error).__name__, message=message[:5000], hint=hint[:5000]),
    )

"""What a parent and its worker say to each other: one JSON object a line.

Knows the requests, the replies and how a line is read. A reply comes from another process,
perhaps from another machine: it is validated here before anyone believes it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from edgebench.errors import EdgebenchError
from edgebench.records.accuracy import Divergence, ItemResult, Skip
from edgebench.records.artifact import Artifact
from edgebench.records.base import Amount, Count, LongText, Positive, Record, Text, Told
from edgebench.records.device import DeviceEntry, DeviceInfo, RuntimeInfo, Snapshot
from edgebench.records.energy import Timeline
from edgebench.records.faults import first_fault
from edgebench.records.json_text import read_values, shortened
from edgebench.records.run import RunError, Status
from edgebench.records.settings import Settings, Workload
from edgebench.records.spans import ChatTemplate, Score, Span
from edgebench.records.speed import Memory, Moment
from edgebench.records.task import Generation, Task, TextTask
from edgebench.records.timing import Timing

MAX_LINE_BYTES = 64 * 1024 * 1024

Tokens = tuple[Count, ...]


class Open(Record):
    """Load an artifact; `context` is the KV cells wanted, `sequences` how many may share them."""

    request: Literal["open"] = "open"
    runtime: Text
    artifact: Artifact
    settings: Settings
    context: Count
    sequences: Count = 1
    meters: tuple[Text, ...] = ("auto",)


class MeasureSpeed(Record):
    """Warm up, measure idle power where there is a meter, and run the workload's repetitions."""

    request: Literal["speed"] = "speed"
    workload: Workload


class ScoreTask(Record):
    """Answer the items of a task."""

    request: Literal["score"] = "score"
    task: Task


class CompareText(Record):
    """Compare next-token distributions over a text with the reference's kept under `key`.

    Where `make` is true this artifact is the reference, and its distributions are kept.
    """

    request: Literal["divergence"] = "divergence"
    task: TextTask
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{16,64}$")]
    reference: Text
    reference_sha256: Text
    make: bool


class Preflight(Record):
    """Check that this machine is ready to be measured as the device `entry`."""

    request: Literal["preflight"] = "preflight"
    entry: DeviceEntry


class Tokenize(Record):
    """Turn texts into the artifact's tokens; special ones count as such where `special` is true."""

    request: Literal["tokenize"] = "tokenize"
    texts: tuple[Annotated[str, Field(max_length=16_000_000)], ...]
    special: bool = False


class ScoreSpans(Record):
    """Give the likelihood of each span of tokens."""

    request: Literal["spans"] = "spans"
    spans: tuple[Span, ...]


class Generate(Record):
    """Say greedily what follows each prompt; prompts with a common beginning stand together."""

    request: Literal["generate"] = "generate"
    prompts: tuple[Tokens, ...]
    generation: Generation


class ProbeMeters(Record):
    """Say whether each of these meters gives readings here."""

    request: Literal["meters"] = "meters"
    meters: tuple[Text, ...]


class Calibrate(Record):
    """Read a reference meter beside the machine's own sensors, at several levels of load."""

    request: Literal["calibrate"] = "calibrate"
    reference: Text = Field(description="a meter, as --meter names it")


class Close(Record):
    """Free the session and end the process."""

    request: Literal["close"] = "close"


AnyRequest = (
    Open
    | MeasureSpeed
    | ScoreTask
    | CompareText
    | Preflight
    | ProbeMeters
    | Calibrate
    | Tokenize
    | ScoreSpans
    | Generate
    | Close
)
Request = Annotated[AnyRequest, Field(discriminator="request")]


class Hello(Record):
    """The worker's first reply, before it is asked: all that the host knows of the machine."""

    reply: Literal["hello"] = "hello"
    edgebench: Text = Field(description="the version of edgebench that the worker is of")
    device: DeviceInfo = Field(description="without a name: the host's registry gives it")
    compute_cores: Count = Field(description="physical ones, or the big ones where they differ")
    logical_cores: Count
    clusters: tuple[Text, ...] = Field(default=(), description="cores of each speed: 4-7, 0-3")
    free_bytes: Count
    nvidia: bool = Field(description="whether an NVIDIA driver is loaded")
    runtimes: dict[Text, Text] = Field(description="installed runtime -> its package's version")
    conditions: Snapshot


class Vocabulary(Record):
    """What makes prompts of a model: its first tokens and its chat template."""

    size: Count
    start_token: Count | None = Field(description="wanted before any text")
    prefix_token: Count | None = Field(description="stands before a text that has no context")
    chat_template: ChatTemplate | None


class Opened(Record):
    """The session is ready."""

    reply: Literal["opened"] = "opened"
    runtime: RuntimeInfo
    warnings: tuple[Told, ...] = ()
    load_s: Amount
    vocabulary: Vocabulary
    before: Snapshot


class Trial(Record):
    """One repetition: seconds of each phase, and of each generated token."""

    prefill_s: Positive
    ttft_s: Positive
    decode_s: Positive
    token_s: Annotated[tuple[Positive, ...], Field(min_length=1)]


class SpeedResult(Record):
    """A launch's repetitions of a workload, and the memory and conditions around them."""

    reply: Literal["speed"] = "speed"
    trials: Annotated[tuple[Trial, ...], Field(min_length=1)]
    warm_up_rounds: Count
    settled: bool
    memory: Memory
    loaded: Snapshot
    after: Snapshot
    foreign_cpu: Amount | None
    timelines: tuple[Timeline, ...] = ()
    energy_reason: Told | None = None
    at_s: tuple[Amount, ...] = Field(
        default=(), description="of a sustained workload: when each trial began"
    )
    course: tuple[Moment, ...] = ()
    timing: Timing = Timing()


class ScoreResult(Record):
    """The items' answers, and the memory and condition after them."""

    reply: Literal["score"] = "score"
    items: tuple[ItemResult, ...]
    skipped: tuple[Skip, ...] = ()
    warnings: tuple[Told, ...] = ()
    memory: Memory
    after: Snapshot


class DivergenceResult(Record):
    """How far from the reference the artifact is; None where the reference is not kept here."""

    reply: Literal["divergence"] = "divergence"
    divergence: Divergence | None
    warnings: tuple[Told, ...] = ()
    memory: Memory
    after: Snapshot


class TokenizeResult(Record):
    """Each text's tokens, in order."""

    reply: Literal["tokenize"] = "tokenize"
    tokens: tuple[Tokens, ...]


class SpansResult(Record):
    """Each span's score, in order."""

    reply: Literal["spans"] = "spans"
    scores: tuple[Score, ...]


class GenerateResult(Record):
    """What was said after each prompt, in order."""

    reply: Literal["generate"] = "generate"
    texts: tuple[LongText, ...]


class Check(Record):
    """One line of the preflight."""

    name: Text
    status: Literal["ok", "warning", "failure"]
    message: Told
    hint: Told = ""


class Checks(Record):
    """The preflight's lines."""

    reply: Literal["preflight"] = "preflight"
    checks: tuple[Check, ...]


class Calibrated(Record):
    """What the meters gave, the reference's readings first."""

    reply: Literal["calibrated"] = "calibrated"
    timelines: tuple[Timeline, ...]


class Progress(Record):
    """A sign of life inside a long request."""

    reply: Literal["progress"] = "progress"
    done: Count
    total: Count


class Failed(Record):
    """The request failed; the worker lives on."""

    reply: Literal["failed"] = "failed"
    status: Status
    error: RunError


Result = (
    Hello
    | Opened
    | SpeedResult
    | ScoreResult
    | DivergenceResult
    | Checks
    | Calibrated
    | TokenizeResult
    | SpansResult
    | GenerateResult
)
AnyReply = Result | Progress | Failed
Reply = Annotated[AnyReply, Field(discriminator="reply")]

_REQUEST: TypeAdapter[AnyRequest] = TypeAdapter(Request)
_REPLY: TypeAdapter[AnyReply] = TypeAdapter(Reply)


class ProtocolError(EdgebenchError):
    """The other side said something that isn't a message."""


def read_request(line: bytes) -> AnyRequest:
    """Parse one request line; raise ProtocolError where it is none."""
    try:
        return _REQUEST.validate_python(read_values(line))
    except ValidationError as error:
        raise ProtocolError(f"the request isn't a message: {first_fault(error)}") from None
    except ValueError as error:
        raise ProtocolError(f"the request isn't a message: {shortened(error)}") from None


def read_reply(line: bytes) -> AnyReply:
    """Parse one reply line; raise ProtocolError where it is none."""
    try:
        return _REPLY.validate_python(read_values(line))
    except ValidationError as error:
        raise ProtocolError(f"the reply isn't a message: {first_fault(error)}") from None
    except ValueError as error:
        raise ProtocolError(f"the reply isn't a message: {shortened(error)}") from None


def write(message: Record) -> bytes:
    """Return a message as one line."""
    return message.model_dump_json().encode() + b"\n"

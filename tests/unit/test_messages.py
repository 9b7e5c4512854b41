"""The worker's protocol: lines of JSON, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import make_artifact, make_workload

from edgebench.records.device import DeviceEntry
from edgebench.records.messages import (
    AnyRequest,
    Close,
    CompareText,
    Failed,
    Generate,
    Hello,
    MeasureSpeed,
    Open,
    Preflight,
    Progress,
    ProtocolError,
    ScoreSpans,
    ScoreTask,
    Tokenize,
    read_reply,
    read_request,
    write,
)
from edgebench.records.run import RunError
from edgebench.records.settings import Settings
from edgebench.records.spans import Span
from edgebench.records.task import Generation, Task, TextTask
from edgebench.tasks.load import load_task


def requests() -> dict[str, AnyRequest]:
    """Return one request of each kind."""
    items, text = load_task("basics"), load_task("divergence")
    assert isinstance(items, Task)
    assert isinstance(text, TextTask)
    artifact = make_artifact(name="ünï\n<b>")
    return {
        "open": Open(
            runtime="fake", artifact=artifact, settings=Settings(threads=2), context=64
        ),
        "speed": MeasureSpeed(workload=make_workload()),
        "score": ScoreTask(task=items),
        "divergence": CompareText(
            task=text, key="0" * 32, reference="f16", reference_sha256="sha", make=True
        ),
        "preflight": Preflight(entry=DeviceEntry(kind="cpu")),
        "tokenize": Tokenize(texts=("a\nb", "\u2028"), special=True),
        "spans": ScoreSpans(spans=(Span((1, 2, 3), 1),)),
        "generate": Generate(prompts=((1, 2),), generation=Generation()),
        "close": Close(),
    }  # fmt: skip


@pytest.mark.parametrize("kind", requests())
def test_requests_come_back_as_they_went(kind: str) -> None:
    """One line, whatever the names hold."""
    request = requests()[kind]
    line = write(request)
    assert line.count(b"\n") == 1
    assert read_request(line) == request
    assert request.request == kind


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.text(max_size=200))
def test_replies_come_back_as_they_went(done: int, total: int, message: str) -> None:
    """Progress and failures with any text."""
    for reply in (
        Progress(done=done, total=total),
        Failed(status="failed", error=RunError(type="X", message=message)),
    ):
        line = write(reply)
        assert line.count(b"\n") == 1
        assert read_reply(line) == reply


def test_hello_names_no_device() -> None:
    """The host's registry gives the name; a worker that hides its machine is no fault."""
    line = (
        b'{"reply": "hello", "edgebench": "0.2", "device": {"cpu": "a processor"}, '
        b'"compute_cores": 2, "logical_cores": 4, "free_bytes": 1, "nvidia": false, '
        b'"runtimes": {"fake": "1"}, "conditions": {}}'
    )
    hello = read_reply(line)
    assert isinstance(hello, Hello)
    assert (hello.device.name, hello.device.machine) == ("", None)


@given(st.binary(max_size=200))
def test_any_other_line_is_a_protocol_error(line: bytes) -> None:
    """Bytes of any kind are refused on both sides."""
    with pytest.raises(ProtocolError):
        read_request(line)
    with pytest.raises(ProtocolError):
        read_reply(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"request": "speed", "workload": {"name": "x", "prompt_tokens": -1}}',
        b'{"request": "divergence", "key": "../../etc"}',
        b'{"reply": "progress", "done": -1, "total": 2}',
        b'{"reply": "fly"}',
        b'{"reply": "failed", "status": "great", "error": {"type": "", "message": ""}}',
        b'{"reply": "hello", "edgebench": "0.2"}',
        b"[" * 100_000,
    ],
)
def test_wrong_values_are_refused(line: bytes) -> None:
    """Negative counts, paths for keys, unknown kinds and states, endless nesting."""
    for read in (read_request, read_reply):
        with pytest.raises(ProtocolError, match="isn't a message"):
            read(line)

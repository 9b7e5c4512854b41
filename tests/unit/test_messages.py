"""The worker's protocol: lines of JSON, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import make_artifact, make_workload

from edgebench.records.messages import (
    Close,
    Failed,
    Open,
    Progress,
    ProtocolError,
    SpeedTest,
    read_reply,
    read_request,
    write,
)
from edgebench.records.run import RunError
from edgebench.records.settings import Settings


@pytest.mark.parametrize(
    "request_",
    [
        Open(
            runtime="fake", artifact=make_artifact(name="ünï\n<b>"), settings=Settings(threads=2),
            context=64, sequences=1,
        ),
        SpeedTest(workload=make_workload(), repetitions=3, warm_up=True),
        Close(),
    ],
)  # fmt: skip
def test_requests_come_back_as_they_went(request_: Open | SpeedTest | Close) -> None:
    """One line, whatever the names hold."""
    line = write(request_)
    assert line.count(b"\n") == 1
    assert read_request(line) == request_


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.text(max_size=200))
def test_replies_come_back_as_they_went(done: int, total: int, text: str) -> None:
    """Progress and failures with any text."""
    for reply in (
        Progress(done=done, total=total),
        Failed(status="failed", error=RunError(type="X", message=text)),
    ):
        line = write(reply)
        assert line.count(b"\n") == 1
        assert read_reply(line) == reply


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
        b'{"reply": "progress", "done": -1, "total": 2}',
        b'{"reply": "fly"}',
        b'{"reply": "failed", "status": "great", "error": {"type": "", "message": ""}}',
        b"[" * 100_000,
    ],
)
def test_wrong_values_are_refused(line: bytes) -> None:
    """Negative counts, unknown kinds and states, endless nesting."""
    for read in (read_request, read_reply):
        with pytest.raises(ProtocolError, match="is no message"):
            read(line)

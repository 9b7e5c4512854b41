"""What the bridge to lm-eval asks a worker, over the worker's own lines of JSON."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest
from support.builders import make_artifact

from edgebench.errors import EdgebenchError
from edgebench.lm_eval.asking import AskedModel
from edgebench.records.messages import Generate, ScoreSpans
from edgebench.records.settings import Settings
from edgebench.records.spans import Span
from edgebench.records.task import Generation
from edgebench.run.transports.memory import MemoryTransport
from edgebench.worker.runtimes import Room
from edgebench.worker.runtimes.fake import FakeSession
from edgebench.worker.score.requests import answer_generate, answer_spans
from edgebench.worker.server import Say, Server


def opened(folder: Path, transport: MemoryTransport | None = None, **truth: Any) -> AskedModel:
    """Open a fake artifact in a worker."""
    path = folder / "truth.json"
    path.write_text(json.dumps(truth))
    artifact = make_artifact(path=str(path), format="fake")
    return AskedModel(transport or MemoryTransport(Server), artifact, Settings(), 512)


def test_tokens_scores_and_texts_are_the_sessions_own(tmp_path: Path) -> None:
    """What comes back over the wire is what a session gives here."""
    model = opened(tmp_path, says="yes", seed=3)
    session = FakeSession({"says": "yes", "seed": 3}, Settings(), Room(512))
    assert model.encode(["ab", "", "é"], False) == [(97, 98), (), (195, 169)]
    spans = [Span((1, 2, 3), 1), Span((1, 2, 4), 2)]
    assert list(model.score(spans)) == session.score(spans)
    told: list[tuple[int, int]] = []
    texts = model.generate([(5,), (5, 6)], Generation(), lambda *done: told.append(done))
    assert texts == ("yes", "yes")
    assert told == [(1, 2), (2, 2)]


def test_vocabulary_comes_with_the_opening(tmp_path: Path) -> None:
    """First tokens and the chat template are known before anything is asked."""
    found = opened(tmp_path, chat_template="{{ messages }}").vocabulary
    assert (found.size, found.start_token, found.prefix_token) == (256, None, 0)
    assert found.chat_template is not None
    assert found.chat_template.source == "{{ messages }}"


def test_many_texts_are_asked_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither their number nor their length makes a line too long; the order stays."""
    monkeypatch.setattr("edgebench.lm_eval.asking.TEXTS_A_REQUEST", 3)
    monkeypatch.setattr("edgebench.lm_eval.asking.CHARACTERS_A_REQUEST", 10)
    texts = [chr(97 + i) * (1 + 5 * (i % 3)) for i in range(11)]
    model = opened(tmp_path)
    assert [bytes(tokens).decode() for tokens in model.encode(texts, False)] == texts


def test_a_workers_failure_is_one_clear_error(tmp_path: Path) -> None:
    """Its words and its hint are kept."""
    with pytest.raises(EdgebenchError, match="the model refused") as caught:
        opened(tmp_path, fault="fail", fault_in="open")
    assert caught.value.hint == "ask it nicely"


def test_the_worker_ends_with_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is left when nobody asks any more."""
    closed: list[bool] = []
    servers: list[Server] = []

    def serve(say: Say) -> Server:
        servers.append(Server(say))
        return servers[-1]

    model = opened(tmp_path, MemoryTransport(serve))
    monkeypatch.setattr(servers[0], "close", lambda: closed.append(True))
    assert closed == []
    del model
    gc.collect()
    assert closed == [True]


@pytest.mark.parametrize(
    "span", [Span((1, 2), 0), Span((1, 2), 2), Span((), 1), Span((1, 256), 1), Span((1, 2), 9)]
)
def test_spans_that_are_none_are_refused(span: Span) -> None:
    """Before the runtime sees tokens that it doesn't have."""
    with pytest.raises(EdgebenchError, match=r"is scored|outside the vocabulary"):
        answer_spans(FakeSession({}, Settings(), Room(64)), ScoreSpans(spans=(span,)))


@pytest.mark.parametrize(("prompt", "said"), [((), "none"), ((1,) * 60, "longer"), ((300,), "out")])
def test_prompts_that_are_none_are_refused(prompt: tuple[int, ...], said: str) -> None:
    """Empty ones, long ones, and those of another vocabulary."""
    request = Generate(prompts=(prompt,), generation=Generation(max_tokens=10))
    with pytest.raises(EdgebenchError, match=said):
        answer_generate(FakeSession({}, Settings(), Room(64)), request, lambda *_: None)

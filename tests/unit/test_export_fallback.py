"""The fused graph gives way to the standard one where it disagrees with torch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgebench.convert.child import Done
from edgebench.convert.onnx import export
from edgebench.convert.onnx.check import DisagreementError
from edgebench.convert.onnx.export import LOG, Graph, OnnxExport
from edgebench.errors import BadFileError
from edgebench.sources.checkpoint import Checkpoint
from edgebench.sources.onnx_file import GRAPH

WRONG = DisagreementError("the ONNX export of there disagrees with torch: by up to 24.7")


class Steps:
    """Stand-ins for what runs in processes: a graph's file holds its kind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: dict[str, Exception]) -> None:
        self.failures, self.said = failures, list[str]()
        monkeypatch.setattr(export, "_build", self.build)
        monkeypatch.setattr(export, "check_logits", self.check)
        monkeypatch.setattr(
            export,
            "read_onnx",
            lambda path: SimpleNamespace(fused=path.read_text() == "fused"),
        )

    def build(self, job: OnnxExport, partial: Path) -> Done:
        """Write a graph, and beside it what only its tool writes."""
        kind = job.graph or "fused"
        (partial / GRAPH).write_text(kind)
        (partial / f"{kind}.json").write_text("")
        (partial / LOG).write_text("words")
        return Done(0, 1, "")

    def check(self, *given: Any) -> Any:
        """Fail as told for this kind of graph."""
        kind = (given[3] / GRAPH).read_text()
        if kind in self.failures:
            raise self.failures[kind]
        return kind

    def run(self, folder: Path, graph: Graph | None) -> tuple[Any, tuple[str, ...]]:
        """Build and check; return what was checked, and the notes."""
        checkpoint = Checkpoint(Path("there"), "LlamaForCausalLM", "float32", (), 512)
        job = OnnxExport(checkpoint, folder, graph=graph)
        _, check, notes = export._checked(job, folder, self.said.append)
        return check, notes


def test_fused_gives_way_with_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The standard graph is taken, nothing of the fused one stays, and both places say why."""
    steps = Steps(monkeypatch, {"fused": WRONG})
    check, notes = steps.run(tmp_path, None)
    assert check == "standard"
    assert {path.name for path in tmp_path.iterdir()} == {GRAPH, "standard.json", LOG}
    assert steps.said == [f"warning: {notes[0]}"]
    assert "24.7" in notes[0]
    assert "there" not in notes[0]


def test_agreement_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fused graph that agrees is taken."""
    steps = Steps(monkeypatch, {})
    assert steps.run(tmp_path, None) == ("fused", ())
    assert steps.said == []


@pytest.mark.parametrize(
    ("graph", "failures"),
    [
        ("fused", {"fused": WRONG}),
        ("standard", {"standard": WRONG}),
        (None, {"fused": WRONG, "standard": WRONG}),
        (None, {"fused": BadFileError("the reference's logits disagrees: failed")}),
    ],
)
def test_refusals_stay(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    graph: Graph | None,
    failures: dict[str, Exception],
) -> None:
    """What was typed isn't replaced; nor is another fault than disagreement made up for."""
    with pytest.raises(BadFileError, match="disagrees"):
        Steps(monkeypatch, failures).run(tmp_path, graph)

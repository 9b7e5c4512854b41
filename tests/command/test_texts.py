"""Divergence through the whole command: the reference reads first, and what it left is kept."""

from __future__ import annotations

import pytest
from support.shell import MakeFake, Shell
from support.task_files import write_task

TEXT = ("--workload", "none", "--tasks", "divergence")


def test_divergence_is_zero_of_the_same_and_grows_with_noise(
    edgebench: Shell, fakes: MakeFake
) -> None:
    """The reference has none of its own; every level reads its chunks; the table shows both."""
    fakes("f16", {"seed": 1}, bits_per_weight=16.0)
    fakes("q8_0", {"seed": 1, "other": "file"})
    fakes("q4_0", {"seed": 2})
    divergences = {level: run.divergence for level, run in edgebench.profile(*TEXT).items()}
    first, same, other = divergences["f16"], divergences["q8_0"], divergences["q4_0"]
    assert first is not None
    assert same is not None
    assert other is not None
    assert first.mean_kld is None
    assert same.mean_kld is not None
    assert other.mean_kld is not None
    assert same.same_top is not None
    assert abs(same.mean_kld.value) < 1e-3 < (other.mean_kld.low or 0)
    assert (same.same_top.value, same.reference, same.chunks) == (1.0, "tiny-f16", first.chunks)
    assert same.perplexity == pytest.approx(first.perplexity, rel=1e-4)
    table = edgebench("compare").stdout
    assert "KL divergence" in table
    assert "reference" in table
    kept = list((edgebench.cwd.parent / "home/cache/edgebench/divergence").iterdir())
    assert len(kept) == 1


def test_lost_reference_is_made_again_without_another_run(
    edgebench: Shell, fakes: MakeFake
) -> None:
    """With the cache gone, a new level still gets its divergence; damage counts as gone."""
    fakes("f16", {"seed": 1}, bits_per_weight=16.0)
    edgebench.profile(*TEXT)
    (kept,) = (edgebench.cwd.parent / "home/cache/edgebench/divergence").iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])
    fakes("q4_0", {"seed": 2})
    runs = edgebench.profile(*TEXT)
    assert [run.status for run in runs.values()] == ["ok", "ok"]
    divergence = runs["q4_0"].divergence
    assert divergence
    assert divergence.mean_kld
    assert divergence.mean_kld.value > 0
    assert [run.artifact.level for run in edgebench.stored()] == ["f16", "q4_0"]


def test_lost_reference_that_fails_now_is_named(edgebench: Shell, fakes: MakeFake) -> None:
    """The level's error says that its reference failed, and why."""
    fakes("f16", {"seed": 1, "fault": "fail", "fault_in": "score"}, bits_per_weight=16.0)
    fakes("q4_0", {"seed": 2})
    error = edgebench.profile(*TEXT, code=1)["q4_0"].error
    assert error
    assert error.message == "the reference tiny-f16 failed: the model refused"


def test_text_that_is_too_short_is_a_failed_case(edgebench: Shell, fakes: MakeFake) -> None:
    """Two chunks are the least; the message says so."""
    fakes("f16")
    write_task(edgebench.cwd, [{"id": "1", "text": "short"}], schema="text")
    run = edgebench.profile("--workload", "none", "--tasks", "quiz.yaml", code=1)["f16"]
    assert run.error
    assert "0 chunks of 512 tokens" in run.error.message

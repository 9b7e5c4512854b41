"""`edgebench check` through the whole command: verdicts, codes, JUnit, evidence, bad files."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.builders import (
    make_artifact,
    make_launch,
    make_run,
    make_speed,
    make_task_run,
    make_workload,
)
from support.shell import Shell, error_of

from edgebench.run.store import Store

DOCS = Path(__file__).parents[2] / "docs" / "commands.md"
CHAT = make_workload(name="chat", prompt_tokens=512, generate_tokens=128)
DEMANDS = """
device: cpu
artifact: any
constraints:
  max-accuracy-loss: 5%
workloads:
  chat:
    min-decode: 30tok/s
"""


@pytest.fixture
def stored(edgebench: Shell) -> Shell:
    """Store made up runs of two levels at chat and of one task."""
    store = Store(edgebench.cwd / "profiles", "cpu")
    store.prepare()
    right = [index % 3 > 0 for index in range(300)]
    for level, decode in (("f16", 20.0), ("q8_0", 40.0)):
        artifact = make_artifact(level=level, bits_per_weight=16.0 if level == "f16" else 8.5)
        told = [make_launch(f"round {i}", decode + i / 10, prefill=900.0) for i in range(5)]
        speed = make_speed(decode, launches=told)
        store.append(
            make_run(run_id=f"speed {level}", artifact=artifact, workload=CHAT, speed=speed)
        )
        store.append(make_task_run(right, run_id=f"task {level}", artifact=artifact))
    return edgebench


def write(shell: Shell, text: str) -> None:
    """Write contract.yaml."""
    (shell.cwd / "contract.yaml").write_text(text)


@pytest.mark.parametrize(
    ("least", "code", "verdict"),
    [("30tok/s", 0, "PASS"), ("90", 5, "FAIL"), ("40.1", 6, "INCONCLUSIVE")],
)
def test_each_verdict_has_a_code(stored: Shell, least: str, code: int, verdict: str) -> None:
    """0, 5 and 6; what is inconclusive has a command to type."""
    write(stored, DEMANDS.replace("30tok/s", least))
    done = stored("check", "contract.yaml")
    assert done.returncode == code, done.stderr
    assert done.stdout.startswith(verdict)
    assert ("To decide, type:" in done.stdout) == (code == 6)
    printed = stored.json("check", "contract.yaml", "--json", code=code)
    assert printed["verdict"] == verdict
    assert printed["artifact"] == ("tiny-q8_0" if code == 0 else None)


def test_junit_is_written_for_ci(stored: Shell) -> None:
    """A case for each demand, also where the contract fails."""
    write(stored, DEMANDS.replace("30tok/s", "90"))
    assert stored("check", "contract.yaml", "--junit", "out/check.xml").returncode == 5
    suite = ElementTree.parse(stored.cwd / "out" / "check.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("name"), suite.get("failures")) == ("contract", "1")


def test_evidence_can_be_verified_later(stored: Shell) -> None:
    """The folder alone gives the verdict again, without the runs that it was made of."""
    write(stored, DEMANDS)
    assert stored("check", "contract.yaml", "--evidence", "kept/today").returncode == 0
    folder = stored.cwd / "kept" / "today"
    names = {"contract.yaml", "runs.jsonl", "artifacts.json", "result.json", "manifest.json"}
    assert {path.name for path in folder.iterdir()} == names
    assert [path.name for path in folder.parent.iterdir()] == ["today"]
    (stored.cwd / "profiles").rename(stored.cwd / "elsewhere")
    done = stored("check", "--verify", "kept/today")
    assert done.returncode == 0, done.stderr
    assert "verified" in done.stderr
    again = stored("check", "contract.yaml", "elsewhere", "--evidence", "kept/today")
    assert again.returncode == 2
    assert "is there already" in error_of(again)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "runs.jsonl").write_text(""), "was changed"),
        (lambda folder: (folder / "result.json").unlink(), "is missing"),
        (lambda folder: (folder / "more.txt").write_text("x"), "added later"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "manifest.json"),
    ],
    ids=["changed", "missing", "added", "no manifest"],
)
def test_evidence_that_was_touched_is_refused(stored: Shell, change: object, said: str) -> None:
    """What is not as it was written is named, with exit code 4."""
    write(stored, DEMANDS)
    stored("check", "contract.yaml", "--evidence", "kept")
    change(stored.cwd / "kept")  # type: ignore[operator]
    done = stored("check", "--verify", "kept")
    assert done.returncode == 4
    assert said in error_of(done)


def test_a_false_verdict_does_not_verify(stored: Shell) -> None:
    """Sums that were made anew don't help: the runs give another verdict."""
    import hashlib

    write(stored, DEMANDS.replace("30tok/s", "90"))
    stored("check", "contract.yaml", "--evidence", "kept")
    folder = stored.cwd / "kept"
    forged = (folder / "result.json").read_text().replace('"FAIL"', '"PASS"')
    (folder / "result.json").write_text(forged)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["result.json"] = hashlib.sha256(forged.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = stored("check", "--verify", "kept")
    assert done.returncode == 4
    assert "its runs say FAIL" in error_of(done)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (DEMANDS.replace("min-decode", "min-decod"), 4, "line 8, workloads.chat.min-decod"),
        (DEMANDS.replace("30tok/s", "3 bananas"), 4, "line 8, workloads.chat.min-decode"),
        (DEMANDS.replace("5%", "5"), 4, "isn't a loss; write for example 1%"),
        (DEMANDS + "baseline: q2_k\n", 4, "line 9, baseline: no run of level 'q2_k'"),
        (DEMANDS.replace("any", "tiny-q8"), 4, "line 3, artifact: no run of 'tiny-q8'"),
        (DEMANDS.replace("device: cpu", "device: jetson"), 2, "no runs of device 'jetson'"),
        ("x: " + "y" * 2_000_000, 4, "has more than"),
    ],
)
def test_a_bad_contract_is_one_line(stored: Shell, text: str, code: int, said: str) -> None:
    """File, line and field, with the right code; nothing else is printed."""
    write(stored, text)
    done = stored("check", "contract.yaml")
    assert done.returncode == code
    assert said in error_of(done)
    assert done.stdout == ""


def test_what_is_no_file_is_refused(stored: Shell) -> None:
    """A FIFO isn't waited for, a folder isn't read, what is missing is said."""
    os.mkfifo(stored.cwd / "pipe.yaml")
    for name, code in (("pipe.yaml", 4), (".", 4), ("nowhere.yaml", 2)):
        done = stored("check", name)
        assert done.returncode == code
        assert name in error_of(done)
    assert stored("check").returncode == 2


def test_the_contract_of_the_manual_is_one(stored: Shell) -> None:
    """The example that docs/commands.md shows is held against runs, and every field is known."""
    (text,) = re.findall(r"```yaml\n(device: .*?)```", DOCS.read_text(), re.DOTALL)
    write(stored, text)
    done = stored("check", "contract.yaml")
    assert done.returncode in (0, 5, 6), done.stderr
    assert "min-decode" in done.stdout

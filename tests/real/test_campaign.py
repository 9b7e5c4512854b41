"""A short campaign of hostile input: every kind of file and message, a fixed seed, a minute."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parents[2] / "tools" / "campaign.py"


def test_short_campaign_meets_no_fault(tmp_path: Path) -> None:
    """No fault, no traceback, no death, nothing past 10 s or 1 GiB in the parent."""
    for package in ("gguf", "onnx", "llama_cpp"):
        pytest.importorskip(package)
    done = subprocess.run(
        [
            sys.executable,
            str(CAMPAIGN),
            "--seed",
            "1",
            "--share",
            "0.02",
            "--seconds",
            "40",
            "--save",
            str(tmp_path / "faults"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = {line.split("|")[1].strip() for line in done.stdout.splitlines() if line[:1] == "|"}
    assert {"gguf", "onnx", "store", "artifact", "task", "devices", "request", "reply"} <= kinds

"""The process that renders templates, and what becomes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil

BUSY = """
from edgebench.sources.templates import Renderer
loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
renderer = Renderer()
print(renderer.template("{% if 1 %}ready{% endif %}", "it")({}), flush=True)
renderer.template(loops, "it")({})
"""


def has_ended(process: psutil.Process) -> bool:
    """Return whether it is gone, or only waits to be counted by its new parent."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_renderer_ends_with_whoever_started_it() -> None:
    """Also where that one is killed while a template runs."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"ready\n"
        (child,) = psutil.Process(parent.pid).children()
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 2
    while not has_ended(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)

"""Replayed boards: a copy of a board's tree, its truth, and sensors that move a little.

A sensor that never changes counts as stuck, so a thread writes a board's power files anew, a little
up or down, and a Raspberry Pi's program answers a core current that differs each time. Totals stay
within 0.5 % of the board's truth.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BOARDS = Path(__file__).parents[1] / "boards"
NAMES = sorted(path.name for path in BOARDS.iterdir() if (path / "truth.json").is_file())
PERIOD_S = 0.01
PATTERNS = (
    "sys/bus/i2c/drivers/ina*/*/hwmon/hwmon*/curr[1-3]_input",
    "sys/bus/i2c/drivers/ina*/*/hwmon/hwmon*/power1_input",
    "sys/bus/i2c/drivers/ina3221x/*/iio:device*/in_power[0-2]_input",
    "sys/class/power_supply/BAT*/power_now",
)
PROGRAM = """#!/bin/sh
"{real}" "$@" | sed "s/5.03652000A/5.0365$(date +%N | cut -c1-4)A/"
"""


def copy_board(name: str, folder: Path) -> Path:
    """Copy a board's tree into a folder, so that a test may break it; return its root."""
    root = folder / "root"
    shutil.copytree(BOARDS / name, root)
    for program in (root / "usr/bin").glob("*"):
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return root


def truth_of(root: Path) -> dict[str, Any]:
    """Return what is known of a board."""
    truth: dict[str, Any] = json.loads((root / "truth.json").read_text())
    return truth


@contextmanager
def moving(root: Path) -> Iterator[None]:
    """Let a board's sensors move while the block runs."""
    _vary_program(root)
    files = [path for pattern in PATTERNS for path in root.glob(pattern)]
    texts = {path: text for path in files if len(text := path.read_text().strip()) > 2}
    stop = threading.Event()
    thread = threading.Thread(target=_move, args=(texts, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _move(texts: dict[Path, str], stop: threading.Event) -> None:
    chance = random.Random(1)
    while not stop.wait(PERIOD_S):
        for path, text in texts.items():
            moved = f"{int(text) + chance.randint(-2, 2)}"
            if len(moved) == len(text) and path.exists():  # a test may have taken the sensor away
                descriptor = os.open(path, os.O_WRONLY)
                os.pwrite(descriptor, moved.encode(), 0)  # in place: never half a number
                os.close(descriptor)


def _vary_program(root: Path) -> None:
    program = root / "usr/bin/vcgencmd"
    if program.is_file():
        real = program.with_name("vcgencmd-replayed")
        program.rename(real)
        program.write_text(PROGRAM.format(real=real))
        program.chmod(0o755)

"""`vcgencmd`, which asks a Raspberry Pi's firmware: where it is, and what it answers."""

from __future__ import annotations

import shutil
import subprocess

from edgebench.device.system import root

TIMEOUT_S = 1.0


def find_vcgencmd() -> str | None:
    """Return vcgencmd's path under the root, or on the search path."""
    own = root() / "usr/bin/vcgencmd"
    if own.is_file():
        return str(own)
    return shutil.which("vcgencmd") if str(root()) == "/" else None


def ask(command: str, question: str) -> str:
    """Return what vcgencmd prints.

    Raises ValueError where it fails, OSError where it can't be started or does not answer in time.
    """
    try:
        done = subprocess.run(
            [command, question], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"vcgencmd did not answer within {TIMEOUT_S:g} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[:120]
        raise ValueError(f"{said or 'vcgencmd failed'}; type: sudo usermod -aG video $USER")
    return done.stdout

"""`edgebench --help` over `python -c "import click"`, as whole processes."""

from __future__ import annotations

import sys
from pathlib import Path

from lib.side_by_side import interleave, seconds_of

from benchmarks import Figure, Range, ratio


def measure(pairs: int = 40) -> list[Figure]:
    """Time both, turn about."""
    script = str(Path(sys.executable).with_name("edgebench"))
    results = interleave(
        lambda: seconds_of([script, "--help"]),
        lambda: seconds_of([sys.executable, "-c", "import click"]),
        pairs,
    )
    return [ratio("edgebench --help over import click", results, Range(None, 1.5))]

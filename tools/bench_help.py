"""`edgebench --help` over `python -c "import click"`, as whole processes. Wanted: at most 1.5.

python tools/bench_help.py [--pairs 40]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from side_by_side import interleave, report, seconds_of


def main() -> int:
    """Compare; return 1 where the figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=40)
    pairs = parser.parse_args().pairs
    script = str(Path(sys.executable).with_name("edgebench"))
    results = interleave(
        lambda: seconds_of([script, "--help"]),
        lambda: seconds_of([sys.executable, "-c", "import click"]),
        pairs,
    )
    return 0 if report("edgebench --help over import click", results, 0, 1.5) else 1


if __name__ == "__main__":
    sys.exit(main())

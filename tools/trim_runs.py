"""Make stored runs small enough to ship: no timelines, and paths that say nothing of the machine.

    python tools/trim_runs.py PROFILES TARGET

Every figure stays, and every answer; power readings, from which joules were made, are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path, PurePath

from edgebench.records.run import Run
from edgebench.run.store import Store
from edgebench.run.stored import read_runs


def trimmed(run: Run) -> Run:
    """Return the run without its timelines, its artifact by the folder's name alone."""
    path = PurePath(run.artifact.path)
    place = PurePath("artifacts") / path.parent.name / path.name
    artifact = run.artifact.model_copy(update={"path": str(place)})
    return run.model_copy(update={"timelines": (), "artifact": artifact})


def main() -> None:
    """Write the runs of a folder, trimmed, to another one that holds none yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profiles", type=Path)
    parser.add_argument("target", type=Path)
    typed = parser.parse_args()
    if any(typed.target.rglob("*.jsonl")):
        raise SystemExit(f"{typed.target} holds runs already; move them away first")
    for run in read_runs([typed.profiles]):
        store = Store(typed.target, run.device.name)
        store.prepare()
        store.append(trimmed(run))


if __name__ == "__main__":
    main()

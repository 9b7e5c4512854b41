"""Throw hostile input at edgebench, by seed and within a time limit, and say what it did of each.

Each attempt is one command (or one message) on one mutant of a right file. A fault is an exit with
"this is a fault of edgebench", a traceback, a death, an unknown exit code, more than 10 s or more
than 1 GiB in the parent; the first few are saved with their input, and the script ends with 1.

    python tools/campaign.py --share 0.05 --seconds 60
    python tools/campaign.py --seed 1 --only store --at 127
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lib.attempted import Outcome, outcomes
from lib.attempts import KINDS, Materials
from lib.materials import make_materials

SAVED = 12  # faults of a kind whose input is kept, of different words


@dataclass
class Tally:
    """What became of a kind's attempts."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    peak_bytes: int = 0
    signatures: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count one."""
        self.counts[outcome.kind] += 1
        self.slowest_s = max(self.slowest_s, outcome.seconds)
        self.peak_bytes = max(self.peak_bytes, outcome.peak_bytes)

    @property
    def line(self) -> str:
        """A row of the table."""
        counts = [self.counts[kind] for kind in ("refused", "ok", "failed", "fault")]
        cells = [self.name, sum(counts), *counts, f"{self.slowest_s:.1f}", self.peak_bytes >> 20]
        return "| " + " | ".join(str(cell) for cell in cells) + " |"


HEAD = "kind | attempts | refused | ok | failed (stored) | faults | slowest s | largest parent MiB"


def main(typed: Sequence[str] | None = None) -> int:
    """Read the arguments, try all kinds and print the table; return 1 where there was a fault."""
    arguments = _parser().parse_args(typed)
    saved = arguments.save.resolve()
    end = time.monotonic() + arguments.seconds
    tallies = []
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        folder = Path(name)
        os.environ |= {
            "HOME": name,
            "XDG_CACHE_HOME": f"{name}/cache",
            "XDG_CONFIG_HOME": f"{name}/config",
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "100",
        }
        os.chdir(folder)
        materials = make_materials(folder / "materials", arguments.seed)
        kinds = arguments.only or list(KINDS)
        for done, kind in enumerate(kinds):
            # What a kind leaves of its part of the time goes to those after it.
            until = time.monotonic() + (end - time.monotonic()) / (len(kinds) - done)
            indices = _indices(kind, arguments)
            tallies.append(_tally(kind, arguments.seed, indices, materials, folder, until, saved))
    print(f"seed {arguments.seed}\n| {HEAD} |\n|{'---|' * 8}")
    for tally in tallies:
        print(tally.line)
    faults = sum(tally.counts["fault"] for tally in tallies)
    if faults:
        print(f"{faults} faults; the first of each are in {saved}")
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=7200, help="stop then, as far as it came")
    parser.add_argument("--share", type=float, default=1.0, help="of each kind's whole count")
    parser.add_argument("--only", action="append", choices=KINDS, help="may be given repeatedly")
    parser.add_argument("--at", type=int, help="make this attempt alone")
    parser.add_argument("--save", type=Path, default=Path("campaign-faults"), metavar="FOLDER")
    return parser


def _indices(kind: str, arguments: argparse.Namespace) -> Sequence[int]:
    if arguments.at is not None:
        return [arguments.at]
    return range(max(1, round(KINDS[kind][1] * arguments.share)))


def _tally(
    kind: str,
    seed: int,
    indices: Sequence[int],
    materials: Materials,
    folder: Path,
    until: float,
    saved: Path,
) -> Tally:
    tally = Tally(kind)
    for outcome, mutant in outcomes(kind, seed, indices, materials, folder / kind):
        tally.add(outcome)
        if outcome.fault:
            _save(tally, outcome, mutant, saved / f"{kind}-{seed}-{outcome.index}")
        if time.monotonic() > until:
            break
    print(tally.line, dict(tally.signatures), file=sys.stderr, flush=True)
    return tally


def _save(tally: Tally, outcome: Outcome, mutant: Path, to: Path) -> None:
    last = outcome.words.strip().splitlines()[-1:] or [""]
    signature = f"{outcome.fault}: {_where(outcome.words)} {last[0][:80]}"
    tally.signatures[signature] += 1
    if tally.signatures[signature] > 1 or len(tally.signatures) > SAVED:
        return
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(mutant, to, symlinks=True)
    (to / "outcome.json").write_text(json.dumps(asdict(outcome), indent=1), encoding="utf-8")


def _where(words: str) -> str:
    """Return the last line of our own code that a traceback names."""
    ours = [line.strip() for line in words.splitlines() if "/edgebench/" in line and "line" in line]
    return ours[-1].rpartition("/edgebench/")[2] if ours else ""


if __name__ == "__main__":
    sys.exit(main())

"""Measure racing by simulation: does it decide as the full grid does, and on how many items?

Pairs of answers are simulated: every problem draws a fixed list of items for each level, whose
mean difference decides what the full grid says. A race sees the same items in random order, in
batches, and stops at its verdict. Prints, for each level and tolerance, how often both agree and
the share of items used.

    python tools/bench_racing.py --problems 300 --tolerance 0.03 --tolerance 0.01
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgebench.stats.sequential import Race, race_alphas

# A ladder of levels: name, how often answers differ from the reference's, true mean difference.
LADDER = (
    ("Q8_0", 0.02, 0.0),
    ("Q6_K", 0.04, 0.002),
    ("Q5_K_M", 0.06, -0.002),
    ("Q4_K_M", 0.08, 0.0),
    ("IQ4_XS", 0.08, -0.002),
    ("Q3_K_M", 0.08, -0.03),
    ("Q2_K", 0.12, -0.06),
)


def simulate(
    rng: np.random.Generator, items: int, discordance: float, mean: float
) -> NDArray[np.float64]:
    """Return one list of differences: 1 only ours is right, -1 only the reference, else 0."""
    odds = [(discordance - mean) / 2, 1 - discordance, (discordance + mean) / 2]
    return rng.choice([-1.0, 0.0, 1.0], size=items, p=odds)


def race(
    differences: NDArray[np.float64], tolerance: float, alpha: float, batch: int
) -> tuple[bool, float]:
    """Return whether the race decides as the full list does, and the share of items it used."""
    items = len(differences)
    running = Race(tolerance, alpha, population=items)
    for start in range(0, items, batch):
        if running.update(differences[start : start + batch].tolist()) != "open":
            break
    full = "within" if differences.sum() >= -tolerance * items - 1e-9 else "outside"
    return running.verdict == full, running.n / items


def measure(tolerance: float, arguments: argparse.Namespace) -> None:
    """Race every level in every problem and print a row for each level and one for all."""
    rng = np.random.default_rng(arguments.seed)
    alpha = arguments.alpha
    if arguments.family:
        alpha = race_alphas(len(LADDER), alpha)[0]
    print(f"tolerance {tolerance:.1%}, alpha {alpha:.4f} for each level, {arguments.items} items")
    every: list[tuple[bool, float]] = []
    for name, discordance, mean in LADDER:
        used_discordance = arguments.discordance or discordance
        found = [
            race(
                simulate(rng, arguments.items, used_discordance, mean),
                tolerance,
                alpha,
                arguments.batch,
            )
            for _ in range(arguments.problems)
        ]
        every += found
        print_row(f"{name:8} differ {used_discordance:5.1%} mean {mean:+6.1%}", found)
    print_row("all", every)


def print_row(label: str, found: Sequence[tuple[bool, float]]) -> None:
    """Print how often race and full grid agree and the mean share of items used."""
    agreement = float(np.mean([same for same, _ in found]))
    used = float(np.mean([share for _, share in found]))
    print(f"  {label:35} agree {agreement:6.1%}   items used {used:6.1%}")


def main() -> None:
    """Read the arguments and measure at each tolerance."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=2000, help="items in the full list")
    parser.add_argument("--problems", type=int, default=300, help="lists simulated for each level")
    parser.add_argument("--batch", type=int, default=25, help="items between two verdicts")
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--family", action="store_true", help="share alpha between the levels")
    parser.add_argument("--discordance", type=float, help="the same for every level, as 0.08")
    parser.add_argument("--tolerance", type=float, action="append", help="may be given repeatedly")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for tolerance in arguments.tolerance or [0.03, 0.02, 0.01]:
        measure(tolerance, arguments)


if __name__ == "__main__":
    main()

"""Measure by simulation what the figures over launches are worth.

How often a repeat's median lands in the interval, for the median and for a mean; how often the
one-sided bounds err; how often two like levels are told apart, and two unlike ones are.

    python tools/sim_launches.py --studies 4000
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgebench.stats.launches import bound_above, bound_below, over_launches, ratio_p
from edgebench.stats.student import t_quantile

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int], Floats]

WITHIN, REPETITIONS = 0.02, 5


def _between(times: float) -> Noise:
    """Launches differ by `times` what repetitions do; a launch's figure is their median."""

    def draw(rng: np.random.Generator, n: int) -> Floats:
        repetitions = rng.normal(0, WITHIN, (n, REPETITIONS))
        return np.asarray(np.median(repetitions, axis=1) + rng.normal(0, times * WITHIN, n))

    return draw


def _outliers(rng: np.random.Generator, n: int) -> Floats:
    """One launch in twenty is a fifth slower."""
    return _between(1)(rng, n) + np.where(rng.random(n) < 0.05, math.log(0.8), 0.0)


def _skewed(rng: np.random.Generator, n: int) -> Floats:
    """Figures are lognormal with a deviation of 10 %: normal on the log."""
    return rng.normal(0, 0.1, n)


def _drift(rng: np.random.Generator, n: int) -> Floats:
    """The machine warms up: each study slows by 10 % from its first launch to its last."""
    return _between(1)(rng, n) - np.linspace(-0.05, 0.05, n)


NOISES: dict[str, Noise] = {
    "between 0": _between(0), "between 1": _between(1), "between 3": _between(3),
    "lognormal": _skewed, "outliers": _outliers, "drift": _drift,
}  # fmt: skip


def repeats_inside(noise: Noise, n: int, studies: int, seed: int = 1) -> tuple[float, float]:
    """Return how often a repeat lands in the interval, and the interval's median half-width."""
    rng = np.random.default_rng(seed)
    inside, widths = 0, []
    for _ in range(studies):
        found = over_launches(np.exp(noise(rng, n)).tolist())
        repeat = float(np.median(np.exp(noise(rng, n))))
        low, high = found.bounds or (repeat, repeat)
        inside += low <= repeat <= high
        widths.append(math.log(high / low) / 2)
    return inside / studies, float(np.median(widths))


def mean_repeats_inside(noise: Noise, n: int, studies: int, seed: int = 1) -> float:
    """Return how often a repeat's mean lands in the interval that a mean would have."""
    rng = np.random.default_rng(seed)
    inside = 0
    for _ in range(studies):
        first, again = noise(rng, n), noise(rng, n)
        reach = t_quantile(0.975, n - 1) * float(first.std(ddof=1)) * math.sqrt(2 / n)
        inside += abs(first.mean() - again.mean()) <= reach
    return inside / studies


def bounds_wrong(
    noise: Noise, n: int, alpha: float, studies: int, seed: int = 2
) -> tuple[float, float]:
    """Return how often the lower and the upper bound leave out the long-run median."""
    rng = np.random.default_rng(seed)
    truth = float(np.median(noise(rng, 200_001)))
    wrong = np.zeros(2)
    for _ in range(studies):
        samples = np.exp(noise(rng, n)).tolist()
        low, high = bound_below(samples, alpha), bound_above(samples, alpha)
        if low is None or high is None:
            raise ValueError(f"{n} launches have no bounds")
        wrong += [low > math.exp(truth), high < math.exp(truth)]
    return float(wrong[0] / studies), float(wrong[1] / studies)


def told_apart(
    faster: float, between: float, rounds: int, drift: float, studies: int, seed: int = 3
) -> float:
    """Return how often two levels measured in turn are told apart, one being `faster` by a share.

    Both drift together by `drift` of a launch's deviations from the first round to the last.
    """
    rng = np.random.default_rng(seed)
    noise = _between(between / WITHIN)
    deviation = math.hypot(between, 1.2 * WITHIN / math.sqrt(REPETITIONS))
    names = [f"round {index}" for index in range(rounds)]
    found = 0
    for _ in range(studies):
        heat = -np.linspace(0, drift * deviation, rounds)
        a, b = np.exp(heat + noise(rng, rounds)), np.exp(heat + noise(rng, rounds))
        ours = dict(zip(names, ((1 + faster) * a).tolist(), strict=True))
        p_value = ratio_p(ours, dict(zip(names, b.tolist(), strict=True)))
        found += p_value is not None and p_value < 0.05
    return found / studies


def main() -> None:
    """Read the arguments and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=2000)
    studies = parser.parse_args().studies
    print("a repeat lands in the interval (half-width); in brackets: of a mean")
    for name, noise in NOISES.items():
        told = []
        for n in (3, 5, 10, 20):
            inside, width = repeats_inside(noise, n, studies)
            mean = mean_repeats_inside(noise, n, studies)
            told.append(f"n={n} {inside:.3f} ({width:.1%}) [{mean:.3f}]")
        print(f"  {name:10}", "   ".join(told), flush=True)
    print("one-sided bounds that leave out the truth, at 5 % and 1 %: below, above")
    for name, noise in NOISES.items():
        told = []
        for n in (5, 10, 20):
            rates = [*bounds_wrong(noise, n, 0.05, studies), *bounds_wrong(noise, n, 0.01, studies)]
            told.append(f"n={n} " + " ".join(f"{rate:.3f}" for rate in rates))
        print(f"  {name:10}", "   ".join(told), flush=True)
    print("two levels in turn, told apart: like (drift of 5 deviations), 5 % faster")
    for between in (0.0, 0.01, 0.02, 0.03, 0.05):
        told = []
        for rounds in (3, 5, 8, 10):
            like = told_apart(0.0, between, rounds, 5.0, studies)
            faster = told_apart(0.05, between, rounds, 5.0, studies)
            told.append(f"rounds {rounds}: {like:.3f} {faster:.3f}")
        print(f"  between {between:.0%}", "   ".join(told), flush=True)


if __name__ == "__main__":
    main()

"""Energy figures against a known truth, by kind of sensor: bias, coverage and width.

Wanted of every figure that is there: a bias of at most 1 % and at least 93 % of the 95 % intervals
holding the truth; of sensors that can't give one: none. Prints a table; about a minute.
    python tools/sim_energy.py [--studies 200] [--launches 5] [--between 0.005]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.sensors import SENSORS, scores

MOST_BIAS, LEAST_COVERAGE = 0.01, 0.93


def main() -> int:
    """Print the table; return 1 where a figure misses what is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--launches", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--between", type=float, default=0.005)
    typed = parser.parse_args()
    missed = 0
    for number, sensor in enumerate(SENSORS):
        print(sensor.name)
        for name, score in scores(
            sensor,
            typed.studies,
            number,
            launches=typed.launches,
            repetitions=typed.repetitions,
            between=typed.between,
        ).items():
            if not score.ratios:
                good = not sensor.has_figure
                print(f"  {name:<11} no figure{'' if good else ': MISSED'}")
            else:
                good = abs(score.bias) <= MOST_BIAS and score.coverage >= LEAST_COVERAGE
                good = good and sensor.has_figure
                print(
                    f"  {name:<11} bias {score.bias:+.2%}, held {score.coverage:.1%}, half-width "
                    f"{sum(score.halves) / len(score.halves):.2%}, absent {score.absent}"
                    f"{'' if good else ': MISSED'}"
                )
            missed += not good
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Was a measurement disturbed? Other programs, heat, and launches that lie far apart. Pure.

Knows the limits and says what to type. Knows nothing of workers.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from edgebench.records.speed import Launch

FOREIGN_SHARE = 0.10  # of the processors, at work for others while a launch was timed
SPREAD = 0.10  # coefficient of variation between launches
DRIFT = 0.10  # from the first half of the launches to the second
SLOW_CLOCK = 0.90  # of the highest clock that is allowed, while the processor is at work
LEAST_LAUNCHES = 3  # of which a spread can be told


def disturbed(launch: Launch, cores: int) -> bool:
    """Return whether other programs or throttling slowed a launch, so that it is worth another."""
    return _foreign(launch, cores) or launch.loaded.throttled is True


def unsteady(launches: Sequence[Launch]) -> bool:
    """Return whether launches lie so far apart that more of them are worth their time."""
    return len(launches) >= LEAST_LAUNCHES and spread(launches) > SPREAD


def spread(launches: Sequence[Launch]) -> float:
    """Return the coefficient of variation between launches, of the phase that varies more.

    It is 0 of a single launch.
    """
    if len(launches) < 2:
        return 0.0
    prefills = [statistics.median(launch.prefill_s) for launch in launches]
    decodes = [statistics.median(launch.decode_s) for launch in launches]
    return max(_variation(prefills), _variation(decodes))


def _variation(seconds: Sequence[float]) -> float:
    return statistics.stdev(seconds) / statistics.fmean(seconds)


def drift(launches: Sequence[Launch]) -> float:
    """Return by which share the second half of the launches decodes slower than the first."""
    seconds = [statistics.median(launch.decode_s) for launch in launches]
    half = len(seconds) // 2
    if len(seconds) < 2 * LEAST_LAUNCHES - 1:
        return 0.0
    return statistics.median(seconds[-half:]) / statistics.median(seconds[:half]) - 1


def noise_warnings(launches: Sequence[Launch], cores: int) -> list[str]:
    """Say what disturbed the launches that counted, with the figure and what to do."""
    warnings = []
    busy = [launch for launch in launches if _foreign(launch, cores)]
    if busy:
        most = max(launch.foreign_cpu or 0.0 for launch in busy)
        warnings.append(
            f"other programs kept {most:.1f} of {cores} processors busy during {len(busy)} of "
            f"{len(launches)} launches; end them (top shows them) and measure again with "
            "--no-resume"
        )
    if unsteady(launches):
        warnings.append(
            f"launches differ by {100 * spread(launches):.0f} % (coefficient of variation); an "
            f"idle machine or --launches {2 * len(launches)} narrows that"
        )
    if abs(moved := drift(launches)) > DRIFT:
        word = "slower" if moved > 0 else "faster"
        warnings.append(
            f"decode became {100 * abs(moved):.0f} % {word} from the first launches to the last; "
            "heat or a clock that moves does that: edgebench devices check"
        )
    restless = sum(not launch.settled for launch in launches)
    if restless:
        warnings.append(f"the warm-up never settled in {restless} of {len(launches)} launches")
    return [*warnings, *_heat(launches)]


def _foreign(launch: Launch, cores: int) -> bool:
    return launch.foreign_cpu is not None and launch.foreign_cpu > FOREIGN_SHARE * cores


def _heat(launches: Sequence[Launch]) -> list[str]:
    warnings = []
    if throttled := sum(launch.loaded.throttled is True for launch in launches):
        warnings.append(
            f"the machine was throttled in {throttled} of {len(launches)} launches; it wants more "
            "cooling or a stronger power supply"
        )
    shares = [
        clock / launch.loaded.max_clocks_hz[name]
        for launch in launches
        for name, clock in launch.loaded.clocks_hz.items()
        if launch.loaded.max_clocks_hz.get(name)
    ]
    if shares and (highest := max(shares)) < SLOW_CLOCK:
        warnings.append(
            f"under load no clock was above {100 * highest:.0f} % of what is allowed: "
            "edgebench devices check"
        )
    return warnings

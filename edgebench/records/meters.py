"""Names of power meters, as a person types them. Knows none of the sensors."""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.errors import UsageError, nearest

# In the order in which a reader would trust them; each has a file in device/meters.
METERS = ("ina", "pmic", "rapl", "nvml", "battery", "hwmon")
# Only where a person names them, with what they need after a colon.
TYPED = {
    "command": '--meter "command:./meter --watts"',
    "estimate": "--meter estimate:15W",
}


def check_meters(wanted: Sequence[str]) -> None:
    """Raise UsageError on a meter that does not exist."""
    names = [*METERS, *TYPED, "auto", "none"]
    for word in wanted:
        name, colon, rest = word.partition(":")
        if name in TYPED and not rest:
            raise UsageError(f"--meter {name} needs more", hint=TYPED[name])
        if name not in names or (colon and name not in TYPED):
            raise UsageError(f"unknown meter {name!r}", hint=nearest(name, names))

"""What in a machine's condition may have moved the figures, from what its worker sent. Pure."""

from __future__ import annotations

from edgebench.records.device import Snapshot

WARM_C = 10.0


def condition_warnings(before: Snapshot, after: Snapshot, cores: int) -> tuple[str, ...]:
    """Say what in the machine's condition may have moved the figures."""
    return (*_at_start(before, cores), *_changes(before, after))


def _at_start(before: Snapshot, cores: int) -> list[str]:
    warnings = []
    if before.governor and before.governor != "performance":
        warnings.append(f"CPU governor is {before.governor}, not performance")
    if before.clocks_fixed is False:
        warnings.append("clocks are free to move; type: sudo jetson_clocks")
    if before.load is not None and before.load > 0.5 * cores:
        warnings.append(f"load was {before.load:.1f} before the case")
    if before.on_battery:
        warnings.append("the machine runs on its battery, which may hold clocks down")
    if before.throttled:
        warnings.append("the machine was throttled before the case began")
    return warnings


def _changes(before: Snapshot, after: Snapshot) -> list[str]:
    warnings = []
    for name, start in before.temperature_c.items():
        end = after.temperature_c.get(name)
        if end is not None and end - start > WARM_C:
            warnings.append(f"{name} warmed from {start:.0f} to {end:.0f} °C")
    if after.throttled and not before.throttled:
        warnings.append("the machine was throttled during the case")
    elif after.throttled_before and before.throttled_before is False:
        warnings.append("the machine was throttled at some time during the case")
    for name in ("governor", "power_mode", "on_battery"):
        a, b = getattr(before, name), getattr(after, name)
        if a != b and a is not None and b is not None:
            warnings.append(f"{name.replace('_', ' ')} changed from {a} to {b} during the case")
    if (after.swap_used_bytes or 0) - (before.swap_used_bytes or 0) > 64 * 2**20:
        warnings.append("the system swapped during the case, so the disk slowed it down")
    return warnings

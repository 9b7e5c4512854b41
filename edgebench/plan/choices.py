"""The settings that a person typed, each of several values a choice: the axes of a search.

Knows names and values, and what `cores=auto` stands for on a machine. Measures nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from pydantic import ValidationError

from edgebench.errors import UsageError, nearest
from edgebench.records.faults import Fault, first_fault
from edgebench.records.messages import Hello
from edgebench.records.settings import Settings

MOST = 64  # choices in all


def choices_of(base: Settings, changes: Sequence[str], hello: Hello) -> list[Settings]:
    """Return every combination of what `--set NAME=A,B` names, on top of a device's settings.

    `cores=auto` tries the machine's clusters of like cores apart and together. Raises UsageError
    on a name or value that is none, and on more combinations than anyone means.
    """
    axes: dict[str, list[str]] = {}
    for change in changes:
        name, equals, typed = change.partition("=")
        if not equals or name not in Settings.model_fields:
            raise UsageError(
                f"unknown setting {change!r}", hint=nearest(name, Settings.model_fields)
            )
        values = [value.strip() for value in typed.split(",")]
        if name == "cores":
            values = [found for value in values for found in _cores(value, hello)]
        axes.setdefault(name, []).extend(values)
    combinations = list(itertools.product(*axes.values()))
    if len(combinations) > MOST:
        raise UsageError(
            f"{len(combinations)} combinations of settings are more than {MOST}",
            hint="give fewer values, or measure in several calls",
        )
    chosen = [
        _validated(base, dict(zip(axes, combination, strict=True))) for combination in combinations
    ]
    return list(dict.fromkeys(chosen))


def _cores(value: str, hello: Hello) -> list[str]:
    """Return the choices that `auto` stands for; a machine of like cores has one, not pinned."""
    if value != "auto":
        return [value]
    apart = list(hello.clusters)
    return [*apart, "+".join(apart)] if len(apart) > 1 else [""]


def _validated(base: Settings, changes: dict[str, str]) -> Settings:
    try:
        return Settings.model_validate(base.model_dump() | changes)
    except ValidationError as error:
        raise UsageError(
            f"--set {first_fault(error)}, not {Fault.of(error).value!r}",
            hint="edgebench profile --help names the settings",
        ) from None

"""Workloads by name, and how a person writes one. Measures none."""

from __future__ import annotations

import re

from edgebench.errors import UsageError, nearest
from edgebench.records.settings import Workload

# name -> (prompt, generated): what people do with a model on a small board.
WORKLOADS = {
    "chat": (512, 128),
    "rag": (2048, 128),
    "summarize": (4096, 256),
    "short": (64, 32),
    "generate": (32, 512),
}
SUSTAINED = "sustained"  # a chat that goes on and on, so that heat shows
MINUTES = 20.0
_SIZES = re.compile(r"(\d{1,7})\+(\d{1,7})(?:@(\d{1,7}))?")


def parse_workloads(
    typed: str, repetitions: int, launches: int, minutes: float | None = None
) -> tuple[Workload, ...]:
    """Read `chat`, `chat,rag`, `512+128@4096` or `none`; raise UsageError on anything else.

    `minutes` is how long `sustained` goes on, in a single launch; no other workload takes it.
    """
    parts = dict.fromkeys(part.strip() for part in typed.split(","))
    if minutes is not None and SUSTAINED not in parts:
        raise UsageError(
            "--minutes is how long the workload sustained goes on",
            hint=f"type --workload {SUSTAINED} --minutes {minutes:g}",
        )
    if typed.strip() == "none":
        return ()
    lasts = MINUTES if minutes is None else minutes
    return tuple(parse_workload(part, repetitions, launches, lasts) for part in parts)


def parse_workload(
    typed: str, repetitions: int, launches: int, minutes: float = MINUTES
) -> Workload:
    """Read `chat`, `512+128` or `512+128@4096`; raise UsageError on anything else."""
    match = _SIZES.fullmatch(typed)
    if typed == SUSTAINED:
        prompt, generate = WORKLOADS["chat"]
        return Workload(
            name=typed,
            prompt_tokens=prompt,
            generate_tokens=generate,
            repetitions=1,
            launches=1,
            duration_s=60 * minutes,
        )
    if typed in WORKLOADS:
        prompt, generate, depth = *WORKLOADS[typed], 0
    elif match and int(match[1]) and int(match[2]):
        prompt, generate, depth = int(match[1]), int(match[2]), int(match[3] or 0)
    else:
        raise UsageError(
            f"unknown workload {typed!r}",
            hint=f"{nearest(typed, [*WORKLOADS, SUSTAINED, 'none'])} Or write "
            "prompt+generated@depth, for example 512+128@4096",
        )
    return Workload(
        name=typed,
        prompt_tokens=prompt,
        generate_tokens=generate,
        depth=depth,
        repetitions=repetitions,
        launches=launches,
    )

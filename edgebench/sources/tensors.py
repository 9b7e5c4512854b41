"""A row of a GGUF file's tensor table. Knows no file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tensor:
    """One row of the tensor table: type by its lower-case name, shape as GGUF orders it."""

    name: str
    type: str
    shape: tuple[int, ...]
    elements: int
    bytes: int

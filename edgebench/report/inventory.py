"""Say what lies here: artifacts, runs and caches, each with its size and age."""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.records.base import clean
from edgebench.report.content import Column, Section, Table
from edgebench.report.format import age, size
from edgebench.run.inventory import ArtifactSeen, CacheSeen, Inventory, RunsSeen

# How soon a column is left out; a path is what one types next, and always stays.
RANKS = {"format": 1, "files": 1, "model": 2, "holds": 2, "age": 3, "size": 4}


def inventory_sections(seen: Inventory, now_s: float) -> list[Section]:
    """Return a section each of artifacts, runs and caches; ages count back from `now_s`."""
    passed = tuple(clean(f"passed over: {words}") for words in seen.passed_over[:10])
    removing = "edgebench list --clean NAME removes one; it is made again where it is needed."
    return [
        _section(
            "Artifacts",
            ("model", "level", "format", "size", "age", "path"),
            [_artifact(artifact, now_s) for artifact in seen.artifacts],
            ("none here; edgebench quantize MODEL --levels q8_0,q4_0 makes some", *passed),
            passed,
        ),
        _section(
            "Runs",
            ("device", "model", "runs", "size", "age", "path"),
            [_runs(runs, now_s) for runs in seen.runs],
            ("none here; edgebench profile --device cpu makes some",),
        ),
        _section(
            "Caches",
            ("name", "files", "size", "age", "holds"),
            [_cache(cache, now_s) for cache in seen.caches],
            ("empty",),
            (removing,),
        ),
    ]


def _section(
    title: str,
    headers: Sequence[str],
    cells: Sequence[tuple[str, ...]],
    empty: tuple[str, ...],
    notes: tuple[str, ...] = (),
) -> Section:
    if not cells:
        return Section(title, facts=empty)
    columns = tuple(Column(header, RANKS.get(header)) for header in headers)
    return Section(title, tables=(Table("", columns, tuple(cells)),), notes=notes)


def _artifact(seen: ArtifactSeen, now_s: float) -> tuple[str, ...]:
    names = clean(seen.model, 40), clean(seen.level, 20), seen.format
    return (*names, size(seen.size_bytes), age(now_s - seen.changed_s), clean(seen.path, 200))


def _runs(seen: RunsSeen, now_s: float) -> tuple[str, ...]:
    names = clean(seen.device, 40), clean(seen.model, 40), str(seen.runs)
    return (*names, size(seen.size_bytes), age(now_s - seen.changed_s), clean(seen.path, 200))


def _cache(seen: CacheSeen, now_s: float) -> tuple[str, ...]:
    sizes = str(seen.files), size(seen.size_bytes), age(now_s - seen.changed_s)
    return (clean(seen.name, 40), *sizes, seen.holds)

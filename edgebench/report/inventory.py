"""Say what lies here: artifacts, runs and caches, each with its size and age."""

from __future__ import annotations

from edgebench.records.base import clean
from edgebench.report.content import Column, Section, Table
from edgebench.report.format import age, size
from edgebench.run.inventory import Inventory


def inventory_sections(seen: Inventory, now_s: float) -> list[Section]:
    """Return a section each of artifacts, runs and caches; ages count back from `now_s`."""
    notes = tuple(clean(f"passed over: {words}") for words in seen.passed_over[:10])
    sections = [
        _section(
            "Artifacts",
            ("model", "level", "format", "size", "age", "path"),
            [
                (
                    clean(one.model, 40),
                    clean(one.level, 20),
                    one.format,
                    size(one.size_bytes),
                    age(now_s - one.changed_s),
                    clean(one.path, 200),
                )
                for one in seen.artifacts
            ],
            "none here; edgebench quantize MODEL --levels q8_0,q4_0 makes some",
            notes,
        ),
        _section(
            "Runs",
            ("device", "model", "runs", "size", "age", "path"),
            [
                (
                    clean(one.device, 40),
                    clean(one.model, 40),
                    str(one.runs),
                    size(one.size_bytes),
                    age(now_s - one.changed_s),
                    clean(one.path, 200),
                )
                for one in seen.runs
            ],
            "none here; edgebench profile --device cpu makes some",
        ),
        _section(
            "Caches",
            ("name", "files", "size", "age", "holds"),
            [
                (
                    clean(one.name, 40),
                    str(one.files),
                    size(one.size_bytes),
                    age(now_s - one.changed_s),
                    one.holds,
                )
                for one in seen.caches
            ],
            "empty",
            ("edgebench list --clean NAME removes one; it is made again where it is needed.",),
        ),
    ]
    return sections


def _section(
    title: str,
    headers: tuple[str, ...],
    cells: list[tuple[str, ...]],
    empty: str,
    notes: tuple[str, ...] = (),
) -> Section:
    if not cells:
        return Section(title, facts=(empty,), notes=notes if title == "Artifacts" else ())
    # A path is what one types next: it always stays.
    ranks = {"format": 1, "files": 1, "model": 2, "age": 3, "size": 4, "holds": 2}
    columns = tuple(Column(header, ranks.get(header)) for header in headers)
    return Section(title, tables=(Table("", columns, tuple(cells)),), notes=notes)

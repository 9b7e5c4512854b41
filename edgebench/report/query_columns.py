"""The columns of the tables that SQL is asked of, each with its type and its meaning.

`runs` has a row a run, with the figures that it was stored with; `rows` has what `compare` shows,
in the columns of its CSV. All in SI units. Knows no database.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timezone
from typing import Any

from edgebench.analyze.compare import Group
from edgebench.analyze.setups import setup_of
from edgebench.report.columns import FIGURES, names_of, value_of
from edgebench.report.csv_file import lines_of
from edgebench.run.heads import FIGURES_OF_RUN, Head, Seen

TEXT, REAL, WHOLE, TRUTH, MOMENT = "VARCHAR", "DOUBLE", "BIGINT", "BOOLEAN", "TIMESTAMP"


@dataclass(frozen=True)
class SqlColumn:
    """A column: its name, its type in SQL, and what it means."""

    name: str
    type: str
    meaning: str


@dataclass(frozen=True)
class SqlTable:
    """A table's columns, and under each as many values as there are rows."""

    name: str
    columns: tuple[SqlColumn, ...]
    values: tuple[Sequence[Any], ...]


@dataclass(frozen=True)
class _HeadColumn(SqlColumn):
    """A column that all runs of one head share."""

    read: Callable[[Head], Any]


_HEAD_COLUMNS = (
    _HeadColumn("case_id", TEXT, "runs of one case share it", lambda head: head.case_id),
    _HeadColumn(
        "status", TEXT, "ok, oom, crashed, timeout, unsupported, failed", lambda head: head.status
    ),
    _HeadColumn("device", TEXT, "its name in devices.yaml", lambda head: head.device.name),
    _HeadColumn("board", TEXT, "the board", lambda head: head.device.board),
    _HeadColumn("processor", TEXT, "the processor", lambda head: head.device.cpu),
    _HeadColumn(
        "machine", TEXT, "a salted hash of the piece of hardware", lambda head: head.device.machine
    ),
    _HeadColumn("power_mode", TEXT, "the board's power mode", lambda head: head.device.power_mode),
    _HeadColumn("governor", TEXT, "of the clocks", lambda head: head.snapshot.governor),
    _HeadColumn("model", TEXT, "the model's name", lambda head: head.model),
    _HeadColumn("level", TEXT, "the quantization level", lambda head: head.level),
    _HeadColumn("format", TEXT, "gguf, onnx or torch", lambda head: head.format),
    _HeadColumn("artifact", TEXT, "the artifact's name", lambda head: head.artifact),
    _HeadColumn("content", TEXT, "the sums of its files", lambda head: head.content),
    _HeadColumn("size_bytes", WHOLE, "the size of its files", lambda head: head.size_bytes),
    _HeadColumn(
        "runtime", TEXT, "what ran it", lambda head: head.runtime.name if head.runtime else None
    ),
    _HeadColumn(
        "runtime_version",
        TEXT,
        "its version",
        lambda head: head.runtime.version if head.runtime else None,
    ),
    _HeadColumn(
        "threads",
        WHOLE,
        "threads that were used",
        lambda head: head.runtime.threads if head.runtime else None,
    ),
    _HeadColumn(
        "settings",
        TEXT,
        "threads and what else was set, in words",
        lambda head: setup_of(head).settings,
    ),
    _HeadColumn(
        "workload",
        TEXT,
        "of a run of speed",
        lambda head: head.workload.name if head.workload else None,
    ),
    _HeadColumn("task", TEXT, "of a run of accuracy or divergence", lambda head: head.task),
)
RUN_COLUMNS: tuple[SqlColumn, ...] = (
    SqlColumn("run_id", TEXT, "the run's own id"),
    SqlColumn("created", MOMENT, "when it was made, UTC; null where that can't be read"),
    *_HEAD_COLUMNS,
    *(SqlColumn(figure.name, REAL, figure.meaning) for figure in FIGURES_OF_RUN),
)

# The columns of report/columns.py: type and meaning. The ends of an interval are made of these.
_ROW_MEANINGS = {
    "device": (TEXT, "its name in devices.yaml"),
    "board": (TEXT, "the board"),
    "processor": (TEXT, "the processor"),
    "machine": (TEXT, "a salted hash of the piece of hardware, or its parts"),
    "setup": (TEXT, "the machine's conditions: power mode, governor, ..."),
    "settings": (TEXT, "threads and what else was set, in words"),
    "runtime": (TEXT, "what ran it: name, version, build"),
    "threads": (WHOLE, "threads that were used"),
    "workload": (TEXT, "whose speed this is"),
    "decode_from": (WHOLE, "tokens of context at which decode starts"),
    "model": (TEXT, "the model's name"),
    "format": (TEXT, "gguf, onnx or torch"),
    "level": (TEXT, "the quantization level"),
    "artifact": (TEXT, "the artifact's name"),
    "settings_apart": (TEXT, "what not all rows of the table were set to"),
    "sha256": (TEXT, "the sum of its file"),
    "baseline": (TEXT, "the artifact that the row is held against"),
    "newest": (TEXT, "when its newest good run was made"),
    "launches": (WHOLE, "worker processes that measured its speed"),
    "size_bytes": (WHOLE, "the size of its files"),
    "bits_per_weight": (REAL, "bits a weight"),
    "prefill_tokens_per_s": (REAL, "prompt tokens read a second"),
    "decode_tokens_per_s": (REAL, "tokens generated a second"),
    "decode_ratio": (REAL, "decode, in multiples of the baseline's"),
    "decode_ratio_p_holm": (REAL, "p of no difference, corrected over the table (Holm)"),
    "ttft_s": (REAL, "seconds to the first token"),
    "memory_bytes": (WHOLE, "weights, KV cache, buffers and the GPU's memory"),
    "vram_bytes": (WHOLE, "of it, the GPU's"),
    "energy_j_per_token": (REAL, "joules a generated token"),
    "energy_kind": (TEXT, "measured, derived or estimated"),
    "energy_source": (TEXT, "the sensor"),
    "energy_boundary": (TEXT, "what a joule includes: package, module, board or wall"),
    "energy_reason": (TEXT, "why there is none"),
    "task": (TEXT, "whose accuracy this is"),
    "n": (WHOLE, "items that were answered"),
    "accuracy": (REAL, "share of items that were right"),
    "difference": (REAL, "accuracy against the baseline's on the same items"),
    "p_holm": (REAL, "p of no difference, corrected over levels (Holm)"),
    "margin": (REAL, "the loss that a level is asked to stay within"),
    "no_worse": (TEXT, "than that: holds, worse or open"),
    "items_needed": (WHOLE, "more items that would decide it"),
    "text": (TEXT, "over which divergence was measured"),
    "mean_kld": (REAL, "mean KL divergence from the reference, in nats a token"),
    "p99_kld": (REAL, "its 99th percentile"),
    "same_top": (REAL, "share of tokens whose likeliest next token is the reference's"),
    "perplexity": (REAL, "of the text"),
    "bits_per_byte": (REAL, "of the text"),
    "failures": (TEXT, "workloads and tasks whose newest run has no figures, and why"),
}


def _row_columns() -> tuple[SqlColumn, ...]:
    columns = []
    for figure in FIGURES:
        name, *ends = names_of(figure)
        kind, meaning = _ROW_MEANINGS.get(name, (TEXT, ""))
        columns.append(SqlColumn(name, kind, meaning))
        columns += [SqlColumn(end, REAL, f"an end of the interval of {name}") for end in ends]
    return tuple(columns)


ROW_COLUMNS = _row_columns()


def runs_table(runs: Sequence[Seen]) -> SqlTable:
    """Return stored runs as a table, whether they count or not."""
    shared: dict[int, list[Any]] = {}
    for seen in runs:
        if id(seen.head) not in shared:
            shared[id(seen.head)] = [column.read(seen.head) for column in _HEAD_COLUMNS]
    heads = [shared[id(seen.head)] for seen in runs]
    figures = [seen.figures for seen in runs]
    values: list[Sequence[Any]] = [[seen.run_id for seen in runs], [_utc(seen) for seen in runs]]
    values += [[cells[place] for cells in heads] for place in range(len(_HEAD_COLUMNS))]
    values += [[told[place] for told in figures] for place in range(len(FIGURES_OF_RUN))]
    return SqlTable("runs", RUN_COLUMNS, tuple(values))


def _utc(seen: Seen) -> Any:
    """Return a run's moment without a zone; None where it can't be read."""
    try:
        return seen.moment.astimezone(timezone.utc).replace(tzinfo=None) if seen.is_dated else None
    except OverflowError:  # of the last or the first day of time, in another zone
        return None


def rows_table(groups: Iterable[Group]) -> SqlTable:
    """Return what `compare` shows as a table, with a line a task or text as in CSV."""
    lines = [line for group in groups for line in lines_of(group)]
    cells = [[cell for figure in FIGURES for cell in value_of(figure, line)] for line in lines]
    plain = [
        [getattr(cell, "value", cell) for cell in column] for column in zip(*cells, strict=True)
    ]
    return SqlTable("rows", ROW_COLUMNS, tuple(plain or [[] for _ in ROW_COLUMNS]))


def documented() -> str:
    """Return the manual's page of columns, in markdown."""
    parts = [_PAGE]
    for name, about, columns in (
        ("runs", "a row a run that is stored, whether it counts or not", RUN_COLUMNS),
        ("rows", "what `compare` shows, a row a task or text of each artifact", ROW_COLUMNS),
    ):
        lines = [f"## {name}: {about}", "", "| column | type | meaning |", "|---|---|---|"]
        lines += [f"| `{told.name}` | {told.type} | {told.meaning} |" for told in columns]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


_PAGE = """# The tables of `edgebench compare --sql`

What each column holds, in SI units; what is absent is null. Of one case's runs the newest counts,
and stands in `rows`. The code writes this page: `python -m edgebench.report.query_columns`."""

if __name__ == "__main__":
    sys.stdout.write(documented())

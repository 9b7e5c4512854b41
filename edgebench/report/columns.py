"""Every figure of a row, once: its column in a CSV file and, where it has one, in the main table.

To add a column, add a line to FIGURES. Knows how to read a figure and in which words it is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgebench.analyze.compare import Group
from edgebench.analyze.rows import Row, TaskFigures
from edgebench.records.accuracy import Divergence
from edgebench.records.base import Estimate
from edgebench.report.format import mebibytes, percent, plain, points, with_interval

SIGNS = {"derived": "≈", "estimated": "~"}


@dataclass(frozen=True)
class Line:
    """What a line tells of: a row of a group, and of its tasks and texts one each."""

    group: Group
    row: Row
    task: TaskFigures | None = None
    text: Divergence | None = None

    @property
    def is_baseline(self) -> bool:
        """Return whether the row is the one that others are held against."""
        return self.group.baseline is not None and self.group.baseline.content == self.row.content


@dataclass(frozen=True)
class Figure:
    """A column: its name in CSV (SI units), how it is read, and how a table shows it.

    `bounds` names the columns of an estimate's interval. `header` may name the {task} and the
    {baseline}; without one the figure is in CSV alone. The lowest `rank` is left out first where
    a terminal is narrow.
    """

    name: str
    read: Callable[[Line], object]
    bounds: str = ""
    header: str = ""
    cell: Callable[[Line], str] | None = None
    rank: int | None = None


def level_cell(line: Line) -> str:
    """Return the level with its marks; the format and the file beneath where levels are several."""
    rows = line.group.rows
    row = line.row
    marks = "*" * bool(row.artifact.requantized_from) + "†" * bool(row.artifact.fallback_tensors)
    cell = plain(row.level, 20) + marks
    if len({other.artifact.format for other in rows}) > 1:
        cell += f"\n{row.artifact.format}"
    same = [o for o in rows if (o.level, o.artifact.format) == (row.level, row.artifact.format)]
    return cell + (f"\n#{row.artifact.sha256[:6]}" if len(same) > 1 else "")


def _energy_cell(line: Line) -> str:
    energy = line.row.energy
    return SIGNS.get(energy.kind, "") + with_interval(energy.j_per_token) if energy else ""


def _ratio_cell(line: Line) -> str:
    if line.row.decode_ratio is None:
        return "baseline" if line.is_baseline and line.row.speed else ""
    return with_interval(line.row.decode_ratio.ratio)


def _difference_cell(line: Line) -> str:
    if line.is_baseline and line.task:
        return "baseline"
    return points(line.task.difference) if line.task else ""


def _file_cell(line: Line) -> str:
    artifact = line.row.artifact
    return f"{mebibytes(artifact.size_bytes)}\n{artifact.bits_per_weight:.2f} b/w"


FIGURES: tuple[Figure, ...] = (
    Figure("device", lambda it: it.row.device.name),
    Figure("board", lambda it: it.row.device.board),
    Figure("processor", lambda it: it.row.device.cpu),
    Figure("machine", lambda it: it.row.machine),
    Figure("setup", lambda it: it.row.setup),
    Figure("runtime", lambda it: it.row.runtime),
    Figure("threads", lambda it: it.row.threads),
    Figure("workload", lambda it: it.row.workload.name if it.row.workload else None),
    Figure("decode_from", lambda it: _decode_from(it.row)),
    Figure("model", lambda it: it.row.artifact.model),
    Figure("format", lambda it: it.row.artifact.format),
    Figure("level", lambda it: it.row.level, header="level", cell=level_cell),
    Figure("artifact", lambda it: it.row.artifact.name),
    Figure("sha256", lambda it: it.row.artifact.sha256),
    Figure("baseline", lambda it: it.group.baseline.artifact.name if it.group.baseline else None),
    Figure("newest", lambda it: it.row.newest),
    Figure("launches", lambda it: it.row.decode.n if it.row.decode else None),
    Figure(
        "size_bytes", lambda it: it.row.artifact.size_bytes, header="file", cell=_file_cell, rank=1
    ),
    Figure("bits_per_weight", lambda it: it.row.artifact.bits_per_weight),
    Figure(
        "prefill_tokens_per_s",
        lambda it: it.row.speed.prefill if it.row.speed else None,
        bounds="prefill",
        header="prefill\ntok/s",
        rank=3,
        cell=lambda it: with_interval(it.row.speed.prefill if it.row.speed else None),
    ),
    Figure(
        "decode_tokens_per_s",
        lambda it: it.row.decode,
        bounds="decode",
        header="decode\ntok/s",
        cell=lambda it: with_interval(it.row.decode),
        rank=9,
    ),
    Figure(
        "decode_ratio",
        lambda it: it.row.decode_ratio.ratio if it.row.decode_ratio else None,
        bounds="decode_ratio",
        header="times\n{baseline}",
        cell=_ratio_cell,
        rank=2,
    ),
    Figure(
        "decode_ratio_p_holm",
        lambda it: it.row.decode_ratio.p_holm if it.row.decode_ratio else None,
    ),
    Figure("ttft_s", lambda it: it.row.speed.ttft_s if it.row.speed else None, bounds="ttft"),
    Figure(
        "memory_bytes",
        lambda it: it.row.memory.total_bytes if it.row.memory else None,
        header="memory",
        rank=5,
        cell=lambda it: mebibytes(it.row.memory.total_bytes if it.row.memory else None),
    ),
    Figure("vram_bytes", lambda it: it.row.memory.vram_bytes if it.row.memory else None),
    Figure(
        "energy_j_per_token",
        lambda it: it.row.energy.j_per_token if it.row.energy else None,
        bounds="energy",
        header="energy\nJ/tok",
        cell=_energy_cell,
        rank=4,
    ),
    Figure("energy_kind", lambda it: it.row.energy.kind if it.row.energy else None),
    Figure("energy_source", lambda it: it.row.energy.source if it.row.energy else None),
    Figure("energy_boundary", lambda it: it.row.energy.boundary if it.row.energy else None),
    Figure("energy_reason", lambda it: it.row.energy_reason),
    Figure("task", lambda it: it.task.task if it.task else None),
    Figure("n", lambda it: it.task.n if it.task else None),
    Figure(
        "accuracy",
        lambda it: it.task.accuracy if it.task else None,
        bounds="accuracy",
        header="{task}\naccuracy",
        rank=7,
        cell=lambda it: percent(it.task.accuracy if it.task else None),
    ),
    Figure(
        "difference",
        lambda it: it.task.difference if it.task else None,
        bounds="difference",
        header="against\n{baseline}",
        cell=_difference_cell,
        rank=6,
    ),
    Figure("p_holm", lambda it: it.task.p_holm if it.task else None),
    Figure("margin", lambda it: it.task.margin if it.task else None),
    Figure("no_worse", lambda it: it.task.no_worse if it.task else None),
    Figure("items_needed", lambda it: it.task.items_needed if it.task else None),
    Figure("text", lambda it: it.text.text if it.text else None),
    Figure("mean_kld", lambda it: it.text.mean_kld if it.text else None, bounds="mean_kld"),
    Figure("p99_kld", lambda it: it.text.p99_kld if it.text else None),
    Figure("same_top", lambda it: it.text.same_top if it.text else None, bounds="same_top"),
    Figure("perplexity", lambda it: it.text.perplexity if it.text else None),
    Figure("bits_per_byte", lambda it: it.text.bits_per_byte if it.text else None),
    Figure("failures", lambda it: "; ".join(failed.words for failed in it.row.failures) or None),
)


def _decode_from(row: Row) -> int | None:
    if row.workload is None:
        return None
    return row.workload.depth + (row.workload.prompt_tokens if row.after_prompt else 0)


def value_of(figure: Figure, line: Line) -> list[object]:
    """Return a figure's cells in CSV: the value, and the ends of its interval where it has one."""
    value = figure.read(line)
    if not figure.bounds:
        return [value]
    if not isinstance(value, Estimate):
        return [None, None, None]
    return [value.value, value.low, value.high]


def names_of(figure: Figure) -> list[str]:
    """Return a figure's columns in CSV."""
    ends = [f"{figure.bounds}_low", f"{figure.bounds}_high"] if figure.bounds else []
    return [figure.name, *ends]

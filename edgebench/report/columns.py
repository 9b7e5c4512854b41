"""Every figure of a row, once: its column in a CSV file and, where it has one, in the main table.

To add a column, add a line to FIGURES. Knows how to read a figure and in which words it is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgebench.analyze.compare import Group
from edgebench.analyze.names import settings_apart
from edgebench.analyze.rows import Row, TaskFigures
from edgebench.records.accuracy import Divergence
from edgebench.records.base import Estimate, clean
from edgebench.report.format import broken, mebibytes, percent, points, with_interval

SIGNS = {"derived": "≈", "estimated": "~"}


@dataclass(frozen=True)
class Line:
    """What a line tells of: a row of a group, and of its tasks and texts one each."""

    group: Group
    row: Row
    task: TaskFigures | None = None
    text: Divergence | None = None


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
    cell = clean(row.level, 20) + marks
    if len({other.artifact.format for other in rows}) > 1:
        cell += f"\n{row.artifact.format}"
    same = {
        other.content
        for other in rows
        if (other.artifact.model, other.level, other.artifact.format)
        == (row.artifact.model, row.level, row.artifact.format)
    }
    return cell + (f"\n#{row.artifact.sha256[:6]}" if len(same) > 1 else "")


def model_cell(line: Line) -> str:
    """Return the model's name where a table has several, broken so that it is narrow."""
    if len(line.group.models) < 2:
        return ""
    return broken(clean(line.row.artifact.model, 60))


def _settings_cell(line: Line) -> str:
    return settings_apart(line.group.rows)[line.row.key].replace(", ", "\n")


def energy_cell(line: Line) -> str:
    energy = line.row.energy
    return SIGNS.get(energy.kind, "") + with_interval(energy.j_per_token) if energy else ""


def _ratio_cell(line: Line) -> str:
    if line.row.decode_ratio is None:
        return "baseline" if line.row.is_baseline and line.row.speed else ""
    return with_interval(line.row.decode_ratio.ratio)


def _difference_cell(line: Line) -> str:
    if line.row.is_baseline and line.task:
        return "baseline"
    return points(line.task.difference) if line.task else ""


def _file_cell(line: Line) -> str:
    artifact = line.row.artifact
    return f"{mebibytes(artifact.size_bytes)}\n{artifact.bits_per_weight:.2f} b/w"


FIGURES: tuple[Figure, ...] = (
    Figure("device", lambda line: line.row.device.name),
    Figure("board", lambda line: line.row.device.board),
    Figure("processor", lambda line: line.row.device.cpu),
    Figure("machine", lambda line: line.row.machine),
    Figure("setup", lambda line: line.row.setup),
    Figure("settings", lambda line: line.row.used),
    Figure("runtime", lambda line: line.row.runtime),
    Figure("threads", lambda line: line.row.threads),
    Figure("workload", lambda line: line.row.workload.name if line.row.workload else None),
    Figure("decode_from", lambda line: _decode_from(line.row)),
    Figure("model", lambda line: line.row.artifact.model, header="model", cell=model_cell),
    Figure("format", lambda line: line.row.artifact.format),
    Figure("level", lambda line: line.row.level, header="level", cell=level_cell),
    Figure("artifact", lambda line: line.row.artifact.name),
    Figure(
        "settings_apart",
        lambda line: settings_apart(line.group.rows)[line.row.key] or None,
        header="settings",
        cell=_settings_cell,
    ),
    Figure("sha256", lambda line: line.row.artifact.sha256),
    Figure("baseline", lambda line: line.row.baseline),
    Figure("newest", lambda line: line.row.newest),
    Figure("launches", lambda line: line.row.decode.n if line.row.decode else None),
    Figure(
        "size_bytes",
        lambda line: line.row.artifact.size_bytes,
        header="file",
        cell=_file_cell,
        rank=1,
    ),
    Figure("bits_per_weight", lambda line: line.row.artifact.bits_per_weight),
    Figure(
        "prefill_tokens_per_s",
        lambda line: line.row.speed.prefill if line.row.speed else None,
        bounds="prefill",
        header="prefill\ntok/s",
        rank=3,
        cell=lambda line: with_interval(line.row.speed.prefill if line.row.speed else None),
    ),
    Figure(
        "decode_tokens_per_s",
        lambda line: line.row.decode,
        bounds="decode",
        header="decode\ntok/s",
        cell=lambda line: with_interval(line.row.decode),
        rank=9,
    ),
    Figure(
        "decode_ratio",
        lambda line: line.row.decode_ratio.ratio if line.row.decode_ratio else None,
        bounds="decode_ratio",
        header="times\n{baseline}",
        cell=_ratio_cell,
        rank=2,
    ),
    Figure(
        "decode_ratio_p_holm",
        lambda line: line.row.decode_ratio.p_holm if line.row.decode_ratio else None,
    ),
    Figure("ttft_s", lambda line: line.row.speed.ttft_s if line.row.speed else None, bounds="ttft"),
    Figure(
        "memory_bytes",
        lambda line: line.row.memory.total_bytes if line.row.memory else None,
        header="memory",
        rank=5,
        cell=lambda line: mebibytes(line.row.memory.total_bytes if line.row.memory else None),
    ),
    Figure("vram_bytes", lambda line: line.row.memory.vram_bytes if line.row.memory else None),
    Figure(
        "energy_j_per_token",
        lambda line: line.row.energy.j_per_token if line.row.energy else None,
        bounds="energy",
        header="energy\nJ/tok",
        cell=energy_cell,
        rank=4,
    ),
    Figure("energy_kind", lambda line: line.row.energy.kind if line.row.energy else None),
    Figure("energy_source", lambda line: line.row.energy.source if line.row.energy else None),
    Figure("energy_boundary", lambda line: line.row.energy.boundary if line.row.energy else None),
    Figure("energy_reason", lambda line: line.row.energy_reason),
    Figure("task", lambda line: line.task.task if line.task else None),
    Figure("n", lambda line: line.task.n if line.task else None),
    Figure(
        "accuracy",
        lambda line: line.task.accuracy if line.task else None,
        bounds="accuracy",
        header="{task}\naccuracy",
        rank=7,
        cell=lambda line: percent(line.task.accuracy if line.task else None),
    ),
    Figure(
        "difference",
        lambda line: line.task.difference if line.task else None,
        bounds="difference",
        header="against\n{baseline}",
        cell=_difference_cell,
        rank=6,
    ),
    Figure("p_holm", lambda line: line.task.p_holm if line.task else None),
    Figure("margin", lambda line: line.task.margin if line.task else None),
    Figure("no_worse", lambda line: line.task.no_worse if line.task else None),
    Figure("items_needed", lambda line: line.task.items_needed if line.task else None),
    Figure("text", lambda line: line.text.text if line.text else None),
    Figure("mean_kld", lambda line: line.text.mean_kld if line.text else None, bounds="mean_kld"),
    Figure("p99_kld", lambda line: line.text.p99_kld if line.text else None),
    Figure("same_top", lambda line: line.text.same_top if line.text else None, bounds="same_top"),
    Figure("perplexity", lambda line: line.text.perplexity if line.text else None),
    Figure("bits_per_byte", lambda line: line.text.bits_per_byte if line.text else None),
    Figure(
        "failures", lambda line: "; ".join(failed.words for failed in line.row.failures) or None
    ),
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

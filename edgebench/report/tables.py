"""Make sections of groups of compared rows: facts, a verdict in plain words, tables, notes.

Knows groups and which tables they need. Draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from edgebench.analyze.baseline import Baseline
from edgebench.analyze.compare import Group
from edgebench.analyze.rows import TaskFigures
from edgebench.records.accuracy import Divergence
from edgebench.records.base import clean
from edgebench.report.columns import FIGURES, Line, level_cell, model_cell
from edgebench.report.content import Column, Section, Table
from edgebench.report.format import (
    DAY,
    counted,
    number,
    percent,
    point_words,
    points,
    with_interval,
)
from edgebench.report.notes import (
    answer_labels,
    group_notes,
    main_details,
    main_notes,
    rounded,
    task_details,
    task_notes,
    text_notes,
)
from edgebench.report.terminal import print_sections
from edgebench.report.verdicts import verdict

if TYPE_CHECKING:
    from rich.console import Console

VERDICTS = {"holds": "yes", "worse": "no", "open": "open", None: ""}


def sections(groups: Iterable[Group]) -> list[Section]:
    """Return a section for each group."""
    return [_section(group) for group in groups]


def print_groups(console: Console, groups: Iterable[Group], explain: bool = False) -> None:
    """Print a section for each group, with the statistics behind its figures where asked."""
    shown = sections(groups)
    print_sections(console, shown if explain else [section.brief() for section in shown])


def _section(group: Group) -> Section:
    return Section(
        title=_title(group),
        facts=tuple(_facts(group)),
        verdict=tuple(verdict(group)),
        tables=(
            *_main_table(group),
            *(_task_table(group, name) for name in group.tasks[1:]),
            *(_text_table(group, name) for name in group.texts),
        ),
        notes=tuple(group_notes(group)),
    )


def _title(group: Group) -> str:
    board = f" ({group.device.board})" if group.device.board else ""
    models = group.models[0] if len(group.models) == 1 else f"{len(group.models)} models"
    title = f"{models} on {group.device.name}{board}"
    if group.workload:
        work = group.workload
        depth = f" at depth {work.depth}" if work.depth else ""
        start = "after the prompt" if group.after_prompt else "from where the prompt starts"
        sizes = f"{work.prompt_tokens}+{work.generate_tokens} tokens{depth}"
        name = sizes if work.name[:1].isdigit() else f"{work.name}: {sizes}"
        title += f", {name}, decode {start}"
    return clean(title)


def _facts(group: Group) -> list[str]:
    """Say what was measured where, and what it is held against."""
    timed = [row for row in group.rows if row.speed]
    launches = sorted({row.decode.n for row in timed if row.decode})
    words = [group.device.cpu or "", group.setup, group.used]
    words += sorted(set(group.runtimes.values()))
    if launches:
        most = "1 launch" if launches[-1] == 1 else f"{launches[-1]} launches"
        words.append(most if len(launches) == 1 else f"{launches[0]} to {most}")
    words.append(group.newest[:DAY])
    facts = [clean("; ".join(word for word in words if word), 600)]
    told = {baseline.content: baseline for baseline in group.baselines.values()}
    return facts + [clean(_baseline_words(group, baseline), 600) for baseline in told.values()]


def _baseline_words(group: Group, baseline: Baseline) -> str:
    why = "as asked" if baseline.named else "the most bits a weight of those measured"
    if not baseline.named and baseline.artifact.format == "torch":
        why = "the checkpoint in torch"
    here = any(row.content == baseline.content for row in group.rows)
    elsewhere = "" if here else "; its own figures stand in another table"
    passed_over = "".join(f"; {reason}" for reason in baseline.passed_over)
    name = baseline.level if len(group.models) == 1 else baseline.artifact.name
    return f"Baseline: {name} ({why}{elsewhere}){passed_over}."


def _main_table(group: Group) -> list[Table]:
    """Return the table of speed, memory, energy and the first task; none where all is elsewhere."""
    name = group.tasks[0] if group.tasks else ""
    words = {"task": clean(name, 16), "baseline": clean(group.baseline_name, 24)}
    shown = [(figure, figure.cell) for figure in FIGURES if figure.header and figure.cell]
    lines = [Line(group, row, row.task(name)) for row in group.rows]
    rows = tuple(tuple(cell(line) for _, cell in shown) for line in lines)
    columns = tuple(Column(figure.header.format(**words), figure.rank) for figure, _ in shown)
    notes, details = tuple(main_notes(group)), tuple(main_details(group))
    table = Table("", columns, rows, notes, details).filled()
    told = {column.name for column in table.columns} - {"model", "level", "settings", "file"}
    return [table] if told or not group.texts else []


def _task_table(group: Group, name: str) -> Table:
    tasks = [(row, task) for row in answer_labels(group.rows).values() if (task := row.task(name))]
    margin = next((task.margin for _, task in tasks if task.margin is not None), group.margin)
    columns = (
        Column("model"),
        Column("level"),
        Column("right", 3),
        Column(f"against\n{clean(group.baseline_name, 24)}", 4),
        Column("p\n(Holm)", 1),
        Column(f"loses at most\n{point_words(margin)}", 2),
    )
    rows = tuple(_task_cells(Line(group, row, task), task) for row, task in tasks)
    notes, details = task_notes(group.rows, name), task_details(group.rows, name)
    return Table(clean(name, 60), columns, rows, tuple(notes), tuple(details))


def _task_cells(line: Line, task: TaskFigures) -> tuple[str, ...]:
    right = (model_cell(line), level_cell(line), percent(task.accuracy))
    if line.row.is_baseline:
        return (*right, "baseline", "", "")
    p_value = "" if task.p_holm is None else f"{task.p_holm:.2g}"
    return (*right, points(task.difference), p_value, _verdict_cell(task))


def _verdict_cell(task: TaskFigures) -> str:
    word = VERDICTS[task.no_worse]
    if task.race:
        return f"{word}\nraced, {task.race.items}"
    if task.no_worse == "open" and task.items_needed:
        return f"{word}\n+{counted(rounded(task.items_needed), 'item')}"
    return word


def _text_table(group: Group, name: str) -> Table:
    columns = (
        Column("model"),
        Column("level"),
        Column("KL divergence\nnats a token", 6),
        Column("p99", 2),
        Column("same top\ntoken", 3),
        Column("perplexity", 4),
        Column("bits a\nbyte", 1),
    )
    answered = answer_labels(group.rows).values()
    told = [(row, far) for row in answered for far in row.divergences if far.text == name]
    rows = tuple(
        (model_cell(Line(group, row)), level_cell(Line(group, row)), *_distances(far))
        for row, far in told
    )
    return Table(clean(name, 60), columns, rows, tuple(text_notes(told)))


def _distances(divergence: Divergence) -> tuple[str, ...]:
    far = divergence.mean_kld is not None
    return (
        with_interval(divergence.mean_kld) if far else "reference",
        number(divergence.p99_kld) if divergence.p99_kld is not None else "",
        percent(divergence.same_top) if far else "",
        number(divergence.perplexity) if divergence.perplexity is not None else "",
        f"{divergence.bits_per_byte:.4f}",
    )

"""Find the run that a row's speed is from, for what only a run holds: tokens, readings, clocks.

Knows rows and runs, and that of several runs of one case the newest counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from edgebench.analyze.names import labels_of, settings_apart
from edgebench.analyze.rows import Row
from edgebench.analyze.setups import Job, placed
from edgebench.records.base import clean
from edgebench.records.run import Run
from edgebench.report.format import broken
from edgebench.run.heads import seen_of

LABEL = 26  # characters of a line
Place = tuple[object, ...]
Measured = Mapping[Place, Run]


def measured(runs: Iterable[Run]) -> Measured:
    """Return the newest good run of each case of speed, by where its row stands."""
    newest: dict[Place, Run] = {}
    for held in placed(seen_of(runs)):
        run, setup = held.seen.load(), held.setup
        if run.status != "ok" or run.workload is None or run.speed is None:
            continue
        machine = (held.machine, run.device.name, run.device.board)
        set_to = (setup.conditions, setup.settings, setup.runtime, setup.cache)
        job = Job.of(run.workload, held.after_prompt)
        place = (*machine, *set_to, held.content, job)
        newest[place] = run
    return newest


def run_of(row: Row, runs: Measured) -> Run | None:
    """Return the run that a row's speed is from."""
    if row.workload is None or row.speed is None:
        return None
    machine = (row.machine, row.device.name, row.device.board)
    set_to = (row.setup, row.used, row.runtime, row.cache)
    return runs.get((*machine, *set_to, row.content, Job.of(row.workload, row.after_prompt)))


def row_labels(rows: Sequence[Row], named: bool = True) -> dict[str, str]:
    """Return a label for each row by its key, on a line or a few: model, level, settings.

    The format and the start of the file's sum are there where it takes them to tell two apart;
    the model where there are several, unless it is `named` elsewhere.
    """
    models = named and len({row.artifact.model for row in rows}) > 1
    formats = len({row.artifact.format for row in rows}) > 1
    settings, short = settings_apart(rows), labels_of(rows)
    times = Counter(row.content for row in rows)
    alike: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        alike.setdefault((short[row.key], row.artifact.format), set()).add(row.content)
    labels = {}
    for row in rows:
        words = [clean(row.level, 24)] + [row.artifact.format] * formats
        if len(alike[short[row.key], row.artifact.format]) > 1:
            words.append(f"#{clean(row.artifact.sha256, 6)}")
        lines = [broken(clean(row.artifact.model, 60), LABEL)] if models else []
        lines.append(" ".join(words))
        if times[row.content] > 1 and settings[row.key]:
            set_to = f"({clean(settings[row.key], 60)})"
            fits = len(lines[-1]) + len(set_to) < LABEL
            lines[-1] += (" " if fits else "\n") + set_to
        labels[row.key] = "\n".join(lines)
    return labels

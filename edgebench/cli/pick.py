"""`edgebench pick`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.common import BYTES, JOULES, LOSS, NATS, RATE, SECONDS, common

if TYPE_CHECKING:
    from edgebench.analyze.choosing import Objective
    from edgebench.analyze.compare import Group
    from edgebench.analyze.constraints import Constraints


@dataclass(frozen=True)
class Options:
    """What was typed."""

    paths: tuple[Path, ...]
    device: str
    workload: str | None
    tasks: tuple[str, ...]
    baseline: str | None
    objective: Objective
    as_json: bool
    max_memory: float | None
    min_decode: float | None
    max_ttft: float | None
    max_energy: float | None
    max_accuracy_loss: float | None
    max_divergence: float | None

    @property
    def constraints(self) -> Constraints:
        """Return the limits that were typed."""
        from edgebench.analyze.constraints import Constraints

        return Constraints(
            max_memory_bytes=self.max_memory,
            min_decode_tokens_per_s=self.min_decode,
            max_ttft_s=self.max_ttft,
            max_energy_j=self.max_energy,
            max_accuracy_loss=self.max_accuracy_loss,
            max_divergence=self.max_divergence,
        )


@click.command("pick")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--device", required=True, help="The device to pick for.")
@click.option("--workload", help="The workload whose speed counts, where several are stored.")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="NAME",
    help="A task whose accuracy counts; may be given several times; all by default.",
)
@click.option(
    "--max-memory",
    type=BYTES,
    help="Weights, KV cache, buffers and the GPU's memory together, such as 6GiB.",
)
@click.option("--min-decode", type=RATE, help="Generated tokens per second.")
@click.option("--max-ttft", type=SECONDS, help="Time to first token, such as 2s or 300ms.")
@click.option("--max-energy", type=JOULES, help="Joules per generated token, such as 0.5J.")
@click.option("--max-accuracy-loss", type=LOSS, help="Loss against the baseline, such as 1%.")
@click.option(
    "--max-divergence", type=NATS, help="Mean KL divergence from the reference, in nats a token."
)
@click.option("--baseline", metavar="LEVEL", help="The level that loss is counted from.")
@click.option(
    "--objective",
    type=click.Choice(["decode", "energy", "memory", "accuracy"]),
    default="decode",
    show_default=True,
    help="What to have the most (or least) of.",
)
@common
def command(**typed: Any) -> int:
    """Pick the level that fits your constraints, or say that the evidence doesn't decide.

    A constraint holds where it is shown to hold; a level that failed is rejected. Exit code 0:
    picked; 5: nothing fits; 6: undecided, with what to type next.

    \b
    Examples:
      edgebench pick --device cpu --min-decode 20 --max-accuracy-loss 5%
      edgebench pick --device cpu --max-memory 300MiB --objective accuracy
    """
    from edgebench.analyze.compare import compare
    from edgebench.analyze.pick import pick
    from edgebench.cli.stored import stored_rows

    options = Options(**typed)
    groups = compare(stored_rows(options.paths, [options.device]), options.baseline)
    chosen = newest_groups(groups, options.workload)
    decision = pick(chosen, options.constraints, options.objective, options.tasks)
    if options.as_json:
        click.echo(decision.model_dump_json())
    else:
        from edgebench.report.picks import pick_lines

        for line in pick_lines(decision):
            click.echo(line)
    return {"picked": 0, "none": 5, "undecided": 6}[decision.decision]


def newest_groups(groups: Sequence[Group], workload: str | None) -> list[Group]:
    """Take each device's newest group of the workload that has a good run; say what was left."""
    from edgebench.errors import UsageError, nearest

    names = sorted({group.workload.name for group in groups if group.workload})
    if workload is not None and workload not in names:
        raise UsageError(f"no runs of workload {workload!r}", hint=nearest(workload, names))
    fitting = [group for group in groups if workload in (None, group.workload_name)]
    fitting = [group for group in fitting if group.newest] or fitting
    if names and workload is None:
        fitting = [group for group in fitting if group.workload] or fitting
    workloads = sorted({group.workload.name for group in fitting if group.workload})
    if len(workloads) > 1:
        raise UsageError(
            f"runs of {len(workloads)} workloads are stored: {', '.join(workloads)}",
            hint=f"add --workload {workloads[0]}",
        )
    newest: dict[str, Group] = {}
    for group in sorted(fitting, key=lambda group: group.newest):
        newest[group.device.name] = group
    for group in fitting:
        chosen = newest[group.device.name]
        if group is not chosen:
            click.echo(f"not considered: {_where(group)}; {_where(chosen)} is newer", err=True)
    return list(newest.values())


def _where(group: Group) -> str:
    """Name a group's set-up, builds and date."""
    from edgebench.report.format import DAY, plain

    words = [group.device.cpu or "", group.setup, group.used]
    words += sorted(set(group.runtimes.values()))
    if group.workload and not group.after_prompt:
        words.append("decode from where the prompt starts, as before 0.2")
    words = [word for word in words if word]
    return plain(f"runs of {group.newest[:DAY]} ({'; '.join(words)})")

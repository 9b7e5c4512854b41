"""`edgebench pick`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.common import BYTES, JOULES, LOSS, NATS, RATE, SECONDS, common, strict_option

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
    strict: bool
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
@strict_option
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
    from edgebench.cli.stored import as_json, stored_rows

    options = Options(**typed)
    stored = stored_rows(options.paths, options.device, options.strict)
    groups = compare(stored.rows, options.baseline)
    group = one_group(groups, options.workload)
    decision = pick(group, options.constraints, options.objective, options.tasks)
    if options.as_json:
        told = decision.model_dump(mode="json") | {"passed_over": stored.left_out.as_json()}
        click.echo(as_json(told))
    else:
        from edgebench.report.picks import pick_lines

        for line in pick_lines(decision):
            click.echo(line)
    return {"picked": 0, "none": 5, "undecided": 6}[decision.decision]


def one_group(groups: Sequence[Group], workload: str | None) -> Group:
    """Take the newest group of the workload that has a good run; say what was left aside."""
    from edgebench.errors import UsageError, nearest

    names = sorted({group.workload.name for group in groups if group.workload})
    if workload is not None and workload not in names:
        raise UsageError(f"no runs of workload {workload!r}", hint=nearest(workload, names))
    fitting = [group for group in groups if workload in (None, group.workload_name)]
    fitting = [group for group in fitting if group.newest] or fitting
    if names and workload is None:
        fitting = [group for group in fitting if group.workload] or fitting
    _refuse_several(fitting)
    newest = max(fitting, key=lambda group: group.newest)
    for group in fitting:
        if group is not newest:
            click.echo(f"not considered: {_where(group)}; {_where(newest)} is newer", err=True)
    return newest


def _refuse_several(groups: Sequence[Group]) -> None:
    """Raise UsageError where it isn't clear which model or workload is meant."""
    import shlex

    from edgebench.errors import UsageError
    from edgebench.records.base import safe_name

    models = sorted({group.model for group in groups})
    if len(models) > 1:
        first = next(group for group in groups if group.model == models[0])
        file = Path("profiles") / safe_name(first.device.name) / f"{safe_name(models[0])}.jsonl"
        raise UsageError(
            f"runs of {len(models)} models are stored: {', '.join(models)}",
            hint="name the file of one of them: edgebench pick "
            f"{shlex.quote(str(file))} --device {first.device.name}",
        )
    workloads = sorted({group.workload.name for group in groups if group.workload})
    if len(workloads) > 1:
        raise UsageError(
            f"runs of {len(workloads)} workloads are stored: {', '.join(workloads)}",
            hint=f"add --workload {workloads[0]}",
        )


def _where(group: Group) -> str:
    """Name a group's set-up, builds and date."""
    from edgebench.records.base import clean
    from edgebench.report.format import DAY

    words = [group.device.cpu or "", group.setup, *sorted(set(group.runtimes.values()))]
    if group.workload and not group.after_prompt:
        words.append("decode from where the prompt starts, as before 0.2")
    words = [word for word in words if word]
    return clean(f"runs of {group.newest[:DAY]} ({'; '.join(words)})")

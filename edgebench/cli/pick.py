"""`edgebench pick`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.common import (
    BYTES,
    JOULES,
    LATENCY,
    LEAST_RIGHT,
    LOSS,
    NATS,
    RATE,
    SECONDS,
    SPAN,
    common,
    strict_option,
)

if TYPE_CHECKING:
    from edgebench.analyze.compare import Group
    from edgebench.analyze.constraints import Constraints
    from edgebench.analyze.decision import Pick
    from edgebench.analyze.rows import Row

CODES = {"picked": 0, "none": 5, "undecided": 6}


@dataclass(frozen=True)
class Options:
    """What was typed."""

    paths: tuple[Path, ...]
    devices: tuple[str, ...]
    workload: str | None
    tasks: tuple[str, ...]
    baseline: str | None
    objective: str
    as_json: bool
    explain: bool
    strict: bool
    measure: bool
    budget: float | None
    max_memory: float | None
    max_size: float | None
    min_decode: float | None
    min_prefill: float | None
    max_ttft: float | None
    max_latency: tuple[tuple[str, float], ...]
    max_energy: float | None
    max_accuracy_loss: float | None
    min_accuracy: tuple[tuple[str, float], ...]
    max_divergence: float | None

    @property
    def constraints(self) -> Constraints:
        """Return the limits that were typed. Raises UsageError where one is there twice."""
        from edgebench.analyze.constraints import Constraints

        return Constraints.model_validate(
            {
                "max_memory_bytes": self.max_memory,
                "max_size_bytes": self.max_size,
                "min_decode_tokens_per_s": self.min_decode,
                "min_prefill_tokens_per_s": self.min_prefill,
                "max_ttft_s": self.max_ttft,
                "max_latency_s": _by_name(self.max_latency, "--max-latency"),
                "max_energy_j": self.max_energy,
                "max_accuracy_loss": self.max_accuracy_loss,
                "min_accuracy": _by_name(self.min_accuracy, "--min-accuracy"),
                "max_divergence": self.max_divergence,
            }
        )


def _by_name(typed: Sequence[tuple[str, float]], option: str) -> dict[str, float]:
    from edgebench.errors import UsageError

    limits = dict(typed)
    if len(limits) < len(typed):
        names = [name for name, _ in typed]
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{option} {twice} is there twice", hint="name each once")
    return limits


@click.command("pick")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--device",
    "devices",
    required=True,
    multiple=True,
    metavar="NAME",
    help="The device to pick for, or a family of boards; given several times, the best of them.",
)
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
@click.option("--max-size", type=BYTES, help="The artifact's files, such as 300MiB.")
@click.option("--min-decode", type=RATE, help="Generated tokens per second.")
@click.option("--min-prefill", type=RATE, help="Prompt tokens read per second.")
@click.option("--max-ttft", type=SECONDS, help="Time to first token, such as 2s or 300ms.")
@click.option(
    "--max-latency",
    type=LATENCY,
    multiple=True,
    metavar="p99=TIME",
    help="A generated token's p50, p95 or p99, such as p99=200ms; may be given several times.",
)
@click.option("--max-energy", type=JOULES, help="Joules per generated token, such as 0.5J.")
@click.option("--max-accuracy-loss", type=LOSS, help="Loss against the baseline, such as 1%.")
@click.option(
    "--min-accuracy",
    type=LEAST_RIGHT,
    multiple=True,
    metavar="TASK=SHARE",
    help="The share of a task to get right, such as arc_easy=60%; may be given several times.",
)
@click.option(
    "--max-divergence", type=NATS, help="Mean KL divergence from the reference, in nats a token."
)
@click.option("--baseline", metavar="LEVEL", help="The level that loss is counted from.")
@click.option(
    "--objective",
    default="decode",
    show_default=True,
    metavar="NAME[=WEIGHT],...",
    help="What to have the most (or least) of: decode, prefill, energy, memory, accuracy, or "
    "several with weights, such as decode=2,energy=1.",
)
@click.option("--explain", is_flag=True, help="Print every figure behind the decision.")
@strict_option
@click.option(
    "--measure", is_flag=True, help="Measure on this machine what would decide, until it does."
)
@click.option(
    "--budget", type=SPAN, metavar="TIME", help="How long --measure may take; 20min by default."
)
@common
def command(**typed: Any) -> int:
    """Pick the model, level and settings that keep your limits, and say why and how to run it.

    A limit is kept where that is shown; what failed is out. Exit code 0: picked; 5: nothing fits;
    6: the evidence doesn't decide, with what to type next.

    \b
    Examples:
      edgebench pick --device cpu --min-decode 20 --max-accuracy-loss 5%
      edgebench pick --device cpu --max-memory 300MiB --objective accuracy
      edgebench pick --device cpu --max-ttft 2s --objective decode=2,energy=1
    """
    from edgebench.cli import measuring
    from edgebench.cli.stored import as_json, stored_rows
    from edgebench.errors import UsageError

    options = Options(**typed)
    if options.measure:
        budget_s = measuring.DEFAULT_S if options.budget is None else options.budget
        if options.budget is None:
            click.echo("budget: 20 min; --budget 5min changes that", err=True)
        wanted = measuring.Wanted(options.paths, options.devices, budget_s, options.strict)
        done = measuring.measure_and_decide(partial(_ask, options), wanted)
        measuring.show(done, options.as_json, options.explain)
        return measuring.INTERRUPTED if done.stopped == "interrupted" else CODES[done.pick.decision]
    if options.budget is not None:
        raise UsageError("--budget goes with --measure", hint="add --measure")
    stored = stored_rows(options.paths, options.devices, options.strict)
    _, decision = _ask(options, stored.rows)
    decision = measuring.advise_output(decision, options.paths)
    if options.as_json:
        told = decision.model_dump(mode="json") | {"passed_over": stored.left_out.as_json()}
        click.echo(as_json(told))
    else:
        from edgebench.report.picks import pick_lines

        for line in pick_lines(decision, options.explain):
            click.echo(line)
    return CODES[decision.decision]


def _ask(options: Options, rows: Sequence[Row], looks: int = 1) -> tuple[Sequence[Group], Pick]:
    """Pick from rows; `looks` is how often their launches are looked at as they grow."""
    from edgebench.analyze.compare import compare
    from edgebench.analyze.pick import pick

    tables = compare(rows, options.baseline)
    groups = newest_groups(tables, options.workload, quiet=looks > 1)  # asked again and again
    told = pick(groups, options.constraints, options.objective, options.tasks, looks=looks)
    return groups, told


def newest_groups(
    groups: Sequence[Group], workload: str | None, quiet: bool = False
) -> list[Group]:
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
        if group is not chosen and not quiet:
            click.echo(f"not considered: {_where(group)}; {_where(chosen)} is newer", err=True)
    return list(newest.values())


def _where(group: Group) -> str:
    """Name a group's set-up, builds and date."""
    from edgebench.records.base import clean
    from edgebench.report.format import DAY

    words = [group.device.cpu or "", group.setup, group.used]
    words += sorted(set(group.runtimes.values()))
    if group.workload and not group.after_prompt:
        words.append("decode from where the prompt starts, as before 0.2")
    words = [word for word in words if word]
    return clean(f"runs of {group.newest[:DAY]} ({'; '.join(words)})")

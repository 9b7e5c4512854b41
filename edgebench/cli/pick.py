"""`edgebench pick`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgebench.cli.common import BYTES, JOULES, RATE, SECONDS, SHARE, common

if TYPE_CHECKING:
    from edgebench.analyze.compare import Group
    from edgebench.analyze.pick import Pick


@click.command("pick")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--device", required=True, help="The device to pick for.")
@click.option("--workload", help="The workload whose speed counts, where several are stored.")
@click.option("--max-memory", type=BYTES, help="Peak memory of the process, such as 6GiB.")
@click.option("--min-decode", type=RATE, help="Generated tokens per second.")
@click.option("--max-ttft", type=SECONDS, help="Time to first token, such as 2s or 300ms.")
@click.option("--max-energy", type=JOULES, help="Joules per generated token, such as 0.5J.")
@click.option("--max-accuracy-loss", type=SHARE, help="Loss against the baseline, such as 1%.")
@click.option("--baseline", help="The level that loss is counted from.")
@click.option(
    "--objective", type=click.Choice(["decode", "energy", "memory", "accuracy"]),
    default="decode", show_default=True, help="What to have the most (or least) of.",
)  # fmt: skip
@common
def command(
    paths: tuple[Path, ...],
    device: str,
    workload: str | None,
    baseline: str | None,
    objective: Literal["decode", "energy", "memory", "accuracy"],
    as_json: bool,
    **limits: float | None,
) -> int:
    """Pick the artifact that fits your constraints, or say that the evidence does not decide.

    A constraint holds where the whole interval holds it. Exit code 0: picked; 5: nothing fits;
    6: undecided, with what to measure next.

    \b
    Examples:
      edgebench pick --device cpu --min-decode 20 --max-accuracy-loss 5%
      edgebench pick --device cpu --max-memory 300MiB --objective accuracy
    """
    from edgebench.analyze.compare import compare
    from edgebench.analyze.pick import Constraints, pick
    from edgebench.cli.stored import stored_rows

    group = _one_group(compare(stored_rows(paths, device), baseline), workload)
    constraints = Constraints(
        max_memory_bytes=limits["max_memory"],
        min_decode_tokens_per_s=limits["min_decode"],
        max_ttft_s=limits["max_ttft"],
        max_energy_j=limits["max_energy"],
        max_accuracy_loss=limits["max_accuracy_loss"],
    )
    decision = pick(group.rows, constraints, objective)
    if as_json:
        click.echo(decision.model_dump_json())
    else:
        _print(decision)
    return {"picked": 0, "none": 5, "undecided": 6}[decision.decision]


def _one_group(groups: list[Group], workload: str | None) -> Group:
    """Take the newest group of the workload; say what was left aside."""
    from edgebench.errors import UsageError, nearest

    names = sorted({group.workload for group in groups if group.workload})
    if workload is not None and workload not in names:
        raise UsageError(f"no runs of workload {workload!r}", hint=nearest(workload, names))
    if workload is None and len(names) > 1:
        raise UsageError(
            f"runs of {len(names)} workloads are stored", hint=f"add --workload {names[0]}"
        )
    fitting = [group for group in groups if workload is None or group.workload == workload]
    models = sorted({group.model for group in fitting})
    if len(models) > 1:
        raise UsageError(
            f"runs of {len(models)} models are stored: {', '.join(models)}",
            hint="name one model's file of runs, profiles/<device>/<model>.jsonl",
        )
    newest = max(fitting, key=lambda group: max(row.newest for row in group.rows))
    if len(fitting) > 1:
        click.echo(
            f"taking the newest of {len(fitting)} set-ups ({newest.setup or 'defaults'}); "
            "runs of others are not pooled with it",
            err=True,
        )
    return newest


def _print(decision: Pick) -> None:
    from edgebench.report.picks import pick_lines

    for line in pick_lines(decision):
        click.echo(line)

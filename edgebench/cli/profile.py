"""`edgebench profile`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.common import SHARE, common, devices_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgebench.plan.cases import Case
    from edgebench.records.artifact import Artifact
    from edgebench.records.run import Run
    from edgebench.records.settings import Settings
    from edgebench.records.task import Task, TextTask
    from edgebench.run.store import Store


@dataclass(frozen=True)
class Options:
    """What was typed."""

    artifacts: tuple[Path, ...]
    device: str
    workload: str
    tasks: str
    include: Path | None
    race: bool
    tolerance: float | None
    repetitions: int
    changes: tuple[str, ...]
    meters: tuple[str, ...]
    output: Path
    dry_run: bool
    resume: bool
    timeout: float
    registry: Path | None
    as_json: bool


@click.command("profile")
@click.argument("artifacts", nargs=-1, type=click.Path(path_type=Path))
@click.option("--device", required=True, help="A device of edgebench devices: cpu, jetson, ...")
@click.option(
    "--workload", default="chat", show_default=True,
    help="A name, prompt+generated@depth such as 512+128@4096, or none.",
)  # fmt: skip
@click.option(
    "--tasks", default="basics", show_default=True,
    help="basics, divergence, task files, lm_eval:NAME, with commas between them, or none.",
)  # fmt: skip
@click.option(
    "--include", type=click.Path(path_type=Path, file_okay=False),
    help="A folder of lm-evaluation-harness task files, for lm_eval:NAME.",
)  # fmt: skip
@click.option(
    "--race", is_flag=True,
    help="Stop a level's accuracy task once it is clearly within or outside the tolerance.",
)  # fmt: skip
@click.option("--tolerance", type=SHARE, help="How much accuracy a level may lose in a race: 1%.")
@click.option(
    "--repetitions", type=click.IntRange(1, 1000), default=5, show_default=True,
    help="How often each workload is timed.",
)  # fmt: skip
@click.option(
    "--set", "changes", multiple=True, metavar="NAME=VALUE",
    help="A runtime setting: threads, gpu_layers, batch, micro_batch, flash_attention, kv_type, "
    "load_mode.",
)  # fmt: skip
@click.option(
    "--meter", "meters", multiple=True, metavar="NAME",
    help="A power meter: ina, pmic, rapl, nvml, battery, hwmon, \"command:PROGRAM\", "
    "estimate:15W or none; all that answer by default.",
)  # fmt: skip
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("profiles"),
    show_default=True, help="Runs are appended to <output>/<device>/*.jsonl.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the cases and about how long they take.")
@click.option(
    "--resume/--no-resume", default=True, help="Skip what is stored already, or measure it again."
)
@click.option(
    "--timeout", type=click.FloatRange(1), default=900.0, show_default=True,
    help="Seconds without a sign of life after which a case is given up.",
)  # fmt: skip
@devices_option
@common
def command(**typed: Any) -> int:
    """Measure artifacts on a device: speed, memory, energy and accuracy.

    ARTIFACTS are artifact folders, folders of them, or bare .gguf files. With none, the bundled
    model (SmolLM2-135M-Instruct) is taken and a ladder of its levels made in the cache.

    \b
    Examples:
      edgebench profile --device cpu
      edgebench profile artifacts --device cpu --workload rag --tasks none
      edgebench profile m-q4_0.gguf --device cpu --set threads=4
    """
    from edgebench.plan.devices import load_registry
    from edgebench.run.store import Store

    options = Options(**typed)
    registry = load_registry(options.registry)
    device = registry.resolve(options.device)
    settings = _settings(registry.devices[device].settings, options.changes)
    cases = _plan(options, device, settings)
    store = Store(options.output, device)
    stored = _stored(store, cases) if options.resume else {}
    todo = [case for case in cases if _id(case) not in stored]
    if options.dry_run:
        return _show_plan(cases, todo, options.as_json)
    runs = _measure(options, store, device, todo, stored) if todo else []
    return _show([*stored.values(), *runs], len(stored), device, options)


def _settings(base: Settings, changes: Sequence[str]) -> Settings:
    """Return the device's settings with those typed on top."""
    from pydantic import ValidationError

    from edgebench.errors import UsageError, nearest
    from edgebench.records.settings import Settings

    fields: dict[str, object] = base.model_dump()
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or name not in fields:
            raise UsageError(f"unknown setting {change!r}", hint=nearest(name, fields))
        fields[name] = value
    try:
        return Settings.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(
            f"--set {first['loc'][0]}={first['input']}: {first['msg']}",
            hint="edgebench profile --help names the settings",
        ) from None


def _plan(options: Options, device: str, settings: Settings) -> list[Case]:
    from edgebench.device.meters import AUTO, check_names
    from edgebench.errors import UsageError
    from edgebench.plan.cases import Case, parse_workload
    from edgebench.records.formats import FORMATS

    workload = parse_workload(options.workload, options.repetitions)
    tasks = _tasks(options)
    if workload is None and not tasks:
        raise UsageError("nothing to measure", hint="give a --workload, or --tasks basics")
    meters = options.meters or AUTO
    check_names(meters)
    cases = []
    artifacts = _artifacts(options.artifacts)
    for artifact in artifacts:
        runtime = FORMATS[artifact.format]
        if workload:
            case = Case(artifact, device, runtime, settings, workload=workload, meters=meters)
            cases.append(case)
        for task in tasks:
            case = Case(artifact, device, runtime, settings, task=task)
            cases.append(_held_against(case, artifacts, options.tolerance))
    return cases


def _tasks(options: Options) -> list[Task | TextTask]:
    """Load what --tasks names; raise UsageError where --race and --tolerance do not go together."""
    from edgebench.errors import UsageError
    from edgebench.tasks.load import load_task

    if options.race != (options.tolerance is not None):
        raise UsageError(
            "a race needs a tolerance, and a tolerance a race", hint="type --race --tolerance 1%"
        )
    if options.tolerance is not None and not 0 <= options.tolerance < 1:
        raise UsageError("a tolerance is less than 100 %", hint="type --tolerance 1%")
    names = [] if options.tasks == "none" else options.tasks.split(",")
    tasks = [load_task(_built(name.strip(), options.include)) for name in names]
    known = [task.name for task in tasks]
    twice = next((name for name in known if known.count(name) > 1), None)
    if twice:
        raise UsageError(f"two tasks have the name {twice!r}", hint="give each its own name:")
    return tasks


def _built(name: str, include: Path | None) -> str:
    """Return the task file of lm_eval:NAME, built where it is not there yet, or the name itself."""
    prefix = "lm_eval:"
    if not name.startswith(prefix):
        return name
    from platformdirs import user_cache_path

    from edgebench.lm_eval.build import cached

    return str(cached(name.removeprefix(prefix), user_cache_path("edgebench") / "tasks", include))


def _held_against(case: Case, artifacts: Sequence[Artifact], tolerance: float | None) -> Case:
    """Give a case its model's reference, where the task needs one."""
    from dataclasses import replace

    from edgebench.errors import UsageError
    from edgebench.plan.cases import reference_of
    from edgebench.records.task import TextTask

    if tolerance is None and not isinstance(case.task, TextTask):
        return case
    family = [one for one in artifacts if one.model == case.artifact.model]
    if len(family) < 2 and tolerance is not None:
        raise UsageError(
            f"a race of {case.artifact.model} needs two levels", hint="name more artifacts"
        )
    against = replace(case, reference=reference_of(family))
    if isinstance(case.task, TextTask):
        return against
    return replace(against, tolerance=tolerance, rivals=len(family) - 1)


def _artifacts(paths: Sequence[Path]) -> list[Artifact]:
    from edgebench.sources.artifacts import find_artifacts

    if paths:
        return find_artifacts(paths)
    from edgebench.cli.progress import bar
    from edgebench.cli.quantize import describe
    from edgebench.convert.bundled import bundled_ladder

    with bar() as shown:
        return bundled_ladder(shown.say, shown.at, lambda artifact: shown.say(describe(artifact)))


def _stored(store: Store, cases: Sequence[Case]) -> dict[str, Run]:
    """Return the good runs of these cases that are stored already, by case id."""
    from edgebench.run.store import read_runs

    wanted = {_id(case) for case in cases}
    paths = [store.folder] if store.folder.exists() else []
    return {
        run.case_id: run for run in read_runs(paths) if run.status == "ok" and run.case_id in wanted
    }


def _measure(
    options: Options, store: Store, device: str, todo: list[Case], stored: dict[str, Run]
) -> list[Run]:
    from platformdirs import user_cache_path

    from edgebench.cli.progress import SweepProgress, bar
    from edgebench.plan.cases import estimate_s
    from edgebench.plan.devices import this_device
    from edgebench.run.sweep import Sweep
    from edgebench.run.transports.local import LocalTransport

    store.prepare()
    with bar() as shown:
        sweep = Sweep(
            transport=LocalTransport(user_cache_path("edgebench") / "logs"),
            store=store,
            device=this_device(device),
            observer=SweepProgress(shown, {case.label: estimate_s(case) for case in todo}),
            timeout_s=options.timeout,
            stored=stored,
        )
        return sweep.run(todo)


def _show_plan(cases: Sequence[Case], todo: Sequence[Case], as_json: bool) -> int:
    import json

    from edgebench.plan.cases import estimate_s
    from edgebench.report.format import duration, mebibytes, plain

    if as_json:
        entries = [
            {
                "case_id": _id(case),
                "artifact": case.artifact.name,
                "what": case.label,
                "stored": case not in todo,
                "estimate_s": round(estimate_s(case), 1),
            }
            for case in cases
        ]
        memory = [
            {"model": name, "weights_bytes": size, "kv_cache_bytes": table}
            for name, size, table in _memory(cases)
        ]
        click.echo(json.dumps({"cases": entries, "memory": memory}))
        return 0
    for case in cases:
        state = f"about {duration(estimate_s(case))}" if case in todo else "stored already"
        click.echo(plain(f"{case.artifact.name:<36} {case.label:<20} {state}"))
    for name, size, table in _memory(cases):
        line = ", ".join(f"{count}: {mebibytes(held)}" for count, held in table.items())
        click.echo(plain(f"{name}: weights {mebibytes(size)}; KV cache by context: {line}", 400))
    total = sum(estimate_s(case) for case in todo)
    click.echo(f"{len(todo)} of {len(cases)} cases to measure, about {duration(total)}")
    return 0


def _memory(cases: Sequence[Case]) -> list[tuple[str, int, dict[int, int]]]:
    """Return each artifact's weights and the bytes of its KV cache by context."""
    from edgebench.sources.kv_cache import kv_table

    artifacts = {case.artifact.name: case for case in cases}
    return [
        (name, case.artifact.size_bytes, table)
        for name, case in artifacts.items()
        if (table := kv_table(case.artifact, case.settings.kv_type))
    ]


def _show(runs: Sequence[Run], skipped: int, device: str, options: Options) -> int:
    failed = sum(run.status != "ok" for run in runs)
    if skipped:
        click.echo(f"{skipped} cases were stored already; --no-resume measures again", err=True)
    if failed:
        click.echo(f"{failed} cases failed; the same command tries them again", err=True)
    if options.as_json:
        lines = ", ".join(run.to_line() for run in runs)
        click.echo(f'{{"runs": [{lines}]}}')
    else:
        _print(runs, device, options)
    return 1 if failed else 0


def _print(runs: Sequence[Run], device: str, options: Options) -> None:
    from rich.console import Console

    from edgebench.analyze.compare import compare
    from edgebench.analyze.rows import summarize
    from edgebench.report.picks import suggestion
    from edgebench.report.tables import print_groups

    groups = compare(summarize(runs))
    print_groups(Console(), groups)
    where = None if options.output == Path("profiles") else str(options.output)
    click.echo(f"Next: {suggestion(groups, device, where)}")


def _id(case: Case) -> str:
    from edgebench.plan.cases import case_id
    from edgebench.records.formats import runtime_version

    return case_id(case, runtime_version(case.runtime))

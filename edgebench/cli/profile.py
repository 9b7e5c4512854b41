"""`edgebench profile`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.common import SHARE, Finite, common, devices_option

if TYPE_CHECKING:
    from edgebench.plan.cases import Case
    from edgebench.plan.forecast import Due, Forecast
    from edgebench.plan.planner import Work
    from edgebench.records.artifact import Artifact
    from edgebench.records.run import Run
    from edgebench.records.task import Task, TextTask
    from edgebench.run.bench import Bench
    from edgebench.run.resume import Standing
    from edgebench.run.store import Store


@dataclass(frozen=True)
class Options:
    """What was typed."""

    artifacts: tuple[Path, ...]
    device: str
    workload: str
    minutes: float | None
    tasks: str
    include: Path | None
    race: bool
    tolerance: float | None
    launches: int
    repetitions: int
    retries: int
    changes: tuple[str, ...]
    meters: tuple[str, ...]
    output: Path
    dry_run: bool
    timing: bool
    resume: bool
    timeout: float
    registry: Path | None
    as_json: bool


@click.command("profile")
@click.argument("artifacts", nargs=-1, type=click.Path(path_type=Path))
@click.option("--device", required=True, help="A device of edgebench devices: cpu, jetson, ...")
@click.option(
    "--workload",
    default="chat",
    show_default=True,
    help="Names, or prompt+generated@depth such as 512+128@4096, separated by commas; or none.",
)
@click.option(
    "--minutes",
    type=Finite(1 / 60, 60),
    help="How long the workload `sustained` goes on; 20 by default, at most 60.",
)
@click.option(
    "--tasks",
    default="basics",
    show_default=True,
    help="basics, divergence, task files, lm_eval:NAME, separated by commas, or none.",
)
@click.option(
    "--include",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder of lm-evaluation-harness task files, for lm_eval:NAME.",
)
@click.option(
    "--race",
    is_flag=True,
    help="Stop a level's accuracy task once it is clearly within or outside the tolerance.",
)
@click.option("--tolerance", type=SHARE, help="How much accuracy a level may lose in a race: 1%.")
@click.option(
    "--launches",
    type=click.IntRange(1, 100),
    default=5,
    show_default=True,
    help="Worker processes that each time the workload; fewer than 3 give no interval.",
)
@click.option(
    "--repetitions",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="How often each launch times the workload.",
)
@click.option(
    "--retries",
    type=click.IntRange(0, 10),
    default=2,
    show_default=True,
    help="How often launches that other programs disturbed are measured again.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=A,B",
    help="A runtime setting, or several values of it to try: threads, cores, gpu_layers, batch, "
    "micro_batch, flash_attention, kv_type, load_mode, provider.",
)
@click.option(
    "--meter",
    "meters",
    multiple=True,
    metavar="NAME",
    help='A power meter: ina, pmic, rapl, nvml, battery, hwmon, "command:PROGRAM", '
    "estimate:15W or none; all that answer by default.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("profiles"),
    show_default=True,
    help="Runs are appended to <output>/<device>/*.jsonl.",
)
@click.option("--dry-run", is_flag=True, help="Print the cases and about how long they take.")
@click.option("--timing", is_flag=True, help="Say afterwards where the time went, case by case.")
@click.option(
    "--resume/--no-resume", default=True, help="Skip what is stored already, or measure it again."
)
@click.option(
    "--timeout",
    type=Finite(1, 1e6),
    default=900.0,
    show_default=True,
    help="Seconds without a sign of life after which a case is given up.",
)
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
      edgebench profile m-q4_0.gguf --device cpu --set threads=1,2,4
    """
    from edgebench.cli.places import need_meters
    from edgebench.plan.forecast import Forecast
    from edgebench.run.store import Store

    options = Options(**typed)
    bench = _bench(options)
    work = _work(options)
    cases = _plan(options, bench, work)
    store = Store(options.output, bench.device.name)
    forecast = Forecast(bench.hello.compute_cores)
    known = _standing(options, store, cases, bench, forecast)
    dues = [_due(case, bench, known) for case in cases]
    if options.dry_run:
        return _show_plan(dues, forecast, options.as_json)
    todo = [due for due in dues if not due.is_stored]
    if work.workloads and todo:
        need_meters(bench.transport, bench.device, work.meters)
    runs = _measure(options, store, bench, todo, (known, forecast)) if todo else []
    return _show([*known.stored.values(), *runs], len(known.stored), bench.device.name, options)


def _bench(options: Options) -> Bench:
    """Start a worker and let it say which device this is; raise where it is another one."""
    from edgebench.cli.places import greet, local_transport
    from edgebench.plan.devices import load_registry
    from edgebench.run.bench import Bench

    registry = load_registry(options.registry)
    registry.check(options.device)
    transport = local_transport()
    hello = greet(transport)
    return Bench(
        transport=transport,
        device=registry.resolve(options.device, hello),
        hello=hello,
        store=_nowhere,
        observer=_Nobody(),
        timeout_s=options.timeout,
    )


def _nowhere(run: Run) -> None:
    """Store nothing: a plan is no measurement."""


class _Nobody:
    """Hears of nothing."""

    def started(self, case: Case) -> None:
        """Hear nothing."""

    def ticked(self, case: Case, done: int, total: int) -> None:
        """Hear nothing."""

    def ended(self, case: Case, run: Run) -> None:
        """Hear nothing."""


def _work(options: Options) -> Work:
    from edgebench.plan.planner import Work
    from edgebench.plan.workloads import parse_workloads
    from edgebench.records.meters import check_meters

    workloads = parse_workloads(
        options.workload, options.repetitions, options.launches, options.minutes
    )
    meters = options.meters or ("auto",)
    check_meters(meters)
    return Work(workloads, tuple(_tasks(options)), meters, options.tolerance)


def _plan(options: Options, bench: Bench, work: Work) -> list[Case]:
    from edgebench.plan.choices import choices_of
    from edgebench.plan.planner import plan

    settings = choices_of(bench.device.settings, options.changes, bench.hello)
    if not work.workloads and not work.tasks:
        return plan([], bench.device.name, settings, work)  # says so before a model is made
    return plan(_artifacts(options.artifacts), bench.device.name, settings, work)


def _tasks(options: Options) -> list[Task | TextTask]:
    """Load what --tasks names; raise UsageError where --race and --tolerance don't go together."""
    from edgebench.errors import UsageError
    from edgebench.tasks.load import load_task

    if options.race != (options.tolerance is not None):
        raise UsageError(
            "a race needs a tolerance, and a tolerance a race", hint="type --race --tolerance 1%"
        )
    if options.tolerance is not None and not 0 <= options.tolerance < 1:
        raise UsageError("a tolerance must be less than 100 %", hint="type --tolerance 1%")
    names = [] if options.tasks == "none" else options.tasks.split(",")
    return [load_task(_built(name.strip(), options.include)) for name in names]


def _built(name: str, include: Path | None) -> str:
    """Return the task file of lm_eval:NAME, built where it is not there yet, or the name itself."""
    prefix = "lm_eval:"
    if not name.startswith(prefix):
        return name
    from platformdirs import user_cache_path

    from edgebench.lm_eval.build import cached

    return str(cached(name.removeprefix(prefix), user_cache_path("edgebench") / "tasks", include))


def _artifacts(paths: Sequence[Path]) -> list[Artifact]:
    from edgebench.sources.artifacts import find_artifacts

    if paths:
        return find_artifacts(paths)
    from edgebench.cli.progress import bar
    from edgebench.convert.bundled import bundled_ladder
    from edgebench.report.artifacts import describe

    with bar() as shown:
        return bundled_ladder(shown.say, shown.at, lambda artifact: shown.say(describe(artifact)))


def _standing(
    options: Options, store: Store, cases: Sequence[Case], bench: Bench, forecast: Forecast
) -> Standing:
    """Return what is stored of the plan already; the forecast learns of what is stored here."""
    from edgebench.cli.stored import LeftOut
    from edgebench.plan.cases import SpeedCase
    from edgebench.run.resume import Standing, is_here, standing
    from edgebench.run.stored import PassedOver, read_runs

    left_out = LeftOut()

    def tell(passed: PassedOver) -> None:
        if not passed.is_unfinished:  # said when the next run is stored and it is set aside
            left_out.add(passed)

    paths = [store.folder] if store.folder.exists() else []
    here = [run for run in read_runs(paths, tell) if is_here(run.device, bench.device_info)]
    forecast.learn(here, [case.task for case in cases if not isinstance(case, SpeedCase)])
    if not options.resume:
        return Standing({}, {})
    left_out.tell()
    return standing(here, cases, bench)


def _due(case: Case, bench: Bench, known: Standing) -> Due:
    from edgebench.plan.forecast import Due

    name = bench.case_id(case)
    run = known.begun.get(name)
    launches = len(run.speed.launches) if run and run.speed else 0
    return Due(case, name in known.stored, launches)


def _measure(
    options: Options,
    store: Store,
    bench: Bench,
    todo: Sequence[Due],
    expected: tuple[Standing, Forecast],
) -> list[Run]:
    from dataclasses import replace

    from edgebench.cli.progress import SweepProgress, bar
    from edgebench.run.sweep import run_cases

    store.prepare()
    runs: list[Run] = []
    known, forecast = expected

    with bar() as shown:

        def keep(run: Run) -> None:
            store.append(run, shown.say)
            runs.append(run)

        observer = SweepProgress(shown, todo, forecast)
        running = replace(
            bench, store=keep, observer=observer, stored=known.stored, begun=known.begun
        )
        run_cases([due.case for due in todo], running, options.retries)
    return runs


def _show_plan(dues: Sequence[Due], forecast: Forecast, as_json: bool) -> int:
    from edgebench.report.plans import plan_json, plan_lines

    if as_json:
        click.echo(plan_json(dues, forecast))
        return 0
    for line in plan_lines(dues, forecast):
        click.echo(line)
    return 0


def _show(runs: Sequence[Run], skipped: int, device: str, options: Options) -> int:
    from edgebench.report.format import counted

    failed = [run for run in runs if run.status != "ok"]
    if skipped:
        said = f"{counted(skipped, 'case')} stored already"
        click.echo(f"{said}; --no-resume measures again", err=True)
    if failed:
        hint = "the same command tries again"
        if all(run.status == "unsupported" for run in failed):
            hint = "the same command would fail again: see the hints above"
        click.echo(f"{counted(len(failed), 'case')} failed; {hint}", err=True)
    if options.timing:
        from edgebench.report.timings import timing_lines

        click.echo("\n".join(timing_lines(runs)), err=True)
    if options.as_json:
        from edgebench.cli.stored import as_json
        from edgebench.report.timings import timings

        told = {"runs": [run.model_dump(mode="json", by_alias=True) for run in runs]}
        click.echo(as_json({**told, "timing": timings(runs)} if options.timing else told))
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

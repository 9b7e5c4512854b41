"""`edgebench profile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgebench.cli.common import common, devices_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgebench.plan import Case
    from edgebench.records import Artifact, Run, Settings


@click.command("profile")
@click.argument("artifacts", nargs=-1, type=click.Path(path_type=Path))
@click.option("--device", required=True, help="A device of edgebench devices: cpu, jetson, ...")
@click.option(
    "--workload", default="chat", show_default=True,
    help="A name, prompt+generated@depth such as 512+128@4096, or none.",
)  # fmt: skip
@click.option("--tasks", default="basics", show_default=True, help="Accuracy tasks, or none.")
@click.option("--repetitions", type=click.IntRange(1, 1000), default=5, show_default=True)
@click.option(
    "--set", "changes", multiple=True, metavar="NAME=VALUE",
    help="A runtime setting: threads, gpu_layers, batch, micro_batch, flash_attention, kv_type, "
    "load_mode.",
)  # fmt: skip
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("profiles"),
    show_default=True, help="Runs are appended to <output>/<device>/*.jsonl.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the cases and about how long they take.")
@click.option("--resume/--no-resume", default=True, help="Skip what is stored already.")
@click.option(
    "--timeout", type=click.FloatRange(1), default=900.0, show_default=True,
    help="Seconds without a sign of life after which a case is given up.",
)  # fmt: skip
@devices_option
@common
def command(**options: object) -> int:
    """Measure artifacts on a device: speed, memory, energy and accuracy.

    ARTIFACTS are artifact folders, folders of them, or bare .gguf files. With none, the bundled
    model (SmolLM2-135M-Instruct) is taken and a ladder of its levels made in the cache.

    \b
    Examples:
      edgebench profile --device cpu
      edgebench profile artifacts --device cpu --workload rag --tasks none
      edgebench profile model-q4_0.gguf --device cpu --set threads=4 --set kv_type=q8_0
    """
    return _Command(options).run()


class _Command:
    """The steps of a profile: resolve, plan, run, show."""

    def __init__(self, options: dict[str, object]) -> None:
        self._options = options
        self._as_json = bool(options["as_json"])
        self._output = Path(str(options["output"]))

    def run(self) -> int:
        from edgebench.devices import load_registry
        from edgebench.store import Store

        extra = self._options["registry"]
        registry = load_registry(Path(str(extra)) if extra else None)
        device = registry.resolve(str(self._options["device"]))
        settings = self._settings(registry.devices[device].settings)
        cases = self._plan(device, settings)
        store = Store(self._output, device)
        stored = self._stored(store, cases)
        todo = [case for case in cases if _id(case) not in stored]
        if self._options["dry_run"]:
            return self._show_plan(cases, todo)
        runs = self._measure(store, device, todo) if todo else []
        results = [*stored.values(), *runs]
        return self._show(results, len(stored), device)

    def _settings(self, base: Settings) -> Settings:
        from pydantic import ValidationError

        from edgebench.errors import UsageError, nearest
        from edgebench.records import Settings

        fields: dict[str, object] = base.model_dump()
        changes = self._options["changes"]
        assert isinstance(changes, tuple)
        for change in changes:
            name, equals, value = change.partition("=")
            if not equals or name not in Settings.model_fields:
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

    def _plan(self, device: str, settings: Settings) -> list[Case]:
        from edgebench.errors import UsageError
        from edgebench.plan import Case, parse_workload
        from edgebench.runtimes import FORMATS
        from edgebench.tasks.load import load_task

        repetitions = self._options["repetitions"]
        assert isinstance(repetitions, int)
        workload = parse_workload(str(self._options["workload"]), repetitions)
        names = str(self._options["tasks"])
        tasks = [] if names == "none" else [load_task(name) for name in names.split(",")]
        if workload is None and not tasks:
            raise UsageError("nothing to measure", hint="give a --workload, or --tasks basics")
        cases = []
        for artifact in self._artifacts():
            runtime = FORMATS[artifact.format]
            if workload:
                cases.append(Case(artifact, device, runtime, settings, workload=workload))
            cases += [Case(artifact, device, runtime, settings, task=task) for task in tasks]
        return cases

    def _artifacts(self) -> list[Artifact]:
        from edgebench.convert.bundled import bundled_ladder
        from edgebench.convert.gguf import find_artifacts

        paths = self._options["artifacts"]
        assert isinstance(paths, tuple)
        if paths:
            return find_artifacts(paths)
        from edgebench.cli.progress import bar
        from edgebench.cli.quantize import describe

        with bar() as shown:
            return bundled_ladder(
                shown.say,
                lambda level, done, total: shown.at(level, done, total),
                lambda artifact: shown.say(describe(artifact)),
            )

    def _stored(self, store: object, cases: Sequence[Case]) -> dict[str, Run]:
        """Return the good runs that are stored already, by case id."""
        from edgebench.store import Store, read_runs

        assert isinstance(store, Store)
        if not self._options["resume"] or not store.folder.exists():
            return {}
        wanted = {_id(case) for case in cases}
        return {
            run.case_id: run
            for run in read_runs([store.folder])
            if run.status == "ok" and run.case_id in wanted
        }

    def _measure(self, store: object, device: str, todo: list[Case]) -> list[Run]:
        from platformdirs import user_cache_path

        from edgebench.cli.progress import SweepProgress, bar
        from edgebench.executor import Sweep
        from edgebench.plan import estimate_s
        from edgebench.store import Store
        from edgebench.system import this_device
        from edgebench.transports.local import LocalTransport

        assert isinstance(store, Store)
        store.prepare()
        timeout_s = self._options["timeout"]
        assert isinstance(timeout_s, float)
        with bar() as shown:
            sweep = Sweep(
                transport=LocalTransport(user_cache_path("edgebench") / "logs"),
                store=store,
                device=this_device(device, None),
                observer=SweepProgress(shown, {case.label: estimate_s(case) for case in todo}),
                timeout_s=timeout_s,
            )
            return sweep.run(todo)

    def _show_plan(self, cases: Sequence[Case], todo: Sequence[Case]) -> int:
        import json

        from edgebench.plan import estimate_s
        from edgebench.report.format import duration, plain

        if self._as_json:
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
            click.echo(json.dumps({"cases": entries}))
            return 0
        for case in cases:
            state = f"about {duration(estimate_s(case))}" if case in todo else "stored already"
            click.echo(plain(f"{case.artifact.name:<40} {case.label:<18} {state}"))
        total = sum(estimate_s(case) for case in todo)
        click.echo(f"{len(todo)} of {len(cases)} cases to measure, about {duration(total)}")
        return 0

    def _show(self, runs: Sequence[Run], skipped: int, device: str) -> int:
        failed = sum(run.status != "ok" for run in runs)
        if self._as_json:
            lines = ", ".join(run.to_line() for run in runs)
            click.echo(f'{{"runs": [{lines}]}}')
            return 1 if failed else 0
        from rich.console import Console

        from edgebench.analyze.compare import compare
        from edgebench.analyze.summarize import summarize
        from edgebench.report.tables import print_groups

        if skipped:
            click.echo(
                f"{skipped} cases were stored already (--no-resume measures again)", err=True
            )
        groups = compare(summarize(runs))
        print_groups(Console(), groups)
        if failed:
            click.echo(f"{failed} cases failed; the same command tries them again", err=True)
        click.echo(f"Next: {self._next(device)}")
        return 1 if failed else 0

    def _next(self, device: str) -> str:
        command = f"edgebench pick --device {device} --max-accuracy-loss 5% --objective decode"
        if self._output != Path("profiles"):
            import shlex

            command += f" {shlex.quote(str(self._output))}"
        return command


def _id(case: Case) -> str:
    from edgebench.plan import case_id
    from edgebench.runtimes import runtime_version

    return case_id(case, runtime_version(case.runtime))

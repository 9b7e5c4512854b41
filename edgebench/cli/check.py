"""`edgebench check`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgebench.cli.common import BYTES, JOULES, LOSS, NATS, RATE, SECONDS, SHARE, Unit, common

if TYPE_CHECKING:
    from edgebench.analyze.compare import Group
    from edgebench.analyze.contract import Contract
    from edgebench.analyze.verdict import Result
    from edgebench.records.run import Run
    from edgebench.sources.yaml_lines import LinedYaml

UNITS: dict[str, Unit] = {
    "max_memory": BYTES,
    "max_size": BYTES,
    "min_decode": RATE,
    "min_prefill": RATE,
    "max_ttft": SECONDS,
    "max_latency": SECONDS,
    "max_energy": JOULES,
    "max_accuracy_loss": LOSS,
    "min_accuracy": SHARE,
    "max_divergence": NATS,
    "confidence": SHARE,
}
CODES = {"PASS": 0, "FAIL": 5, "INCONCLUSIVE": 6}


@dataclass(frozen=True)
class Question:
    """A contract as it was read, and what its artifact was looked up as."""

    contract: Contract
    lined: LinedYaml
    raw: bytes
    path: Path
    subject: str


@click.command("check")
@click.argument("contract", required=False, type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the result as JUnit XML, which CI systems show.",
)
@click.option(
    "--evidence",
    type=click.Path(path_type=Path),
    help="Keep contract, runs, sums and result in a new folder.",
)
@click.option(
    "--verify",
    type=click.Path(path_type=Path, file_okay=False),
    help="Check a folder of evidence: nothing was changed, and the runs give the same verdict.",
)
@common
def command(
    contract: Path | None,
    paths: tuple[Path, ...],
    junit: Path | None,
    evidence: Path | None,
    verify: Path | None,
    as_json: bool,
) -> int:
    """Hold a deployment's demands against stored runs: PASS, FAIL or INCONCLUSIVE.

    CONTRACT is a YAML file: device, workloads, constraints, tasks, confidence, and the artifact or
    any. PATHS are where the runs are; profiles by default. Exit code 0: PASS; 5: FAIL;
    6: INCONCLUSIVE, with what to type next.

    \b
    Examples:
      edgebench check contract.yaml
      edgebench check contract.yaml --junit check.xml --evidence evidence/today
      edgebench check --verify evidence/today
    """
    from edgebench.errors import UsageError

    if (contract is None) == (verify is None):
        raise UsageError("name a contract, or a folder to verify", hint="edgebench check --help")
    if verify is not None:
        if paths or junit or evidence:
            raise UsageError("--verify goes alone", hint=f"edgebench check --verify {verify}")
        return _verify(verify, as_json)
    question = _read(contract or Path())
    runs, groups = _stored(question, paths)
    result = _judged(question, groups)
    if junit:
        _write_junit(junit, result, question.path.stem)
    if evidence:
        _keep(evidence, question, runs, result)
    _show(result, as_json)
    return CODES[result.verdict]


def _readers() -> dict[str, Callable[[object], float]]:
    def reader(unit: Unit) -> Callable[[object], float]:
        def read(value: object) -> float:
            try:
                return unit.convert(str(value), None, None)
            except click.UsageError as error:
                raise ValueError(error.message) from None

        return read

    return {name: reader(unit) for name, unit in UNITS.items()}


def _read(path: Path) -> Question:
    """Read a contract; look its artifact up where that is a path."""
    from edgebench.analyze.contract import read_contract
    from edgebench.errors import BadFileError, UsageError

    if not path.exists():
        raise UsageError(f"no contract at {path}", hint="edgebench check --help")
    if not path.is_file():
        raise BadFileError(f"{path} isn't a file", hint="edgebench check CONTRACT.yaml")
    contract, lined = read_contract(path, _readers())
    raw = path.read_bytes()
    return Question(contract, lined, raw, path, _subject(contract.artifact, path, lined))


def _subject(artifact: str, path: Path, lined: LinedYaml) -> str:
    """Return the sum of an artifact that is named by its path, beside the contract or from here."""
    from edgebench.errors import BadFileError, EdgebenchError
    from edgebench.sources.artifacts import find_artifacts

    places = [path.parent / artifact, Path(artifact)]
    place = next((place for place in places if artifact != "any" and place.exists()), None)
    if place is None:
        return artifact
    where = f"{path}, line {lined.line('artifact')}, artifact"
    try:
        named = find_artifacts([place])
    except EdgebenchError as error:
        raise BadFileError(f"{where}: {error.message}", hint=error.hint) from None
    if len(named) != 1:
        raise BadFileError(f"{where}: {place} holds {len(named)} artifacts", hint="name one")
    return f"sha256:{named[0].sha256}"


def _stored(question: Question, paths: Sequence[Path]) -> tuple[list[Run], list[Group]]:
    """Return the device's runs, and the tables that they make."""
    from edgebench.analyze.rows import summarize
    from edgebench.cli.stored import chosen_rows, stored_runs

    runs = stored_runs(paths).runs
    device = question.contract.device
    rows = chosen_rows(summarize(runs), [device])
    names = {row.device.name for row in rows}
    return [run for run in runs if run.device.name in names], _tables(question, runs, names)


def _tables(question: Question, runs: Sequence[Run], devices: set[str]) -> list[Group]:
    """Compare a device's runs; raise BadFileError where the contract's baseline has none."""
    from edgebench.analyze.compare import compare
    from edgebench.analyze.rows import summarize
    from edgebench.errors import BadFileError, UsageError, nearest

    rows = [row for row in summarize(runs) if row.device.name in devices]
    try:
        groups = compare(rows, question.contract.baseline)
    except UsageError as error:
        where = f"{question.path}, line {question.lined.line('baseline')}, baseline"
        raise BadFileError(f"{where}: {error.message}", hint=error.hint) from None
    names = {row.artifact.name for row in rows}
    subject = question.subject
    if subject != "any" and not subject.startswith("sha256:") and subject not in names:
        where = f"{question.path}, line {question.lined.line('artifact')}, artifact"
        raise BadFileError(f"{where}: no run of {subject!r}", hint=nearest(subject, names))
    return groups


def _judged(question: Question, groups: Sequence[Group]) -> Result:
    from edgebench.analyze.verdict import held_against

    return held_against(question.contract, groups, question.subject)


def _show(result: Result, as_json: bool) -> None:
    from edgebench.report.checks import check_lines

    if as_json:
        click.echo(result.model_dump_json(by_alias=True))
        return
    for line in check_lines(result):
        click.echo(line)


def _write_junit(path: Path, result: Result, name: str) -> None:
    from edgebench.errors import UsageError
    from edgebench.report.junit import junit_xml

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(junit_xml(result, name))
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror}") from None


def _keep(folder: Path, question: Question, runs: Sequence[Run], result: Result) -> None:
    from edgebench.report.evidence import Evidence, write_evidence

    kept = Evidence(question.raw, runs, question.subject, result)
    digest = write_evidence(folder, kept)
    click.echo(f"evidence is in {folder}; its manifest's sha256 is {digest}", err=True)


def _verify(folder: Path, as_json: bool) -> int:
    """Check a folder of evidence; return the code of its verdict."""
    from edgebench.analyze.contract import read_contract
    from edgebench.errors import BadFileError
    from edgebench.report.evidence import CONTRACT, RUNS, stored_result, verified
    from edgebench.run.stored import read_runs

    manifest, digest = verified(folder)
    path = folder / CONTRACT
    contract, lined = read_contract(path, _readers())
    question = Question(contract, lined, path.read_bytes(), path, manifest.subject)
    runs = list(read_runs([folder / RUNS]))
    groups = _tables(question, runs, {run.device.name for run in runs})
    again, then = _judged(question, groups), stored_result(folder)
    told = [
        (it.artifact, it.verdict, [line.verdict for line in it.lines]) for it in again.candidates
    ]
    was = [(it.artifact, it.verdict, [line.verdict for line in it.lines]) for it in then.candidates]
    if (again.verdict, told) != (then.verdict, was):
        raise BadFileError(
            f"{folder} says {then.verdict}, its runs say {again.verdict} by this version",
            hint=f"verify it with edgebench {manifest.version}, which made it",
        )
    click.echo(f"verified: {folder} is as it was written; its sum is {digest}", err=True)
    _show(then, as_json)
    return CODES[then.verdict]

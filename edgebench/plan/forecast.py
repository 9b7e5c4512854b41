"""How long cases will take: a rule of thumb, bent by what earlier ones took.

A case is made of parts: launches, tokens read, tokens written, a task's answers. What was measured
of a part counts most for the same artifact, then for its level, its format, and anything at all;
what nothing is known of goes by the machine's cores. Knows sizes and runs. Runs nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from edgebench.plan.cases import Case, ItemsCase, SpeedCase, Subject, TextCase
from edgebench.records.run import Run
from edgebench.records.speed import Launch
from edgebench.records.task import Task, TextTask

CHUNK_TOKENS = 512
BYTES_A_TOKEN = 4
# Rules of thumb, between a Raspberry Pi 5 and a server's processor.
FLOP_S_A_CORE = 30e9
BYTES_S_A_CORE, LEAST_BYTES_S = 2e9, 8e9
START_S = 0.8  # until a worker says hello, and its runtime is imported
LOAD_BYTES_S = 1e9
WARM_UP_TOKENS = 32
SHARED = 0.5  # of items' texts is evaluated: what neighbours begin with is read once
OWN_WEIGHT = 1.0  # of the wider experience, in measurements of the narrower
FASTEST_S = 1e-6  # what is measured is never nothing, so that it has a logarithm

Keys = list[tuple[str, ...]]


@dataclass
class Forecast:
    """Seconds that cases will take on a machine of so many cores, as far as it has learned."""

    cores: int = 2
    _told: dict[tuple[str, ...], list[float]] = field(default_factory=dict)
    _tokens: dict[str, tuple[float, float]] = field(default_factory=dict)  # of tasks

    def case_s(self, case: Case, done: int = 0) -> float:
        """Return about the seconds of a case, of which `done` launches are there already."""
        if not isinstance(case, SpeedCase):
            rule_s = self._answers_rule_s(case)
            return self.launch_s(case) + self._likely(_answers(case), case, rule_s)
        work = case.workload
        trial_s = self._read_s(case, work.prompt_tokens) + self._write_s(case, work.generate_tokens)
        lasts_s = work.repetitions * trial_s
        if work.duration_s is not None:
            lasts_s = work.duration_s + trial_s / 2  # the last trial goes on beyond it
        return max(0, work.launches - done) * (self.launch_s(case) + lasts_s)

    def launch_s(self, case: Case) -> float:
        """Return about the seconds before a worker's first trial: start, loading, warm-up."""
        return self._likely("launch", case, self._launch_rule_s(case))

    def learn(self, runs: Iterable[Run], tasks: Sequence[Task | TextTask]) -> Forecast:
        """Learn from good runs of this machine; answers only to these versions of tasks."""
        known = {task.sha256: task for task in tasks}
        for run in runs:
            case = _case_of(run, known)
            if run.status == "ok" and case is not None:
                self.learn_case(case, run)
        return self

    def learn_case(self, case: Case, run: Run) -> None:
        """Learn from a case's own run."""
        if isinstance(case, SpeedCase):
            if run.speed and run.speed.launches:
                self._learn_speed(case, run, run.speed.launches)
            return
        spent_s = run.wall_s - self.launch_s(case)
        if run.timing and run.timing.answers_s and _answers(case) != "race":
            spent_s = run.timing.answers_s
        share = 1.0
        if run.accuracy and run.accuracy.population and _answers(case) != "race":
            share = run.accuracy.n / run.accuracy.population
        self._learn(_answers(case), case, spent_s, share * self._answers_rule_s(case))

    def _learn_speed(self, case: SpeedCase, run: Run, launches: Sequence[Launch]) -> None:
        work = case.workload
        read_s = statistics.median(second for launch in launches for second in launch.prefill_s)
        write_s = statistics.median(second for launch in launches for second in launch.decode_s)
        self._learn("read", case, read_s, work.prompt_tokens * self._prompt_token_rule_s(case))
        self._learn("write", case, write_s, work.generate_tokens * self._token_rule_s(case))
        tried = len(launches) + (run.speed.discarded if run.speed else 0)
        mean_s = sum(_trials_s(launch) for launch in launches) / len(launches)
        self._learn("launch", case, run.wall_s / tried - mean_s, self._launch_rule_s(case))

    def _learn(self, part: str, case: Case, spent_s: float, rule_s: float) -> None:
        if rule_s <= 0:
            return
        ratio = math.log(max(spent_s, FASTEST_S) / rule_s)
        for key in _keys(part, case):
            self._told.setdefault(key, []).append(ratio)

    def _likely(self, part: str, case: Case, rule_s: float) -> float:
        """Return a rule's seconds times what was measured for one second of it."""
        return rule_s * math.exp(self._log_ratio(part, case))

    def _log_ratio(self, part: str, case: Case) -> float:
        # Reading tells of the machine before any task was answered on it.
        is_answers = part not in ("launch", "read", "write")
        mean = self._log_ratio("read", case) if is_answers else 0.0
        for key in _keys(part, case):
            told = self._told.get(key, [])
            mean = (OWN_WEIGHT * mean + sum(told)) / (OWN_WEIGHT + len(told))
        return mean

    # rules

    def _prompt_token_rule_s(self, case: Case) -> float:
        return 2.0 * case.subject.artifact.parameters / (FLOP_S_A_CORE * self._cores(case))

    def _token_rule_s(self, case: Case) -> float:
        bytes_s = max(LEAST_BYTES_S, BYTES_S_A_CORE * self._cores(case))
        return case.subject.artifact.size_bytes / bytes_s

    def _cores(self, case: Case) -> int:
        return max(1, min(self.cores, case.subject.settings.threads or self.cores))

    def _read_s(self, case: Case, tokens: float) -> float:
        return self._likely("read", case, tokens * self._prompt_token_rule_s(case))

    def _write_s(self, case: Case, tokens: float) -> float:
        return self._likely("write", case, tokens * self._token_rule_s(case))

    def _launch_rule_s(self, case: Case) -> float:
        rule_s = START_S + case.subject.artifact.size_bytes / LOAD_BYTES_S
        if isinstance(case, SpeedCase):
            tokens = case.workload.depth + case.workload.prompt_tokens
            rule_s += tokens * self._prompt_token_rule_s(case)
            rule_s += WARM_UP_TOKENS * self._token_rule_s(case)
        return rule_s

    def _answers_rule_s(self, case: ItemsCase | TextCase) -> float:
        prompt_s = self._prompt_token_rule_s(case)
        if isinstance(case, TextCase):
            task = case.task
            return min(task.chunks * CHUNK_TOKENS, len(task.text) / BYTES_A_TOKEN) * prompt_s
        if case.task.sha256 not in self._tokens:
            self._tokens[case.task.sha256] = _tokens_of(case.task)
        read, written = self._tokens[case.task.sha256]
        return SHARED * read * prompt_s + written / 2 * self._token_rule_s(case)


@dataclass(frozen=True)
class Due:
    """A case, and what is stored of it: all of it, or some of its launches."""

    case: Case
    is_stored: bool
    launches: int = 0  # there already, of a case that was begun

    def seconds(self, forecast: Forecast) -> float:
        """Return about how long it will take."""
        return 0.0 if self.is_stored else forecast.case_s(self.case, self.launches)

    @property
    def launches_due(self) -> int:
        """Return the launches of a worker that are still wanted; 0 of a task."""
        if self.is_stored or not isinstance(self.case, SpeedCase):
            return 0
        return max(0, self.case.workload.launches - self.launches)


def _answers(case: ItemsCase | TextCase) -> str:
    """Name what answering is: a race ends early, and reads for its reference, too."""
    if isinstance(case, TextCase):
        return "text"
    return "race" if case.race else "items"


def _keys(part: str, case: Case) -> Keys:
    """Return what experience of a part is kept under, from the widest to the case's own."""
    artifact = case.subject.artifact
    of: tuple[str, ...] = (part,)
    if not isinstance(case, SpeedCase) and part not in ("launch", "read"):
        of = (part, case.task.sha256)
    own = case.subject.settings.model_dump_json()
    return [
        *dict.fromkeys([(part,), of]),
        (*of, artifact.format),
        (*of, artifact.format, artifact.level),
        (*of, artifact.sha256, own),
    ]


def _tokens_of(task: Task) -> tuple[float, float]:
    """Return about the tokens that a task's items have, and those that may be written."""
    read = sum(
        sum(len(part) for part in (*item.contexts, *item.continuations)) for item in task.items
    )
    return read / BYTES_A_TOKEN, sum(task.generation.max_tokens for i in task.items if i.answers)


def _trials_s(launch: Launch) -> float:
    """Return how long a launch's trials took; sustained ones with all that lay between them."""
    if launch.at_s:
        return launch.at_s[-1] + launch.prefill_s[-1] + launch.decode_s[-1]
    return sum(launch.prefill_s) + sum(launch.decode_s)


def _case_of(run: Run, tasks: dict[str, Task | TextTask]) -> Case | None:
    """Return the case that a run is of; None where its task isn't one of these."""
    subject = Subject(run.artifact, run.device.name, run.settings)
    if run.workload:
        return SpeedCase(subject, run.workload)
    if run.accuracy:
        task = tasks.get(run.accuracy.task_sha256)
        is_raced = run.accuracy.race is not None
        return ItemsCase(subject, task) if isinstance(task, Task) and not is_raced else None
    if run.divergence:
        task = tasks.get(run.divergence.text_sha256)
        return TextCase(subject, task, run.artifact) if isinstance(task, TextTask) else None
    return None

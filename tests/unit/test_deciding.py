"""Measuring until it is decided: what comes first, when it stops, and what it saves."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from support.builders import make_artifact, make_launch, make_run, make_speed, make_task_run
from support.simulations import studies, tool

from edgebench.analyze.advice import Measure
from edgebench.analyze.compare import compare
from edgebench.analyze.pick import Constraints, pick
from edgebench.analyze.rows import summarize
from edgebench.analyze.worth import Worth, changes, worths
from edgebench.records.run import Run
from edgebench.run.deciding import Measuring, Outlook, decide_by_measuring


@dataclass(frozen=True)
class Offered:
    """Something that takes so long, and really takes so long."""

    command: str
    takes_s: float
    really_s: float
    is_guess: bool = False


@dataclass
class Table:
    """A decision that is made once something of a name was measured."""

    offers: list[Offered]
    decides: str
    now_s: float = 0.0
    measured: list[str] = field(default_factory=list)
    interrupt: str = ""

    def outlook(self) -> Outlook[str, Offered]:
        """Decide."""
        left = [offer for offer in self.offers if offer.command not in self.measured]
        return Outlook(" ".join(self.measured), self.decides in self.measured, left)

    def measure(self, offer: Offered) -> None:
        """Let time pass."""
        self.now_s += offer.really_s
        if offer.command == self.interrupt:
            raise KeyboardInterrupt
        self.measured.append(offer.command)

    def sitting(self) -> Measuring[str, Offered]:
        """Return what the loop is given."""
        return Measuring(self.outlook, self.measure, clock=lambda: self.now_s)


A, B, C = Offered("a", 10, 10), Offered("b", 20, 20), Offered("c", 100, 100)


def test_it_stops_where_it_is_decided() -> None:
    """What comes after is not measured."""
    table = Table([A, B, C], decides="b")
    done = decide_by_measuring(table.sitting(), 1000)
    assert table.measured == ["a", "b"]
    assert (done.stopped, done.spent_s, done.pick) == ("decided", 30, "a b")
    assert [step.took_s for step in done.done] == [10, 20]


def test_it_begins_nothing_that_does_not_fit() -> None:
    """A later offer that fits is taken; the budget is kept, and the next one's time is told."""
    table = Table([C, A, B], decides="never")
    done = decide_by_measuring(table.sitting(), 35)
    assert table.measured == ["a", "b"]
    assert (done.stopped, done.next_s) == ("budget", 100)


def test_only_one_measurement_can_exceed_the_budget() -> None:
    """One that takes longer than was told ends it."""
    slow = Offered("slow", 5, 500)
    table = Table([slow, A, B], decides="never")
    done = decide_by_measuring(table.sitting(), 60)
    assert table.measured == ["slow"]
    assert done.spent_s == 500


def test_a_guess_is_given_the_benefit_of_the_doubt() -> None:
    """A time that nobody measured is no reason to do nothing at all, unless it is far off."""
    table = Table([Offered("far", 1000, 1, True), Offered("near", 90, 1, True)], decides="near")
    done = decide_by_measuring(table.sitting(), 60)
    assert (table.measured, done.stopped) == (["near"], "decided")


def test_interrupted_it_decides_on_what_there_is() -> None:
    """The decision is that of what was measured before and during."""
    table = Table([A, B], decides="b", interrupt="b")
    done = decide_by_measuring(table.sitting(), 1000)
    assert (done.stopped, done.pick) == ("interrupted", "a")


def test_nothing_to_measure_is_said() -> None:
    """Without an offer it stops at once."""
    done = decide_by_measuring(Table([], decides="x").sitting(), 1000)
    assert (done.stopped, done.done) == ("nothing", ())


# what comes first


def speed(level: str, decode: float, launches: int = 2, wall_s: float = 10.0) -> Run:
    """Return launches of a level, each of which took `wall_s` over their number."""
    told = [make_launch(f"round {i}", decode * (1 + 0.01 * (i % 3))) for i in range(launches)]
    artifact = make_artifact(level=level, bits_per_weight=16.0 if level == "f16" else 8.0)
    return make_run(artifact=artifact, speed=make_speed(decode, launches=told), wall_s=wall_s)


def offered(runs: list[Run], **limits: float) -> list[Worth]:
    """Return what could be measured for a pick, the best first."""
    groups = compare(summarize(runs))
    decision = pick(groups, Constraints(**limits))
    return worths(groups, decision, lambda measure: 60.0)


def test_the_quicker_of_two_that_close_as_much_comes_first() -> None:
    """Two levels of one speed have a question each; one of them takes a tenth of the time."""
    runs = [speed("q8_0", 20, wall_s=100.0), speed("q4_0", 20, wall_s=10.0)]
    first, second = offered(runs, min_decode_tokens_per_s=10)
    assert "tiny-q4_0" in first.measure.rows[0] or first.takes_s < second.takes_s
    assert first.a_minute > second.a_minute
    assert first.takes_s == pytest.approx(10 / 2 * 3)  # three launches are missing
    assert not first.is_guess


def test_one_that_would_spare_the_others_comes_first() -> None:
    """The fastest level, once it holds, spares the questions of the slower ones."""
    runs = [speed("q8_0", 20), speed("q6_k", 25), speed("q4_0", 40)]
    first = offered(runs, min_decode_tokens_per_s=10)[0]
    groups = compare(summarize(runs))
    (fastest,) = [row.key for group in groups for row in group.rows if row.level == "q4_0"]
    assert first.measure.rows == (fastest,)


def test_launches_of_a_case_are_wanted_once() -> None:
    """Two limits on one level's launches are one measurement, of the larger number."""
    told = offered([speed("q4_0", 20)], min_decode_tokens_per_s=10, max_ttft_s=1)
    assert len(told) == 1
    assert told[0].measure.launches == 5
    assert told[0].questions >= 1


def test_a_missing_task_is_timed_by_a_row_that_answered_it() -> None:
    """What the reference took for an item is what the level will take, or about so."""
    runs = [speed("f16", 20, 5), speed("q8_0", 30, 5)]
    reference = make_artifact(level="f16", bits_per_weight=16.0)
    runs.append(make_task_run([True] * 100, artifact=reference, wall_s=200.0))
    (race,) = offered(runs, max_accuracy_loss=0.05)
    assert race.measure.tolerance == 0.05
    assert 50 <= race.takes_s <= 200


def test_changes_are_said_in_words() -> None:
    """What closed, who is out, who is sure to keep every limit."""
    before, after = (
        pick(
            compare(summarize([speed("q4_0", 20, count)])), Constraints(min_decode_tokens_per_s=10)
        )
        for count in (2, 5)
    )
    words = changes(before, after)
    assert words[0] == "closed: tiny-q4_0 min-decode"
    assert words[-1] == "satisfies everything: tiny-q4_0"
    assert changes(after, after) == ["closed nothing"]


def test_a_measure_is_not_part_of_what_is_printed() -> None:
    """Keys of rows are for this program; a person gets the command."""
    (worth,) = offered([speed("q4_0", 20)], min_decode_tokens_per_s=10)
    assert isinstance(worth.measure, Measure)
    groups = compare(summarize([speed("q4_0", 20)]))
    decision = pick(groups, Constraints(min_decode_tokens_per_s=10))
    assert "rows" not in decision.model_dump()["measure_next"][0]["advice"]


# what it saves


def test_it_decides_as_measuring_everything_does_in_half_the_time() -> None:
    """Studies of a known truth: nothing wrong is picked, and what is decided is the same."""
    simulated = tool("sim_measuring")
    setting = simulated.settings()[0]
    told = simulated.summary(setting, studies(4, 200), seed=3)
    assert told.time <= 0.5
    assert told.same >= studies(70, 95) / 100
    assert told.broken <= 0.05

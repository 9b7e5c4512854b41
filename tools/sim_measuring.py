"""Measure by simulation what `pick --measure` saves, and whether it decides as measuring all does.

Each study draws the launches and answers of several levels. Measuring everything stores all of them
and picks. Measuring what decides begins with five launches of each level and no answers but the
reference's, measures by `analyze/worth.py`'s order until it is decided, and picks. Prints for each
setting how often both decide alike, how often at least as well (rightly, where everything leaves it
open or picks another), how often what is picked breaks a constraint in truth, how
often it is undecided, and the time it took as a share of everything's (mean, and over all studies).

    python tools/sim_measuring.py --studies 200
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

from lib.studies import ACCURACY, WITHIN, Level, Noise, Setting
from support.builders import make_accuracy, make_artifact, make_launch, make_run, make_speed

from edgebench.analyze.advice import Measure
from edgebench.analyze.compare import Group, compare
from edgebench.analyze.decision import Pick
from edgebench.analyze.pick import Constraints, pick
from edgebench.analyze.rows import Row, summarize
from edgebench.analyze.worth import LAST_SHARE, MOST_LOOKS, Worth, changes, worths
from edgebench.records.accuracy import ItemResult, RaceResult
from edgebench.records.artifact import Artifact
from edgebench.records.run import Run
from edgebench.run.deciding import Measuring, Outlook, decide_by_measuring
from edgebench.run.races import RACE_ITEMS
from edgebench.stats.estimates import proportion_estimate
from edgebench.stats.selection import ALPHA
from edgebench.stats.sequential import Race as Bets

LAUNCHES, FIRST = 20, 5
LOAD_S, TOKENS = 3.0, 256  # of a launch: what it takes to load, and tokens generated
ITEM_S = 0.02  # an item, for each bit of a weight
HUGE_S = 1e9


@dataclass
class Study:
    """All that could be measured of a truth, what has been, and the time that took."""

    setting: Setting
    launches: list[NDArray[np.float64]]
    answers: list[NDArray[np.bool_]]
    order: NDArray[np.int64]  # in which a race asks its items
    speed: dict[str, Run] = field(default_factory=dict)
    tasks: dict[str, Run] = field(default_factory=dict)
    now_s: float = 0.0
    looks: Counter[tuple[object, ...]] = field(default_factory=Counter)

    @classmethod
    def drawn(cls, rng: np.random.Generator, setting: Setting) -> Study:
        """Draw a study; the first level is the reference, whose answers others change."""
        launches = [_launches(rng, level, setting.noise) for level in setting.levels]
        reference = rng.random(setting.items) < ACCURACY
        answers = [_answers(rng, level, reference) for level in setting.levels]
        return cls(setting, launches, answers, rng.permutation(setting.items))

    def time(self, index: int, launches: int = 0, items: int = 0) -> float:
        """Tell how long launches and items of a level take."""
        level = self.setting.levels[index]
        return launches * (LOAD_S + TOKENS / level.decode) + items * ITEM_S * level.bits

    def all_s(self) -> float:
        """Tell how long everything takes."""
        levels = range(len(self.setting.levels))
        return sum(self.time(index, LAUNCHES, self.setting.items) for index in levels)

    def artifact(self, index: int) -> Artifact:
        """Make a level's artifact."""
        level = self.setting.levels[index]
        size = int(level.bits * 1e6)
        return make_artifact(level=level.name, bits_per_weight=level.bits, size_bytes=size)

    def launch(self, index: int, upto: int) -> None:
        """Measure launches up to so many, those beyond the first in rounds of their own."""
        name = self.setting.levels[index].name
        held = self.speed.get(name)
        before = len(held.speed.launches) if held and held.speed else 0
        upto = min(upto, LAUNCHES)
        told = [
            make_launch(f"{name if i >= FIRST else 'all'} {i}", decode, ttft_s=20 / decode)
            for i, decode in enumerate(self.launches[index][:upto].tolist())
        ]
        self.now_s += self.time(index, launches=upto - before)
        wall_s = self.time(index, launches=upto)
        speed = make_speed(self.setting.levels[index].decode, launches=told)
        self.speed[name] = make_run(artifact=self.artifact(index), speed=speed, wall_s=wall_s)

    def answer(self, index: int) -> None:
        """Let a level answer every item."""
        n = self.setting.items
        self.now_s += self.time(index, items=n)
        self._store(index, range(n), None)

    def race(self, index: int, tolerance: float, alpha: float) -> None:
        """Let a level race against the reference, which has answered everything."""
        ours, theirs = self.answers[index][self.order], self.answers[0][self.order]
        differences = ours.astype(float) - theirs.astype(float)
        bets, asked = Bets(tolerance, alpha, LAST_SHARE), 0
        while asked < len(self.order) and bets.verdict == "open":
            asked = min(asked + RACE_ITEMS, len(self.order))
            bets = Bets(tolerance, alpha, LAST_SHARE)
            bets.update(differences[:asked].tolist())
        bets.finish()
        self.now_s += self.time(index, items=asked)
        result = RaceResult(
            reference=self.artifact(0).name,
            tolerance=tolerance,
            verdict=bets.verdict,
            items=asked,
            population=len(self.order),
            bounds=bets.bounds,
            about="model",
            last_share=LAST_SHARE,
            reason="",
        )
        self._store(index, sorted(self.order[:asked].tolist()), result)

    def _store(self, index: int, chosen: Sequence[int], race: RaceResult | None) -> None:
        pairs = _items(self.setting.items)
        told = [pairs[i][bool(self.answers[index][i])] for i in chosen]
        right = sum(item.correct for item in told)
        accuracy = make_accuracy([True]).model_copy(
            update={
                "n": len(told),
                "value": proportion_estimate(right, len(told)),
                "items": tuple(told),
                "race": race,
                "population": self.setting.items if race else None,
            }
        )
        self.tasks[self.setting.levels[index].name] = make_run(
            artifact=self.artifact(index),
            workload=None,
            speed=None,
            task="basics",
            accuracy=accuracy,
            wall_s=self.time(index, items=len(told)),
        )

    def asked(self, looks: int) -> tuple[list[Group], Pick]:
        """Pick from what was measured so far."""
        rows = summarize([*self.speed.values(), *self.tasks.values()])
        groups = [group for group in compare(rows) if group.workload]
        told = pick(groups, self.setting.constraints, self.setting.objective, looks=looks)
        return groups, told

    # what the loop asks for

    def outlook(self) -> Outlook[Pick, Worth]:
        """Decide, and say what could be measured."""
        groups, decision = self.asked(MOST_LOOKS)
        rows = {row.key: row for group in groups for row in group.rows}
        self._levels = {key: self._index(row) for key, row in rows.items()}
        spent = {case for case, n in self.looks.items() if n >= (MOST_LOOKS - 1 if case[1] else 1)}
        offers = [
            offer
            for offer in worths(groups, decision, lambda measure: 60.0, spent)
            if not self._is_measured(offer.measure)
        ]
        return Outlook(decision, decision.decision != "undecided", offers)

    def _index(self, row: Row) -> int:
        return [level.name for level in self.setting.levels].index(row.level)

    def _is_measured(self, measure: Measure) -> bool:
        name = self.setting.levels[self._levels[measure.rows[0]]].name
        held = self.speed[name].speed
        return bool(measure.workload and held and len(held.launches) >= LAUNCHES) or any(
            task != "basics" for task in measure.tasks
        )

    def measure(self, offer: Worth) -> None:
        """Carry out what was offered."""
        self.looks[offer.case] += 1
        index, wanted = self._levels[offer.measure.rows[0]], offer.measure
        if wanted.workload:
            self.launch(index, wanted.launches or LAUNCHES)
        elif wanted.tolerance is not None:
            self.race(index, wanted.tolerance, ALPHA / max(1, round(ALPHA / wanted.alpha)))
        else:
            self.answer(index)


def _launches(rng: np.random.Generator, level: Level, noise: Noise) -> NDArray[np.float64]:
    logs = rng.normal(0, WITHIN * max(noise.between, 0.3), LAUNCHES)
    logs += np.where(rng.random(LAUNCHES) < noise.outliers, math.log(0.8), 0.0)
    return np.asarray(level.decode * np.exp(logs))


def _answers(
    rng: np.random.Generator, level: Level, reference: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    lost, won = (level.disagreement + level.loss) / 2, (level.disagreement - level.loss) / 2
    correct = reference.copy()
    luck = rng.random(len(reference))
    correct[reference & (luck < lost / ACCURACY)] = False
    correct[~reference & (luck < won / (1 - ACCURACY))] = True
    return correct


@lru_cache(maxsize=8)
def _items(n: int) -> tuple[tuple[ItemResult, ItemResult], ...]:
    return tuple(
        (
            ItemResult(id=str(index), correct=False, chosen=0),
            ItemResult(id=str(index), correct=True, chosen=0),
        )
        for index in range(n)
    )


@dataclass(frozen=True)
class Outcome:
    """How one study went, measured as far as it takes and measured whole."""

    same: bool
    as_good: bool
    decision: str
    whole: str
    share: float
    time_s: float
    whole_s: float


def outcome(rng: np.random.Generator, setting: Setting) -> Outcome:
    """Run one study both ways."""
    whole = Study.drawn(rng, setting)
    part = Study(setting, whole.launches, whole.answers, whole.order)
    levels = range(len(setting.levels))
    for index in levels:
        whole.launch(index, LAUNCHES)
        whole.answer(index)
        part.launch(index, FIRST)
    part.answer(0)
    sitting = Measuring(part.outlook, part.measure, changes, lambda: part.now_s)
    decided = decide_by_measuring(sitting, HUGE_S)
    ours, all_of_it = decided.pick, whole.asked(1)[1]
    told, whole_told = _told(setting, ours), _told(setting, all_of_it)
    same = (ours.decision, ours.artifact) == (all_of_it.decision, all_of_it.artifact)
    return Outcome(
        same,
        same or (told in ("picked", "none") and whole_told in (told, "undecided")),
        told,
        whole_told,
        part.now_s / whole.all_s(),
        part.now_s,
        whole.all_s(),
    )


def _told(setting: Setting, decision: Pick) -> str:
    if decision.decision == "none":
        return "none, wrongly" if any(map(setting.keeps, setting.levels)) else "none"
    if decision.decision == "undecided":
        return "undecided"
    taken = next(it for it in setting.levels if f"tiny-{it.name}" == decision.artifact)
    return "picked" if setting.keeps(taken) else "broken"


@dataclass(frozen=True)
class Summary:
    """What many studies came to, in shares of them."""

    same: float
    as_good: float
    broken: float
    none_wrongly: float
    undecided: float
    whole_broken: float
    whole_undecided: float
    time: float


def summary(setting: Setting, studies: int, seed: int = 1) -> Summary:
    """Run studies; return how often they decide alike, and the share of the time they took."""
    rng = np.random.default_rng(seed)
    told = [outcome(rng, setting) for _ in range(studies)]

    def share(name: str, whole: bool = False) -> float:
        return sum((it.whole if whole else it.decision) == name for it in told) / studies

    return Summary(
        same=sum(it.same for it in told) / studies,
        as_good=sum(it.as_good for it in told) / studies,
        broken=share("broken"),
        none_wrongly=share("none, wrongly"),
        undecided=share("undecided"),
        whole_broken=share("broken", True),
        whole_undecided=share("undecided", True),
        time=sum(it.time_s for it in told) / sum(it.whole_s for it in told),
    )


CLEAR = (
    Level("f16", 16, 10),
    Level("q8_0", 8.5, 18, 0.0, 0.01),
    Level("q6_k", 6.6, 22, 0.002, 0.02),
    Level("q4_k_m", 4.8, 33, 0.005, 0.04),
    Level("q3_k_m", 3.9, 37, 0.06, 0.10),
    Level("q2_k", 2.6, 42, 0.15, 0.20),
)
LIMITS = Constraints(min_decode_tokens_per_s=30, max_accuracy_loss=0.03)
ALL = Constraints(min_decode_tokens_per_s=30, max_ttft_s=20 / 30, max_accuracy_loss=0.03)


def _twelve(loss: float) -> tuple[Level, ...]:
    """Return six levels of two models each; the fifth loses so much."""
    losses = {16: 0.0, 8: 0.0, 6: 0.002, 5: 0.008, 4: loss, 3: 0.15}
    return tuple(
        Level(f"m{bits}t{size}", bits + size / 100, 60 / bits * size**0.6, lost, 0.03 + lost)
        for bits, lost in losses.items()
        for size in (1, 2)
    )


ALMOST = (
    Level("f16", 16, 10),
    *(Level(f"iq{index}", 4 + index / 10, 29.95 + index / 100, 0.0, 0.02) for index in range(4)),
)
NEAR = (
    Level("f16", 16, 10),
    Level("q8_0", 8.5, 28, 0.0, 0.01),
    Level("q6_k", 6.6, 31, 0.005, 0.02),
    Level("q4_k_m", 4.8, 36, 0.02, 0.05),
    Level("q3_k_m", 3.9, 40, 0.06, 0.10),
)


def settings() -> list[Setting]:
    """Return truths that are clear, near a limit, noisy, and with many candidates."""
    clear = Setting("six levels, clear", CLEAR, LIMITS, launches=LAUNCHES)
    many = Constraints(min_decode_tokens_per_s=14, max_accuracy_loss=0.03)
    return [
        clear,
        replace(clear, name="six levels, launches differ more", noise=Noise(between=3)),
        replace(clear, name="six levels, outliers", noise=Noise(outliers=0.05)),
        replace(clear, name="six levels, three constraints", constraints=ALL),
        replace(clear, name="six levels, smallest", objective="memory"),
        replace(clear, name="five levels near the limits", levels=NEAR),
        replace(clear, name="twelve candidates", levels=_twelve(0.1), constraints=many, items=2000),
        replace(
            clear,
            name="twelve, near the limits",
            levels=_twelve(0.05),
            constraints=many,
            items=2000,
        ),
        replace(clear, name="four just too slow", levels=ALMOST),
        replace(
            clear,
            name="nothing is fast enough",
            constraints=Constraints(min_decode_tokens_per_s=60),
        ),
    ]


def main() -> None:
    """Read the arguments and print a row for each setting."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--only", default="", help="settings whose name holds this")
    arguments = parser.parse_args()
    names = list(Summary.__dataclass_fields__)
    print(f"{'setting':36}" + "".join(f"{name.replace('_', ' '):>17}" for name in names))
    for setting in settings():
        if arguments.only in setting.name:
            told = summary(setting, arguments.studies)
            figures = "".join(f"{getattr(told, name):17.3f}" for name in names)
            print(f"{setting.name:36}{figures}", flush=True)


if __name__ == "__main__":
    main()

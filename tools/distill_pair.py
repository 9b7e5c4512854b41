"""Train a teacher, and for each seed a student of its own and one that the teacher distils.

    python tools/distill_pair.py FOLDER [--quick]

Writes checkpoints (teacher, vanilla-SEED, distilled-SEED), the test as task files of edgebench,
and curve.json: accuracy at each budget of tokens, with FLOP, seconds and the answers themselves.
What is done is not done again: the same command goes on where it was stopped. Needs the extra
`export`; under 90 minutes on two cores, two minutes with --quick.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lib.pair import language, models, training

SEEDS = (0, 1, 2)
BUDGETS = (150_000, 300_000, 600_000, 1_200_000, 2_400_000)  # tokens a student reads
TEACHER_TOKENS = 4_000_000
QUESTIONS = 1000


@dataclass(frozen=True)
class Plan:
    """How much is trained and asked."""

    seeds: tuple[int, ...] = SEEDS
    budgets: tuple[int, ...] = BUDGETS
    teacher_tokens: int = TEACHER_TOKENS
    questions: int = QUESTIONS


QUICK = Plan(seeds=(0,), budgets=(20_480, 40_960), teacher_tokens=102_400, questions=60)


def main() -> None:
    """Train what is not trained yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="a run of two minutes, for tests")
    parser.add_argument("--seeds", type=int, help="train so many seeds instead of three")
    parser.add_argument("--only", choices=["teacher", "vanilla", "distilled"])
    typed = parser.parse_args()
    plan = QUICK if typed.quick else Plan()
    if typed.seeds is not None:
        plan = replace(plan, seeds=tuple(range(typed.seeds)))
    folder = typed.folder
    folder.mkdir(parents=True, exist_ok=True)
    language.write_task(folder, plan.questions)
    language.write_text(folder, 40)
    tokenizer = _tokenizer(folder)
    asked = language.held_out(plan.questions)
    if typed.only != "vanilla":
        _teacher(folder, tokenizer, plan, asked)
    for seed in plan.seeds:
        for kind in ("vanilla", "distilled"):
            if typed.only in (None, kind):
                _student(folder, tokenizer, plan, asked, kind, seed)


def _tokenizer(folder: Path) -> Any:
    place = folder / "tokenizer"
    return models.load_tokenizer(place) if place.exists() else models.make_tokenizer(place)


def _teacher(folder: Path, tokenizer: Any, plan: Plan, asked: list[language.Question]) -> None:
    if (folder / "teacher").exists():
        return
    learner = training.Learner(models.make_model(models.TEACHER, 99), models.TEACHER, tokenizer, 99)
    for reached in learner.reach([plan.teacher_tokens], _teller("teacher")):
        _record(folder, "teacher", 99, reached, training.answers(reached.model, tokenizer, asked))
        models.save(reached.model, tokenizer, folder / "teacher")


def _student(
    folder: Path,
    tokenizer: Any,
    plan: Plan,
    asked: list[language.Question],
    kind: str,
    seed: int,
) -> None:
    name = f"{kind}-{seed}"
    if (folder / name).exists():
        return
    learner = training.Learner(
        models.make_model(models.STUDENT, seed), models.STUDENT, tokenizer, seed
    )
    if kind == "distilled":
        learner.teacher = _load(folder / "teacher")
        learner.teacher_size = models.TEACHER
    _forget(folder, kind, seed)
    for reached in learner.reach(plan.budgets, _teller(name)):
        _record(folder, kind, seed, reached, training.answers(reached.model, tokenizer, asked))
        if reached.tokens >= plan.budgets[-1] - training.TOKENS_A_STEP:
            models.save(reached.model, tokenizer, folder / name)


def _load(folder: Path) -> Any:
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(folder).eval()


def _record(
    folder: Path, kind: str, seed: int, reached: training.Reached, right: list[bool]
) -> None:
    """Add a point to curve.json, whole or not at all."""
    points = _points(folder)
    points.append(
        {
            "kind": kind,
            "seed": seed,
            "tokens": reached.tokens,
            "flop": reached.flop,
            "teacher_flop": reached.teacher_flop,
            "seconds": round(reached.seconds, 2),
            "right": "".join("1" if answer else "0" for answer in right),
        }
    )
    _write(folder, points)
    told = f"{kind}-{seed}: {reached.tokens} tokens, {reached.flop:.3g} FLOP"
    _say(f"{told}, {100 * sum(right) / len(right):.1f} % of {len(right)} right")


def _forget(folder: Path, kind: str, seed: int) -> None:
    """Drop the points of a run that was stopped before its end: it begins again."""
    points = [point for point in _points(folder) if (point["kind"], point["seed"]) != (kind, seed)]
    _write(folder, points)


def _points(folder: Path) -> list[dict[str, Any]]:
    place = folder / "curve.json"
    return list(json.loads(place.read_text())) if place.exists() else []


def _write(folder: Path, points: list[dict[str, Any]]) -> None:
    part = folder / ".curve.json.part"
    part.write_text(json.dumps(points, indent=1) + "\n")
    os.replace(part, folder / "curve.json")


def _teller(name: str) -> Any:
    begin = time.monotonic()

    def tell(words: str) -> None:
        _say(f"{name}: {words} ({time.monotonic() - begin:.0f} s)")

    return tell


def _say(words: str) -> None:
    sys.stderr.write(words + "\n")


if __name__ == "__main__":
    main()

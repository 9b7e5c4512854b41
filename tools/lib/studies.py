"""Studies whose truth is known: levels of models at settings, drawn as runs that a pick can judge.

Knows true figures and how launches, answers and chunks scatter about them. Picks nothing.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support.builders import (
    make_accuracy,
    make_artifact,
    make_energy,
    make_launch,
    make_run,
    make_runtime,
    make_speed,
)

from edgebench.analyze.pick import Constraints
from edgebench.records.accuracy import Divergence, ItemResult
from edgebench.records.artifact import Artifact
from edgebench.records.base import Estimate
from edgebench.records.energy import Energy
from edgebench.records.run import Run
from edgebench.records.settings import Settings
from edgebench.records.speed import Launch, Memory
from edgebench.stats.chunks import mean_of_chunks
from edgebench.stats.clusters import clustered_proportion
from edgebench.stats.estimates import proportion_estimate
from edgebench.stats.student import normal_quantile, t_quantile

Floats = NDArray[np.float64]
Answers = NDArray[np.bool_]

WITHIN, REPETITIONS = 0.02, 5
ACCURACY = 0.6  # of a reference
TOKENS, TOKEN_SD = 128, 0.10  # of a launch, where tokens are drawn
CHUNKS, CHUNK_SD, CHUNK_RHO = 40, 0.5, 0.5
POWER_W, POWER_SD = 10.0, 0.02


@dataclass(frozen=True)
class Level:
    """A level's true figures; `disagreement`: how often it answers unlike its reference."""

    name: str
    bits: float
    decode: float
    loss: float = 0.0
    disagreement: float = 0.0
    model: str = "tiny"
    threads: int = 1
    power_w: float = POWER_W
    kld: float = 0.01

    @property
    def accuracy(self) -> float:
        """Return the share of all items that it gets right."""
        return ACCURACY - self.loss

    @property
    def energy_j(self) -> float:
        """Return the joules of a token, on average over launches."""
        return self.power_w / self.decode

    @property
    def p99_s(self) -> float:
        """Return the typical launch's p99 of a token."""
        return math.exp(normal_quantile(0.99) * TOKEN_SD) / self.decode


@dataclass(frozen=True)
class Noise:
    """How launches and answers scatter. `between`: of launches, as a multiple of that within."""

    between: float = 1.0
    outliers: float = 0.0  # the share of launches that are a fifth slower
    drift: float = 0.0  # of all levels from the first round to the last, as a share
    cluster: int = 1  # items that share a context
    correlation: float = 0.0  # of what is lost, and of what is right, within a cluster


@dataclass(frozen=True)
class Setting:
    """What is measured, and what is asked."""

    name: str
    levels: tuple[Level, ...]
    constraints: Constraints
    objective: str = "decode"
    launches: int = 5
    items: int = 1000
    noise: Noise = field(default_factory=Noise)

    def keeps(self, level: Level) -> bool:
        """Return whether a level keeps every constraint in truth."""
        asked = self.constraints
        most = {
            20 / level.decode: asked.max_ttft_s,
            level.p99_s: asked.max_latency_s.get("p99"),
            level.energy_j: asked.max_energy_j,
            level.loss: asked.max_accuracy_loss,
            level.kld: asked.max_divergence,
        }
        least = {
            level.decode: asked.min_decode_tokens_per_s,
            level.accuracy: asked.min_accuracy.get("basics"),
        }
        broken = any(limit is not None and value > limit for value, limit in most.items())
        return not broken and all(limit is None or value >= limit for value, limit in least.items())


def study(rng: np.random.Generator, setting: Setting) -> list[Run]:
    """Draw one study's runs; a model's first level is its reference, whose answers others change.

    A level at several threads answers once: its rows share the answers.
    """
    runs, answered = [], set()
    answers = _answers(rng, setting)
    for level in setting.levels:
        artifact = make_artifact(
            model=level.model,
            level=level.name,
            bits_per_weight=level.bits,
            size_bytes=int(level.bits * 1e6),
        )
        runs.append(_speed_run(rng, artifact, level, setting))
        if (level.model, level.name) not in answered:
            answered.add((level.model, level.name))
            runs.append(_task_run(artifact, answers[level.model, level.name], setting))
            if setting.constraints.max_divergence is not None:
                runs.append(_text_run(rng, artifact, level))
    return runs


def _speed_run(rng: np.random.Generator, artifact: Artifact, level: Level, setting: Setting) -> Run:
    decodes = _decodes(rng, level, setting)
    with_tokens = bool(setting.constraints.max_latency_s)
    launches = [
        _launch(rng, index, decode, with_tokens) for index, decode in enumerate(decodes.tolist())
    ]
    return make_run(
        artifact=artifact,
        speed=make_speed(level.decode, launches=launches),
        energy=(_energy(rng, level, decodes),),
        settings=Settings(threads=level.threads),
        runtime=make_runtime(threads=level.threads),
        memory=Memory(peak_rss_bytes=int(level.bits * 1e6)),
    )


def _launch(rng: np.random.Generator, index: int, decode: float, with_tokens: bool) -> Launch:
    tokens: dict[str, tuple[float, ...]] = {}
    if with_tokens:
        drawn = np.exp(rng.normal(0, TOKEN_SD, TOKENS)) / decode
        tokens = {"token_s": tuple(drawn.tolist())}
    return make_launch(f"round {index}", decode, ttft_s=20 / decode, **tokens)


def _energy(rng: np.random.Generator, level: Level, decodes: Floats) -> Energy:
    """Draw a meter's joules of the very launches, with the interval that `figures` gives them."""
    joules = level.power_w / decodes * np.exp(rng.normal(0, POWER_SD, len(decodes)))
    half = t_quantile(0.975, len(joules) - 1) * float(joules.std(ddof=1)) / math.sqrt(len(joules))
    return make_energy(float(joules.mean()), half)


def _decodes(rng: np.random.Generator, level: Level, setting: Setting) -> Floats:
    n, noise = setting.launches, setting.noise
    repetitions = np.median(rng.normal(0, WITHIN, (n, REPETITIONS)), axis=1)
    logs = repetitions + rng.normal(0, noise.between * WITHIN, n)
    logs += np.where(rng.random(n) < noise.outliers, math.log(0.8), 0.0)
    logs += np.linspace(noise.drift / 2, -noise.drift / 2, n)
    return np.asarray(level.decode * np.exp(logs))


def _answers(rng: np.random.Generator, setting: Setting) -> dict[tuple[str, str], Answers]:
    told: dict[tuple[str, str], Answers] = {}
    references: dict[str, Answers] = {}
    for level in setting.levels:
        if level.model not in references:
            rates = _rates(rng, ACCURACY, setting)
            references[level.model] = rng.random(setting.items) < rates
        if (level.model, level.name) not in told:
            told[level.model, level.name] = _changed(rng, references[level.model], level, setting)
    return told


def _rates(rng: np.random.Generator, rate: float, setting: Setting) -> Floats:
    """Return each item's rate: one for all, or one drawn for each cluster."""
    n, noise = setting.items, setting.noise
    if not noise.correlation or not rate:
        return np.full(n, rate)
    scale = (1 - noise.correlation) / noise.correlation
    groups = -(-n // noise.cluster)
    drawn = rng.beta(rate * scale, (1 - rate) * scale, groups)
    return np.asarray(np.repeat(drawn, noise.cluster)[:n])


def _changed(
    rng: np.random.Generator, reference: Answers, level: Level, setting: Setting
) -> Answers:
    lost, won = (level.disagreement + level.loss) / 2, (level.disagreement - level.loss) / 2
    rates, draws = _rates(rng, lost, setting), rng.random((2, setting.items))
    correct = reference.copy()
    correct[reference & (draws[0] < np.minimum(1, rates / ACCURACY))] = False
    correct[~reference & (draws[1] < won / (1 - ACCURACY))] = True
    return correct


@lru_cache(maxsize=8)
def _items(n: int, cluster: int) -> tuple[tuple[ItemResult, ItemResult], ...]:
    return tuple(
        (
            ItemResult(id=str(index), correct=False, chosen=0, cluster=name),
            ItemResult(id=str(index), correct=True, chosen=0, cluster=name),
        )
        for index in range(n)
        for name in ["" if cluster == 1 else str(index // cluster)]
    )


def _task_run(artifact: Artifact, correct: Answers, setting: Setting) -> Run:
    right = correct.tolist()
    pairs = _items(setting.items, setting.noise.cluster)
    items = tuple(pair[is_right] for pair, is_right in zip(pairs, right, strict=True))
    value = proportion_estimate(sum(right), len(right))
    if setting.noise.cluster > 1:
        value = clustered_proportion(right, [item.cluster for item in items])
    accuracy = make_accuracy([True]).model_copy(
        update={"n": len(right), "value": value, "items": items}
    )
    return make_run(artifact=artifact, workload=None, speed=None, task="basics", accuracy=accuracy)


def _text_run(rng: np.random.Generator, artifact: Artifact, level: Level) -> Run:
    """Draw chunks of which neighbours are alike, lognormal about the level's divergence."""
    logs = np.empty(CHUNKS)
    steps = rng.normal(0, CHUNK_SD, CHUNKS)
    logs[0] = steps[0]
    for index in range(1, CHUNKS):
        logs[index] = CHUNK_RHO * logs[index - 1] + math.sqrt(1 - CHUNK_RHO**2) * steps[index]
    klds = (level.kld * np.exp(logs - CHUNK_SD**2 / 2)).tolist()
    mean: Estimate = mean_of_chunks(klds)
    divergence = Divergence(
        reference=f"{level.model}-f16",
        reference_sha256="sha",
        text="wiki",
        text_sha256="wiki",
        chunks=CHUNKS,
        tokens=CHUNKS * 255,
        mean_kld=mean,
        perplexity=20.0,
        bits_per_byte=0.9,
        truncated_mass=0.0,
        chunk_klds=tuple(klds),
    )
    return make_run(
        artifact=artifact, workload=None, speed=None, task="wiki", divergence=divergence
    )

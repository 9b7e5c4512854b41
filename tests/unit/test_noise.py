"""Was a launch disturbed, do launches lie apart, do they drift: told from what is known."""

from __future__ import annotations

import math
import random

import pytest

from edgebench.figures.noise import disturbed, drift, noise_warnings, spread, unsteady
from edgebench.figures.speed import largest_memory, speed_of
from edgebench.records.device import Snapshot
from edgebench.records.settings import Workload
from edgebench.records.speed import Launch, Memory

WORK = Workload(name="8+4", prompt_tokens=8, generate_tokens=4, launches=5)


def launch(decode_s: float = 1.0, **changes: object) -> Launch:
    """Return a launch whose single repetition decodes for `decode_s` seconds."""
    fields: dict[str, object] = {
        "round": "r",
        "load_s": 0.1,
        "prefill_s": (0.5,),
        "ttft_s": (0.6,),
        "decode_s": (decode_s,),
        "token_s": (decode_s / 4,) * 4,
        "warm_up_rounds": 3,
        "settled": True,
        "memory": Memory(peak_rss_bytes=100),
        "foreign_cpu": 0.0,
    }
    return Launch.model_validate(fields | changes)


def test_a_quiet_launch_is_kept_and_a_busy_one_is_not() -> None:
    """A tenth of the processors at work for others is the limit; unknown counts as quiet."""
    assert not disturbed(launch(foreign_cpu=0.3), cores=4)
    assert disturbed(launch(foreign_cpu=0.5), cores=4)
    assert not disturbed(launch(foreign_cpu=None), cores=4)
    assert disturbed(launch(loaded=Snapshot(throttled=True)), cores=4)


def test_spread_is_that_of_the_phase_that_varies_more() -> None:
    """Steady decode does not hide a prefill that jumps."""
    steady = [launch() for _ in range(5)]
    assert spread(steady) == 0
    assert not unsteady(steady)
    jumping = [launch(prefill_s=(0.5 + 0.4 * (i == 0),)) for i in range(5)]
    assert spread(jumping) > 0.1
    assert unsteady(jumping)
    assert not unsteady(jumping[:2])  # of two nothing can be told


def test_spread_recovers_the_truth() -> None:
    """The coefficient of variation of many launches is the one that they were drawn with."""
    draw = random.Random(3)
    launches = [launch(math.exp(draw.gauss(0, 0.08))) for _ in range(4000)]
    assert spread(launches) == pytest.approx(0.08, rel=0.06)


def test_drift_is_from_the_first_half_to_the_second() -> None:
    """A machine that warms up is told, and by how much."""
    warming = [launch(1.0 + 0.1 * i) for i in range(6)]
    assert drift(warming) == pytest.approx(1.4 / 1.1 - 1)
    assert any("slower" in warning for warning in noise_warnings(warming, 4))
    assert drift([launch() for _ in range(4)]) == 0


def test_warnings_name_the_figure_and_what_to_do() -> None:
    """Other programs, a warm-up that never settled, throttling and low clocks are each told."""
    clocks = Snapshot(clocks_hz={"cpu0": 1e9}, max_clocks_hz={"cpu0": 2e9}, throttled=True)
    launches = [launch(foreign_cpu=1.2, settled=False, loaded=clocks) for _ in range(3)]
    told = " | ".join(noise_warnings(launches, 2))
    for words in ("1.2 of 2 processors", "--no-resume", "never settled in 3 of 3", "throttled",
                  "50 % of what is allowed"):  # fmt: skip
        assert words in told
    assert noise_warnings([launch() for _ in range(5)], 2) == []


def test_speed_is_over_launches() -> None:
    """A launch counts by the median of its repetitions; the estimate is over launches."""
    slow = launch().model_copy(update={"decode_s": (2.0, 2.0, 9.0)})
    speed = speed_of(WORK, [slow, launch(1.0), launch(1.0), launch(1.0), launch(1.0)])
    assert speed.decode.tokens_per_s.value == 4.0
    assert speed.decode.tokens_per_s.n == 5
    assert speed.decode_from == 8
    assert len(speed.decode.samples_s) == 7
    alone = speed_of(WORK, [launch()])
    assert alone.decode.tokens_per_s.bounds is None


def test_memory_is_the_most_that_any_launch_took() -> None:
    """Field by field; what no launch told stays absent."""
    memory = largest_memory([Memory(peak_rss_bytes=5, kv_cache_bytes=2), Memory(peak_rss_bytes=7)])
    assert (memory.peak_rss_bytes, memory.kv_cache_bytes, memory.vram_bytes) == (7, 2, None)

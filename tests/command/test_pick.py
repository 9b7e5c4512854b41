"""pick through the whole command: several devices, wrong words, every figure on request."""

from __future__ import annotations

import pytest
from support.builders import make_artifact, make_run, make_runtime, make_speed, make_task_run
from support.shell import Shell

from edgebench.records.device import DeviceInfo
from edgebench.records.settings import Settings
from edgebench.run.store import Store


@pytest.fixture
def boards(edgebench: Shell) -> Shell:
    """Store made up runs of two models at two numbers of threads, here and on a board."""
    for device, times in (("cpu", 1.0), ("jetson-orin-nano-8gb", 4.0)):
        store = Store(edgebench.cwd / "profiles", device)
        store.prepare()
        info = DeviceInfo(name=device, machine=device)
        for model, decode in (("tiny", 20.0), ("small", 10.0)):
            path = f"/models/{model}-q8_0.gguf"
            artifact = make_artifact(model=model, format="gguf", path=path)
            for threads in (1, 2):
                run = make_run(
                    run_id=f"{device} {model} {threads}",
                    case_id=f"{model} {threads}",
                    artifact=artifact,
                    device=info,
                    settings=Settings(threads=threads),
                    runtime=make_runtime(threads=threads),
                    speed=make_speed(times * threads * decode),
                )
                store.append(run)
            answers = make_task_run(
                [True] * 80 + [False] * 20,
                run_id=f"{device} {model}",
                artifact=artifact,
                device=info,
            )
            store.append(answers)
    return edgebench


def test_the_best_over_devices_is_named_with_what_to_type(boards: Shell) -> None:
    """A family stands for its boards; winner, losers and commands are in the JSON."""
    typed = ("pick", "--device", "cpu", "--device", "jetson", "--min-accuracy", "basics=60%")
    decision = boards.json(*typed, "--json")
    winner = decision["winner"]
    told = (winner["model"], winner["level"], winner["format"], winner["device"])
    assert told == ("tiny", "q8_0", "gguf", "jetson-orin-nano-8gb")
    assert winner["settings"]["threads"] == 2
    assert winner["sha256"] == decision["sha256"]
    assert [way["program"] for way in winner["run"]][:2] == ["llama-cli", "llama-server"]
    assert len(decision["losers"]) == 7
    assert {it["why"] for it in decision["losers"]} == {"worse"}
    text = boards(*typed).stdout
    assert text.startswith("Picked: tiny-q8_0 (2 threads) on jetson-orin-nano-8gb\n")
    assert "\n  llama-cli --model /models/tiny-q8_0.gguf --threads 2 " in text
    assert "llama-server" not in text
    assert "llama-server" in boards(*typed, "--explain").stdout


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("--objective", "decod"), "did you mean 'decode'?"),
        (("--objective", "decode=-1"), "from 0 up"),
        (("--objective", "decode=0"), "add up to 0"),
        (("--min-accuracy", "basic=60%"), "basics"),
        (("--min-accuracy", "basics=101%"), "60%"),
        (("--max-latency", "p98=1s"), "p50, p95, p99"),
        (("--max-latency", "p99=1s", "--max-latency", "p99=2s"), "twice"),
        (("--max-size", "300"), "6GiB"),
        (("--device", "raspberry-pi-5"), "no runs of device"),
    ],
)
def test_wrong_words_are_one_line_and_exit_2(
    boards: Shell, typed: tuple[str, ...], words: str
) -> None:
    """What is wrong and what to type; nothing on stdout."""
    done = boards("pick", "--device", "cpu", *typed)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) <= 2

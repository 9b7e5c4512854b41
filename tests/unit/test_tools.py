"""The tools' runner: its list, its arguments, its table. No benchmark is run here."""

from __future__ import annotations

from pathlib import Path

import bench
import pytest
from benchmarks import DURATIONS, Figure, Range, ratio

TOOLS = Path(bench.__file__).parent


def test_every_benchmark_is_listed_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """A module of benchmarks/ is in the list and in the README, and has defaults for everything."""
    modules = {file.stem for file in (TOOLS / "benchmarks").glob("*.py")} - {"__init__"}
    assert modules == set(DURATIONS)
    assert bench.main(["--list"]) == 0
    listed = capsys.readouterr().out
    readme = (TOOLS / "README.md").read_text("utf-8")
    for name in modules:
        assert f"\n{name} " in listed
        assert f"| `{name}` |" in readme


def test_every_script_is_in_the_readme() -> None:
    """The index has a line for each script."""
    readme = (TOOLS / "README.md").read_text("utf-8")
    assert [file.name for file in TOOLS.glob("*.py") if f"| `{file.name}" not in readme] == []


def test_arguments_are_typed_as_their_defaults() -> None:
    """A number stays a number; what no chosen benchmark has is refused."""
    assert bench.arguments("speed", ["pairs=3", "levels=q4_0"]) == {"pairs": 3, "levels": "q4_0"}
    with pytest.raises(SystemExit) as ended:
        bench.main(["help", "--set", "chunks=3"])
    assert ended.value.code == 2


def test_a_figure_within_what_is_wanted_is_met() -> None:
    """The ends count; a figure without a wish is neither met nor missed."""
    figure = ratio("a over b", [(1.0, 2.0), (3.0, 2.0), (2.0, 2.0)], Range(1.0, None))
    assert (figure.measured, figure.met, figure.spread) == (1.0, True, Range(0.5, 1.5))
    assert Figure("x", Range(None, 1.5), 1.6).met is False
    assert Figure("x", None, 1.6).met is None
    assert [str(Range(*ends)) for ends in ((None, 2), (1, None), (1, 2))] == [
        "at most 2",
        "at least 1",
        "1 to 2",
    ]

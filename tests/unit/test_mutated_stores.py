"""Nothing that was stored can make compare or pick fail."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from support.mutants import everything_of, good_lines, mutated

LINES = good_lines()


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=40)
def test_changed_lines_are_judged_or_passed_over(seed: int) -> None:
    """Whatever stands in a line: every table, CSV, JSON and pick is made, and is clean."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.jsonl"
        path.write_text("\n".join(mutated(LINES, random.Random(seed))) + "\n")
        for printed in everything_of(path):
            assert "\x1b" not in printed
            assert "\u202e" not in printed

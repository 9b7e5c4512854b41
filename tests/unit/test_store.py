"""Runs on disk: what was written is never lost, and what is not a run is never taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import make_artifact, make_run
from support.schema import field_paths

from edgebench.errors import BadFileError, UsageError
from edgebench.records.base import safe_name
from edgebench.records.run import run_schema
from edgebench.run.store import Store, read_runs


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return an empty store of the device cpu."""
    store = Store(tmp_path / "profiles", "cpu")
    store.prepare()
    return store


def test_runs_come_back_as_they_went(store: Store) -> None:
    """Appended runs are read back equal and in order."""
    runs = [make_run(run_id=f"run-{index}") for index in range(3)]
    paths = {store.append(run) for run in runs}
    assert len(paths) == 1
    assert list(read_runs([store.folder])) == runs


def test_torn_last_line_is_set_aside(store: Store) -> None:
    """A line without its end is passed over; the next append moves it away and stands alone."""
    path = store.append(make_run(run_id="whole"))
    torn = make_run(run_id="torn").to_line().encode()[:-40]
    with path.open("ab") as file:
        file.write(torn)
    assert [run.run_id for run in read_runs([path])] == ["whole"]
    store.append(make_run(run_id="next"))
    assert [run.run_id for run in read_runs([path])] == ["whole", "next"]
    assert path.with_suffix(".torn").read_bytes() == torn + b"\n"


@given(st.integers(0, 4000))
@settings(deadline=None)
def test_file_cut_anywhere_keeps_the_whole_lines(cut: int) -> None:
    """However a write was interrupted, the runs before it are read and nothing else is."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), "cpu")
        store.prepare()
        path = store.append(make_run(run_id="a"))
        store.append(make_run(run_id="b"))
        raw = path.read_bytes()[:cut]
        path.write_bytes(raw)
        assert [run.run_id for run in read_runs([path])] == ["a", "b"][: raw.count(b"\n")]


def test_broken_line_in_the_middle_is_named(store: Store) -> None:
    """File, line and field; the file is left as it is."""
    path = store.append(make_run())
    good = path.read_bytes()
    path.write_bytes(good + b'{"schema": "edgebench.run/1", "run_id": 5}\n' + good)
    before = path.read_bytes()
    with pytest.raises(BadFileError, match=r"line 2, run_id: "):
        list(read_runs([path]))
    assert path.read_bytes() == before


def test_newer_fields_are_ignored_and_another_major_is_refused(store: Store) -> None:
    """A field that this version does not know is no fault; another schema is."""
    path = store.append(make_run())
    fields = json.loads(path.read_bytes())
    assert fields["schema"] == "edgebench.run/1"
    path.write_text(json.dumps(fields | {"humidity": 0.4}) + "\n")
    assert len(list(read_runs([path]))) == 1
    path.write_text(json.dumps(fields | {"schema": "edgebench.run/2"}) + "\n")
    with pytest.raises(BadFileError, match=r"'edgebench.run/2' is not edgebench.run/1"):
        list(read_runs([path]))


@pytest.mark.parametrize("line", [b"[]", b"{", b"\xff\xfe", b"null", b'{"schema": 1}', b"\x00"])
def test_line_that_is_no_run_is_refused(store: Store, line: bytes) -> None:
    """Whatever stands there: one clear error."""
    path = store.folder / "x.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(BadFileError, match="line 1"):
        list(read_runs([path]))


@given(st.text(max_size=300))
def test_names_stay_inside_their_folder(name: str) -> None:
    """A model's or device's name never leaves its folder, hides a file, or is too long."""
    safe = safe_name(name)
    assert Path(safe).name == safe
    assert 0 < len(safe) <= 120
    assert safe[0] not in ".-"


def test_model_with_a_path_for_a_name_is_stored_below(store: Store) -> None:
    """`../../x` is a name like any other."""
    path = store.append(make_run(artifact=make_artifact(model="../../x", name="../y")))
    assert path.parent == store.folder


def test_missing_runs_are_wrong_usage(tmp_path: Path) -> None:
    """Nothing there: what to type is said."""
    with pytest.raises(UsageError, match="no runs at") as caught:
        list(read_runs([tmp_path / "nowhere"]))
    assert caught.value.hint.startswith("edgebench profile")


# what 0.1.0 stored

DATA = Path(__file__).resolve().parents[1] / "data"


def test_runs_of_0_1_0_are_read_for_ever() -> None:
    """Good and failed ones, of speed, items, races and texts; what came later is absent."""
    runs = list(read_runs([DATA / "runs-0.1.0.jsonl"]))
    assert len(runs) == 12
    assert [run.status for run in runs].count("ok") == 11
    speeds = [run.speed for run in runs if run.speed]
    assert [(speed.launches, speed.decode_from) for speed in speeds] == [((), None)] * 2
    assert all(len(speed.decode.samples_s) == 3 for speed in speeds)
    assert all(run.workload.launches == 1 for run in runs if run.workload)
    assert sum(run.accuracy is not None and run.accuracy.race is not None for run in runs) == 2
    assert sum(run.divergence is not None for run in runs) == 3
    assert {run.device.machine for run in runs} == {None}


def test_runs_of_0_1_0_lose_nothing_by_being_stored_anew(store: Store) -> None:
    """Every field that stands in an old line stands in the line that is written of it now."""
    path = DATA / "runs-0.1.0.jsonl"
    for line, run in zip(path.read_text().splitlines(), read_runs([path]), strict=True):
        assert _is_within(json.loads(line), json.loads(run.to_line())), run.case_id


def _is_within(old: object, new: object) -> bool:
    """Return whether all that `old` holds is in `new`, at its place."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and _is_within(value, new[name]) for name, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        pairs = zip(old, new, strict=False)
        return len(old) == len(new) and all(_is_within(*pair) for pair in pairs)
    return old == new


def test_every_field_of_the_schema_of_0_1_0_is_still_there() -> None:
    """Fields are only added: whoever reads a run by the old schema finds all that it names."""
    now = set(field_paths(run_schema()))
    before = (DATA / "fields-0.1.0.txt").read_text().split()
    assert len(before) == 295
    assert [path for path in before if path not in now] == []


def test_joules_of_one_process_have_no_interval() -> None:
    """A run of 0.1.0 measured one process: its joules are shown, their old interval is not."""
    from edgebench.analyze.compare import compare
    from edgebench.analyze.rows import summarize

    path = Path(__file__).parents[1] / "data/runs-0.1.0.jsonl"
    rows = [row for group in compare(summarize(read_runs([path]))) for row in group.rows]
    joules = [row.energy.j_per_token for row in rows if row.energy]
    assert joules
    assert all(estimate.bounds is None and estimate.value > 0 for estimate in joules)

"""Runs on disk: what was written is never lost, and what is not a run is never taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import make_artifact, make_run

from edgebench.errors import BadFileError, UsageError
from edgebench.records.base import safe_name
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
@settings(max_examples=60)
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

"""Runs on disk: what was written is never lost, and what is not a run is never taken for one."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import make_artifact, make_run, make_speed
from support.schema import field_paths

from edgebench.errors import UsageError
from edgebench.records.base import safe_name
from edgebench.records.energy import Series, Timeline
from edgebench.records.run import Run, run_schema
from edgebench.run import stored, whole
from edgebench.run.store import Store, end_last_line
from edgebench.run.stored import PassedOver, read_runs
from edgebench.run.whole import readable


def read(*paths: Path) -> tuple[list[Run], list[str]]:
    """Return the runs below paths, and the words for each line that was passed over."""
    passed: list[PassedOver] = []
    runs = list(read_runs(paths, passed.append))
    return runs, [line.words for line in passed]


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
    assert read(store.folder) == (runs, [])


def test_torn_last_line_is_set_aside(store: Store) -> None:
    """A line without its end is passed over; the next append moves it away and stands alone."""
    path = store.append(make_run(run_id="whole"))
    torn = make_run(run_id="torn").to_line().encode()[:-40]
    with path.open("ab") as file:
        file.write(torn)
    runs, passed = read(path)
    assert [run.run_id for run in runs] == ["whole"]
    assert passed == [f"1 line at the end of {path} was not finished; passed over"]
    told: list[str] = []
    store.append(make_run(run_id="next"), told.append)
    store.append(make_run(run_id="last"), told.append)
    assert [run.run_id for run in read(path)[0]] == ["whole", "next", "last"]
    aside = path.with_suffix(".torn")
    assert told == [f"1 line at the end of {path} was not finished; set aside in {aside}"]
    assert aside.read_bytes() == torn + b"\n"


def test_a_file_cut_at_any_byte_of_its_last_line_keeps_every_finished_run(tmp_path: Path) -> None:
    """What was written to its end counts, newline or not; the next append stands by itself."""
    store = Store(tmp_path, "cpu")
    store.prepare()
    path = store.append(make_run(run_id="a"))
    first = path.read_bytes()
    line = make_run(run_id="b", speed=None, memory=None).to_line().encode() + b"\n"
    following = make_run(run_id="c", speed=None).to_line().encode() + b"\n"
    for cut in range(len(line) + 1):
        path.write_bytes(first + line[:cut])
        whole = ["b"] if cut >= len(line) - 1 else []
        runs, passed = read(path)
        assert [run.run_id for run in runs] == ["a", *whole], cut
        assert len(passed) == (0 < cut < len(line) - 1), cut
        with path.open("ab+") as file:  # what `append` does, without waiting for the disk
            told = end_last_line(path, file.fileno())
            os.write(file.fileno(), following)
        assert (told is None) == (not passed), cut
        runs, passed = read(path)
        assert ([run.run_id for run in runs], passed) == (["a", *whole, "c"], []), cut


def test_a_whole_line_of_another_version_is_not_set_aside(store: Store) -> None:
    """It was written to its end by an edgebench that can read it; it only gets its newline."""
    path = store.append(make_run(run_id="a"))
    with path.open("ab") as file:
        file.write(b'{"schema": "edgebench.run/2"}')
    before = path.read_bytes()
    assert len(read(path)[1]) == 1
    store.append(make_run(run_id="b"))
    assert path.read_bytes().startswith(before + b"\n{")
    assert not path.with_suffix(".torn").exists()


def test_broken_line_in_the_middle_is_named(store: Store) -> None:
    """File, line and field; the runs beside it count, and the file is left as it is."""
    path = store.append(make_run(run_id="a"))
    store.append(make_run(run_id="b"))
    good, other = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(good + b'{"schema": "edgebench.run/1", "run_id": 5}\n' + other)
    before = path.read_bytes()
    runs, passed = read(path)
    assert [run.run_id for run in runs] == ["a", "b"]
    assert len(passed) == 1
    assert passed[0].startswith(f"{path}, line 2: run_id: ")
    assert path.read_bytes() == before


def test_newer_fields_are_ignored_and_another_major_is_named(store: Store) -> None:
    """A field that this version does not know is no fault; another schema is."""
    path = store.append(make_run())
    fields = json.loads(path.read_bytes())
    assert fields["schema"] == "edgebench.run/1"
    path.write_text(json.dumps(fields | {"humidity": 0.4}) + "\n")
    assert len(read(path)[0]) == 1
    path.write_text(json.dumps(fields | {"schema": "edgebench.run/2"}) + "\n")
    runs, passed = read(path)
    assert runs == []
    assert "'edgebench.run/2' isn't edgebench.run/1" in passed[0]


WORSE = {
    "a list": b"[]",
    "no end": b"{",
    "no text": b"\xff\xfe",
    "null": b"null",
    "a NUL": b"\x00",
    "another schema": b'{"schema": 1}',
    "deep": b'{"humidity": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "many digits": b'{"wall_s": ' + b"9" * 5000 + b"}",
    "half a character": rb'{"run_id": "\ud800"}',
    "long name of a field": b'{"run_id": "x", "' + b"k" * 1_000_000 + b'": 1}',
}


@pytest.mark.parametrize("line", WORSE.values(), ids=WORSE)
def test_line_that_is_no_run_is_passed_over(store: Store, line: bytes) -> None:
    """Whatever stands there: it is named in a short line, and the next one counts."""
    path = store.folder / "x.jsonl"
    path.write_bytes(line + b"\n" + make_run().to_line().encode() + b"\n")
    runs, passed = read(path)
    assert len(runs) == 1
    assert len(passed) == 1
    assert passed[0].startswith(f"{path}, line 1: ")
    assert len(passed[0]) < 700


@pytest.mark.parametrize(
    "change",
    [
        {"wall_s": int("1" + "0" * 400)},
        {"wall_s": -1},
        {"speed": {"load_s": -1}},
        {"speed": {"ttft_s": {"value": 5, "low": 900, "high": -3}}},
        {"speed": {"decode": {"tokens_per_s": {"value": 0, "low": None, "high": None}}}},
        {"speed": {"decode": {"tokens_per_s": {"value": 1e200, "low": None, "high": None}}}},
        {"memory": {"peak_rss_bytes": 10**40}},
        {"memory": {"peak_rss_bytes": -5}},
        {"runtime": {"gpu_layers": 10**30}},
        {"artifact": {"size_bytes": 10**400}},
    ],
    ids=str,
)
def test_records_check_their_own_figures(store: Store, change: dict[str, Any]) -> None:
    """A number that no machine can have, and an interval beside its value, is no record."""
    path = store.append(make_run())
    fields = json.loads(path.read_bytes())
    path.write_text(json.dumps(_merged(fields, change)) + "\n")
    runs, passed = read(path)
    assert runs == []
    assert len(passed) == 1
    assert len(passed[0]) < 700


def test_every_field_of_a_run_is_bounded() -> None:
    """Each number has two ends, each text and each name in it a length: in the schema it shows."""
    unbounded = []

    def look(schema: Any, path: str) -> None:
        if isinstance(schema, list):
            for part in schema:
                look(part, path)
        if not isinstance(schema, dict):
            return
        kind = schema.get("type")
        numeric = kind in ("number", "integer")
        ends = {"minimum", "exclusiveMinimum"} & set(schema) and "maximum" in schema
        free = path.startswith(("Estimate.", "Series.values"))  # finite, and no more is asked
        chosen = {"const", "enum", "maxLength"} & set(schema)
        if (numeric and not ends and not free) or (kind == "string" and not chosen):
            unbounded.append(path)
        if schema.get("additionalProperties") and "propertyNames" not in schema:
            unbounded.append(f"{path} (names)")
        for name, part in schema.get("properties", {}).items():
            look(part, f"{path}{name}." if path.count(".") < 1 else f"{path}{name}")
        for key in ("anyOf", "items", "prefixItems", "additionalProperties", "propertyNames"):
            look(schema.get(key), path)

    whole_schema = run_schema()
    look({**whole_schema, "$defs": {}}, "Run.")
    for name, part in whole_schema["$defs"].items():
        look(part, f"{name}.")
    assert unbounded == []


def _merged(fields: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return fields | {
        name: _merged(fields[name], value) if isinstance(value, dict) else value
        for name, value in change.items()
    }


def test_an_overlong_line_is_passed_over_in_bounded_memory(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted by pieces; what stands before and after it counts."""
    monkeypatch.setattr(stored, "RUN_BYTES", 20_000)
    monkeypatch.setattr(stored, "PIECE_BYTES", 1000)
    path = store.append(make_run(run_id="a"))
    with path.open("ab") as file:
        file.write(b" " * 5_000_000 + b"\n")
    store.append(make_run(run_id="b"))
    tracemalloc.start()
    try:
        runs, passed = read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [run.run_id for run in runs] == ["a", "b"]
    assert passed == [f"{path}, line 2: it has 4 MiB, more than any run"]
    assert peak < 2_000_000


def test_what_is_no_file_is_named_and_not_waited_for(store: Store) -> None:
    """A FIFO, a folder, a device and a link into nothing that are called x.jsonl."""
    os.mkfifo(store.folder / "fifo.jsonl")
    (store.folder / "folder.jsonl").mkdir()
    (store.folder / "zero.jsonl").symlink_to("/dev/zero")
    (store.folder / "gone.jsonl").symlink_to("nothing")
    (store.folder / "circle.jsonl").symlink_to("circle.jsonl")
    store.append(make_run())
    runs, passed = read(store.folder)
    assert len(runs) == 1
    assert len(passed) == 5
    for word in ("a FIFO", "a folder", "a device", "gone.jsonl", "circle.jsonl"):
        assert any(word in words for words in passed), word


def test_a_run_that_is_stored_twice_counts_once(store: Store) -> None:
    """A copy of a file beside it, or a line written twice, is named."""
    path = store.append(make_run(run_id="a"))
    (store.folder / "copy.jsonl").write_bytes(path.read_bytes())
    runs, passed = read(store.folder)
    assert len(runs) == 1
    assert "its run_id is that of" in passed[0]


def test_reading_goes_on_where_it_left_off(store: Store) -> None:
    """Each run tells where its line begins and how long it is, so that an index can come back."""
    paths = {store.append(make_run(run_id=name)) for name in "abc"}
    path = paths.pop()
    every = list(stored.read_file(path, repr))
    second = every[1].line
    later = list(stored.read_file(path, repr, second.offset, second.number))
    assert [found.run.run_id for found in later] == ["b", "c"]
    assert later == every[1:]
    assert sum(found.line.size for found in every) == path.stat().st_size


def test_a_part_that_would_not_read_back_is_left_out(store: Store) -> None:
    """Whatever made it: the run is stored without it, and says so."""
    speed = make_speed()
    estimate = speed.ttft_s.model_copy(update={"value": float("nan")})
    broken = make_run().model_copy(update={"speed": speed.model_copy(update={"ttft_s": estimate})})
    path = store.append(readable(broken))
    runs, passed = read(path)
    assert passed == []
    assert runs[0].speed is None
    assert "ttft_s" in runs[0].absent["speed"]
    assert runs[0].memory


def test_a_run_whose_line_would_be_too_long_loses_its_readings_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The figures stay; that the readings are not there is said."""
    series = Series(rail="r", unit="W", kind="measured", t_ns=(0,) * 5000, values=(1.5,) * 5000)
    line = Timeline(period_s=0.1, totals=(), series=(series,), windows=())
    monkeypatch.setattr(whole, "RUN_BYTES", 20_000)
    run = readable(make_run(timelines=(line,)))
    assert run.timelines == ()
    assert run.speed
    assert "MiB" in run.absent["timelines"]


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

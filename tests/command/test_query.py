"""compare --sql and --parquet: what may be asked, how it is answered, and what can't get out."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from support.builders import make_artifact, make_run, make_speed, make_task_run
from support.shell import Shell

from edgebench.records.device import DeviceInfo
from edgebench.report.columns import FIGURES, names_of
from edgebench.report.query_columns import _ROW_MEANINGS, RUN_COLUMNS, documented
from edgebench.run.store import Store

duckdb = pytest.importorskip("duckdb")
DOCS = Path(__file__).resolve().parents[2] / "docs"
EVIL = "=cmd\x1b[31m|calc"


@pytest.fixture
def shell(edgebench: Shell) -> Shell:
    """Return a shell in whose profiles lie runs of two levels and two days, and a bad line."""
    store = Store(edgebench.cwd / "profiles", "cpu")
    store.prepare()
    device = DeviceInfo(name="cpu", cpu=EVIL)
    for day in (1, 2):
        for level, rate in (("f16", 10.0), ("q4_0", 30.0)):
            common = {
                "artifact": make_artifact(level=level, bits_per_weight=rate),
                "device": device,
                "created": f"2026-01-0{day}T00:00:00Z",
            }
            name = f"{level}-{day}"
            store.append(make_run(run_id=f"speed-{name}", speed=make_speed(rate + day), **common))
            store.append(make_task_run([True, False], run_id=f"task-{name}", **common))
    with (store.folder / "tiny.jsonl").open("a") as file:
        file.write("nonsense\n")
    return edgebench


def test_rows_are_what_compare_shows_and_runs_are_all(shell: Shell) -> None:
    """Of each case `rows` has the newest; `runs` has every run with its own figures."""
    sql = "select level, decode_tokens_per_s from rows order by 1"
    told = shell.json("compare", "--sql", sql, "--json")
    assert told["columns"] == [
        {"name": "level", "type": "VARCHAR"},
        {"name": "decode_tokens_per_s", "type": "DOUBLE"},
    ]
    shown = shell.json("compare", "--json")["rows"]
    assert told["rows"] == sorted(
        [row["artifact"]["level"], row["speed"]["decode"]["value"]] for row in shown
    )
    sql = "select created, decode_tokens_per_s from runs where level = 'f16' and task is null"
    told = shell.json("compare", "--sql", f"{sql} order by created;", "--json")
    assert told["rows"] == [["2026-01-01T00:00:00", 11.0], ["2026-01-02T00:00:00", 12.0]]
    sql = "select count(*), count(accuracy), count(energy_j_per_token) from runs"
    assert shell.json("compare", "--sql", sql, "--json")["rows"] == [[8, 4, 0]]
    refused = shell("compare", "--device", "jetson", "--sql", sql)
    assert refused.returncode == 2


def test_every_column_is_there_and_in_the_manual(shell: Shell) -> None:
    """`rows` has the columns of the CSV; types and meanings in the manual are the code's."""
    header = shell("compare", "--format", "csv").stdout.splitlines()[0].split(",")
    told = shell.json("compare", "--sql", "select * from rows", "--json")
    assert [column["name"] for column in told["columns"]] == header
    told = shell.json("compare", "--sql", "select * from runs", "--json")
    assert told["columns"] == [{"name": one.name, "type": one.type} for one in RUN_COLUMNS]
    assert set(_ROW_MEANINGS) == {names_of(figure)[0] for figure in FIGURES}
    hint = "write it anew: python -m edgebench.report.query_columns > docs/columns.md"
    assert (DOCS / "columns.md").read_text("utf-8") == documented(), hint


@pytest.mark.parametrize(
    "sql",
    [
        "selec 1",
        "select nope from rows",
        "select * from nowhere",
        "",
        "select 1; select 2",
        "drop table rows",
        "insert into rows select * from rows",
        "set memory_limit='1GB'",
        "attach 'x.db'",
        "install httpfs",
        "copy rows to 'stolen.csv'",
        "select * from read_csv('secret.csv')",
        "select * from 'secret.csv'",
        "select * from glob('*')",
        "select cast('x' as int)",
        "select * from range(2000000)",
        "select getenv('HOME')",
    ],
)
def test_a_query_that_fails_or_reaches_out_is_one_line(shell: Shell, sql: str) -> None:
    """Exit 2, one line and one hint; no file is read or written."""
    (shell.cwd / "secret.csv").write_text("a,b\n1,2\n")
    before = sorted(shell.cwd.rglob("*"))
    done = shell("compare", "--sql", sql)
    assert (done.returncode, done.stdout) == (2, "")
    lines = [line for line in done.stderr.splitlines() if not line.startswith("passed over")]
    assert len(lines) == 2, done.stderr
    assert sorted(shell.cwd.rglob("*")) == before


def test_answers_are_clean_in_every_form(shell: Shell) -> None:
    """What came from a file moves no cursor, breaks no table and is no formula."""
    sql = "select processor, level, 1/0.0 as much, null as none from rows order by level"
    for layout in ("table", "markdown", "csv", "json"):
        done = shell("compare", "--sql", sql, "--format", layout)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout
        assert "f16" in done.stdout
        if layout == "csv":
            rows = list(csv.reader(io.StringIO(done.stdout)))
            assert rows[1] == ["'=cmd [31m|calc", "f16", "inf", ""]
        if layout == "json":
            assert json.loads(done.stdout)["rows"][0][2:] == ["inf", None]
        if layout == "markdown":
            assert "\\|calc" in done.stdout
    assert shell("compare", "--sql", sql, "--format", "model-card").returncode == 2
    assert shell("compare", "--sql", sql, "--since", "7d").returncode == 2


def test_a_table_that_is_too_wide_names_what_it_leaves_out(shell: Shell) -> None:
    """No line is longer than the terminal; many rows are counted."""
    done = shell("compare", "--sql", "select * from runs")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "Left out to fit 80 columns: " in done.stdout
    done = shell("compare", "--sql", "select * from range(1500)")
    assert "500 more rows; --format csv has them all." in done.stdout


def test_parquet_is_written_whole_or_not_at_all(shell: Shell) -> None:
    """All rows, or what a query comes to; nothing where that fails."""
    done = shell("compare", "--parquet", "it's.parquet")
    assert (done.returncode, done.stdout) == (0, "")
    path = shell.cwd / "it's.parquet"
    quoted = str(path).replace("'", "''")
    (count,) = duckdb.connect().execute(f"select count(*) from '{quoted}'").fetchone()
    assert count == 2
    before = path.read_bytes()
    failed = shell("compare", "--sql", "select 1 / x from nowhere", "--parquet", path.name)
    assert failed.returncode == 2
    assert path.read_bytes() == before
    sql = "select level, decode_tokens_per_s from runs where task is null"
    assert shell("compare", "--sql", sql, "--parquet", path.name).returncode == 0
    rows = duckdb.connect().execute(f"select level from '{quoted}' order by 1").fetchall()
    assert rows == [("f16",), ("f16",), ("q4_0",), ("q4_0",)]
    assert shell("compare", "--parquet", "no/such/folder/x.parquet").returncode == 2
    assert sorted(one.name for one in shell.cwd.iterdir()) == ["it's.parquet", "profiles"]


def test_without_duckdb_the_extra_is_named(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 7, with what to install."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    done = shell("compare", "--sql", "from rows")
    assert done.returncode == 7
    assert 'pip install "edgebench[query]"' in done.stderr

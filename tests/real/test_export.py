"""Exports to GGUF and ONNX, held against torch, in families of tiny checkpoints."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.checkpoints import FAMILIES, bare_checkpoint
from support.shell import Family, Shell

from edgebench.sources.digests import sha256_of
from edgebench.sources.gguf_file import read_gguf

LEVELS = ("f32", "fp32", "fp16", "int8", "int4")


def agreement(*paths: Path | str) -> dict[str, dict[str, float]]:
    """Run artifacts on the same tokens; return how far each lies from the first."""
    script = Path(__file__).parents[1] / "support/agreement.py"
    done = subprocess.run(
        [sys.executable, str(script), *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"name"')]
    return {line["name"]: line for line in lines}


@pytest.fixture(scope="module")
def agreements(families: dict[str, Family]) -> dict[str, dict[str, float]]:
    """Hold all families' artifacts against their checkpoints in one process: torch loads once."""
    groups = [
        (one.checkpoint, *(one.path(level) for level in LEVELS), "--") for one in families.values()
    ]
    return agreement(*(path for group in groups for path in group))


@pytest.mark.parametrize("name", FAMILIES)
def test_formats_agree_with_the_checkpoint(
    families: dict[str, Family], agreements: dict[str, dict[str, float]], name: str
) -> None:
    """torch, GGUF f32, ONNX fp32 and fp16: the same top token everywhere, one log-probability.

    Singles agree within 1e-3 over the whole vocabulary; rounding weights to halves alone moves
    the worst of 50,000 by up to 2e-3 (llama.cpp's own f16 does the same).
    """
    family = families[name]
    by_level = {level: agreements[family.path(level).name] for level in LEVELS}
    for level, limit in (("f32", 1e-3), ("fp32", 1e-3), ("fp16", 3e-3)):
        assert by_level[level]["same_top"] == 1.0
        assert by_level[level]["worst"] < limit
        assert by_level[level]["score_error"] < 1e-3
    assert by_level["fp16"]["worst"] < by_level["int8"]["worst"] < by_level["int4"]["worst"] < 1


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_standard_graphs_agree_too(
    families: dict[str, Family], converting: Shell, name: str
) -> None:
    """optimum's graph, and its int4 level, under the same session."""
    family = families[name]
    config = json.loads((family.checkpoint / "config.json").read_text())
    made = converting.json(
        "export", str(family.checkpoint), "--format", "onnx", "--graph", "standard",
        "--output", str(family.artifacts), "--json",
    )["artifacts"][0]  # fmt: skip
    assert (made["graph"], made["architecture"]) == ("standard", config["architectures"][0])
    done = converting(
        "quantize", str(family.path("fp32-standard")), "--levels", "int4",
        "--output", str(family.artifacts),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = agreement(family.checkpoint, family.path("fp32-standard"), family.path("int4-standard"))
    assert found[f"{family.checkpoint.name}-fp32-standard"]["worst"] < 1e-3
    assert found[f"{family.checkpoint.name}-int4-standard"]["worst"] < 1


@pytest.mark.parametrize("name", FAMILIES)
def test_levels_are_as_named(families: dict[str, Family], name: str) -> None:
    """Sizes fall, types are what the names say, the export's check is recorded."""
    family = families[name]
    artifacts = {
        level: json.loads((family.path(level) / "artifact.json").read_text()) for level in LEVELS
    }
    sizes = [artifacts[level]["size_bytes"] for level in ("fp32", "fp16", "int8", "int4")]
    assert sizes == sorted(sizes, reverse=True)
    counted = artifacts["fp32"]["parameters"]
    assert counted == pytest.approx(artifacts["f32"]["parameters"], rel=2e-3)
    assert artifacts["fp32"]["export_check"]["same_top"] == 1.0
    assert artifacts["fp32"]["export_check"]["max_logprob_difference"] < 1e-3
    assert artifacts["int8"]["tensor_types"]["int8"] > 5
    assert artifacts["int4"]["tensor_types"]["int4"] > 5
    assert artifacts["fp16"]["tensor_types"]["float16"] > 5
    assert 4.4 < artifacts["int4"]["bits_per_weight"] < 9  # tiny models are mostly small tensors


def test_two_formats_stand_in_one_table(
    families: dict[str, Family], converting: Shell, tmp_path: Path
) -> None:
    """The same workload and tokens for torch, GGUF and ONNX; one group, the checkpoint first."""
    family = families["llama"]
    artifacts = [str(family.checkpoint), str(family.path("f32")), str(family.path("int4"))]
    runs = converting.json(
        "profile", *artifacts, "--device", "cpu", "--workload", "32+8", "--tasks", "basics",
        "--launches", "1", "--retries", "0", "--output", str(tmp_path / "runs"), "--json",
    )["runs"]  # fmt: skip
    assert [run["status"] for run in runs] == ["ok"] * 6
    # Runs of speed may tell of other programs; those of answers have nothing to tell.
    assert [run["conditions"]["warnings"] for run in runs if run["accuracy"]] == [[]] * 3
    answers = {
        run["artifact"]["format"]: [item["chosen"] for item in run["accuracy"]["items"]]
        for run in runs
        if run["accuracy"]
    }
    same = sum(a == b for a, b in zip(answers["torch"], answers["gguf"], strict=True))
    assert same >= 0.97 * len(answers["torch"])  # llama.cpp's cache is in halves
    compared = converting.json("compare", str(tmp_path / "runs"), "--json")
    assert len(compared["grouped"]) == 1
    assert [row["artifact"]["format"] for row in compared["rows"]] == ["torch", "gguf", "onnx"]
    table = converting("compare", str(tmp_path / "runs")).stdout
    assert all(len(line) <= 80 for line in table.splitlines())


def test_another_tokenizer_is_noticed_and_the_checkpoints_tokens_are_scored(
    families: dict[str, Family], converting: Shell, tmp_path: Path
) -> None:
    """A GGUF beside a tokenizer that cuts text otherwise: the run says so."""
    folder = tmp_path / "swapped"
    shutil.copytree(families["llama"].path("f32"), folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = []  # the same tokens, but nothing is put together
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    manifest = json.loads((folder / "artifact.json").read_text())
    manifest["files"]["tokenizer.json"] = sha256_of(folder / "tokenizer.json")
    (folder / "artifact.json").write_text(json.dumps(manifest))
    run = converting.json(
        "profile", str(folder), "--device", "cpu", "--workload", "none", "--tasks", "basics",
        "--output", str(tmp_path / "runs"), "--json",
    )["runs"][0]  # fmt: skip
    assert run["status"] == "ok"
    assert any("tokenizer cuts" in warning for warning in run["conditions"]["warnings"])


def test_importance_matrix_is_collected_and_used(
    families: dict[str, Family], converting: Shell, tmp_path: Path
) -> None:
    """--imatrix auto makes levels that need one; its file serves as FILE; --keep is obeyed."""
    family = families["llama"]
    base = ("quantize", str(family.checkpoint), "--pre-tokenizer", "qwen2")
    refused = converting(*base, "--levels", "iq3_xxs", "--output", str(tmp_path / "x"))
    assert refused.returncode == 2
    assert "--imatrix auto" in refused.stderr
    made = converting.json(
        *base, "--levels", "iq3_xxs,q4_k_m", "--imatrix", "auto",
        "--keep", "output=q8_0,attn_v=q6_k", "--output", str(tmp_path / "made"), "--json",
    )["artifacts"]  # fmt: skip
    assert all("imatrix" in one["name"] for one in made)
    assert made[0]["tensor_types"]["iq3_xxs"] > 3
    types = {tensor.name: tensor.type for tensor in read_gguf(Path(made[1]["path"])).tensors}
    assert types["output.weight"] == "q8_0"
    assert types["blk.0.attn_v.weight"] == "q6_k"
    cached = next((Path(converting.env["XDG_CACHE_HOME"]) / "edgebench/imatrix").glob("*.gguf"))
    again = converting.json(
        "quantize", str(family.path("f32")), "--levels", "q4_k_m", "--imatrix", str(cached),
        "--output", str(tmp_path / "again"), "--json",
    )["artifacts"][0]  # fmt: skip
    plain = converting.json(
        "quantize", str(family.path("f32")), "--levels", "q4_k_m",
        "--output", str(tmp_path / "again"), "--json",
    )["artifacts"][0]  # fmt: skip
    assert again["sha256"] != plain["sha256"]


def test_second_export_is_taken_as_it_is(families: dict[str, Family], converting: Shell) -> None:
    """The same source is not converted twice; another tokenizer's name is another export."""
    family = families["llama"]
    path = family.path("f32") / "artifact.json"
    before = path.stat().st_mtime_ns
    options = ("--type", "f32", "--output", str(family.artifacts))
    again = converting("export", str(family.checkpoint), *options, "--pre-tokenizer", "qwen2")
    assert again.returncode == 0, again.stderr
    assert path.stat().st_mtime_ns == before
    other = converting("export", str(family.checkpoint), *options, "--pre-tokenizer", "smollm")
    assert other.returncode == 2
    assert "another source" in other.stderr


def test_unknown_tokenizer_is_named_with_what_to_type(
    families: dict[str, Family], converting: Shell, tmp_path: Path
) -> None:
    """A tokenizer that the converter does not know: --pre-tokenizer is the way."""
    checkpoint = families["llama"].checkpoint
    done = converting("export", str(checkpoint), "--output", str(tmp_path / "x"))
    assert done.returncode == 4
    assert "doesn't recognise the tokenizer" in done.stderr
    assert "--pre-tokenizer" in done.stderr
    assert list((tmp_path / "x").iterdir()) == []


def test_wrong_tokenizer_is_refused_with_both_lists(
    digits_together: Path, converting: Shell, tmp_path: Path
) -> None:
    """Digits that the checkpoint keeps together and the export would not: nothing is left."""
    output = tmp_path / "x"
    wrong = converting(
        "export", str(digits_together), "--pre-tokenizer", "qwen2", "--output", str(output)
    )
    assert wrong.returncode == 4
    assert "the checkpoint has [" in wrong.stderr
    assert "the file [" in wrong.stderr
    assert list(output.iterdir()) == []


def test_gguf_to_onnx_wants_a_tokenizer_that_agrees(
    families: dict[str, Family], digits_together: Path, converting: Shell, tmp_path: Path
) -> None:
    """With the model's own tokenizer it is exported; with another it is refused."""
    family = families["llama"]
    gguf = next(family.path("f32").glob("*.gguf"))
    options = ("export", str(gguf), "--format", "onnx", "--output", str(tmp_path / "made"))
    wrong = converting(*options, "--tokenizer", str(digits_together))
    assert wrong.returncode == 4
    assert "disagrees with llama.cpp's" in wrong.stderr
    assert list((tmp_path / "made").iterdir()) == []
    right = converting.json(*options, "--tokenizer", str(family.checkpoint), "--json")
    path = Path(right["artifacts"][0]["path"]).parent
    found = agreement(family.checkpoint, path)
    assert found[path.name]["worst"] < 1e-3


def test_interrupted_export_leaves_nothing(
    families: dict[str, Family], converting: Shell, tmp_path: Path
) -> None:
    """Ctrl-C in the middle: no half artifact."""
    process = converting.start(
        "export", str(families["llama"].checkpoint), "--format", "onnx",
        "--output", str(tmp_path / "x"),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list((tmp_path / "x").glob(".*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert list((tmp_path / "x").iterdir()) == []


def test_without_cache_and_network_both_ways_out_are_named(
    edgebench: Shell, converting: Shell, tmp_path: Path
) -> None:
    """Exit 7: go online once, or name a checkout."""
    checkpoint = bare_checkpoint(tmp_path / "m")
    offline = Shell(
        edgebench.cwd,
        edgebench.env
        | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_NO_CACHE_DIR": "1"},
    )
    done = offline("export", str(checkpoint))
    assert done.returncode == 7, done.stderr
    assert "--converter" in done.stderr
    assert "online" in done.stderr


def test_smollm2_stands_in_both_formats_in_one_table(converting: Shell, tmp_path: Path) -> None:
    """The real model once end to end: checkpoint, levels of both formats, runs, one comparison."""
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); "
        "from lib.demo_checkpoint import write_checkpoint; write_checkpoint(Path(sys.argv[2]))"
    )
    tools = str(Path(__file__).parents[2] / "tools")
    made = subprocess.run(  # torch stays out of this process
        [sys.executable, "-c", code, tools, str(tmp_path / "smollm2")],
        capture_output=True,
        text=True,
        check=False,
        env=converting.env,
    )
    assert made.returncode == 0, made.stderr[-2000:]
    output, runs = str(tmp_path / "made"), str(tmp_path / "runs")
    done = converting(
        "quantize", str(tmp_path / "smollm2"), "--levels", "q8_0,int8_block,int4",
        "--format", "gguf,onnx", "--output", output,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = converting.json(
        "profile", output, "--device", "cpu", "--workload", "64+16", "--tasks", "none",
        "--launches", "1", "--retries", "0", "--output", runs, "--json",
    )["runs"]  # fmt: skip
    assert {run["status"] for run in found} == {"ok"}
    compared = converting.json("compare", runs, "--json")
    assert len(compared["grouped"]) == 1
    levels = {(row["artifact"]["format"], row["level"]) for row in compared["rows"]}
    assert levels >= {
        ("gguf", "f16"), ("gguf", "q8_0"), ("onnx", "fp32"), ("onnx", "int8_block"),
        ("onnx", "int4"),
    }  # fmt: skip


def test_the_checkpoint_runs_in_halves_too(
    families: dict[str, Family], converting: Shell, tmp_path: Path
) -> None:
    """DIR:bf16 is the same checkpoint at another level; a provider that is not here is named."""
    checkpoint = str(families["qwen2"].checkpoint)
    options = (
        "--device",
        "cpu",
        "--workload",
        "32+8",
        "--tasks",
        "none",
        "--launches",
        "1",
        "--retries",
        "0",
    )
    run = converting.json(
        "profile", f"{checkpoint}:bf16", *options, "--output", str(tmp_path / "a"), "--json"
    )["runs"][0]
    assert (run["status"], run["artifact"]["level"]) == ("ok", "bf16")
    done = converting(
        "profile", str(families["qwen2"].path("int4")), *options, "--set", "provider=qnn",
        "--output", str(tmp_path / "b"), "--json",
    )  # fmt: skip
    assert done.returncode == 1
    run = json.loads(done.stdout)["runs"][0]
    assert run["status"] == "unsupported"
    assert "onnxruntime-qnn" in run["error"]["hint"]

"""Tasks of lm-evaluation-harness as files of ours, and our artifacts as its model."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.shell import Shell, error_of

from edgebench.errors import BadFileError, UsageError
from edgebench.records.task import Item, Task, TextTask
from edgebench.tasks.load import load_task, read_task

if importlib.util.find_spec("lm_eval") is None or importlib.util.find_spec("datasets") is None:
    pytest.skip("lm-eval is not installed", allow_module_level=True)

from edgebench.lm_eval import rows
from edgebench.lm_eval.build import build, cached

MEAN = "    aggregation: mean\n    higher_is_better: true\n"
ACC = f"metric_list:\n  - metric: acc\n{MEAN}"
BOTH = f"{ACC}  - metric: acc_norm\n{MEAN}"
CHOICES = f"""output_type: multiple_choice
doc_to_text: "{{{{q}}}}"
doc_to_choice: c
doc_to_target: g
{BOTH}"""
QUESTIONS = [
    {"q": "The capital of France is", "c": ["Rome", "Paris", "Berlin"], "g": 1},
    {"q": "The capital of Italy is", "c": ["Rome", "Paris", "Berlin"], "g": 0},
    {"q": "Ice is frozen", "c": ["sand", "water", "air"], "g": 1},
    {"q": "Two plus two is", "c": ["five", "three", "four"], "g": 2},
    {"q": "The sun rises in the", "c": ["east", "fridge", "cellar"], "g": 0},
    {"q": "Cows give", "c": ["gold", "rain", "milk"], "g": 2},
    {"q": "A week has seven", "c": ["days", "moons", "legs"], "g": 0},
    {"q": "Fish live in", "c": ["fire", "books", "water"], "g": 2},
    {"q": "Snow is", "c": ["hot", "white", "loud"], "g": 1},
    {"q": "Bees make", "c": ["honey", "cars", "glass"], "g": 0},
]
SUMS = [{"q": f"What is {n} plus 1?", "a": f"Add one.\n#### {n + 1:,}"} for n in (1, 2, 1500, 41)]
GSM8K = f"""output_type: generate_until
training_split: train
doc_to_text: "Question: {{{{q}}}}\\nAnswer:"
doc_to_target: "{{{{a}}}}"
num_fewshot: 2
generation_kwargs:
  until: ["Question:", "</s>"]
  do_sample: false
  max_gen_toks: 8
metric_list:
  - metric: exact_match
{MEAN}    ignore_case: true
    regexes_to_ignore: [",", "\\\\$", "(?s).*#### ", "\\\\.$"]
filter_list:
  - name: strict-match
    filter:
      - function: regex
        regex_pattern: "#### (\\\\-?[0-9\\\\.\\\\,]+)"
      - function: take_first
  - name: flexible-extract
    filter:
      - function: regex
        group_select: -1
        regex_pattern: "(-?[$0-9.,]{{2,}})|(-?[0-9]+)"
      - function: take_first
"""
EXACT = f"""output_type: generate_until
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{a}}}}"
generation_kwargs: {{until: ["\\n"]}}
filter_list:
  - name: stripped
    filter: [{{function: remove_whitespace}}, {{function: take_first}}]
metric_list:
  - metric: exact_match
{MEAN}"""


def write_task(folder: Path, name: str, text: str, rows: list[dict[str, Any]]) -> Path:
    """Write a task as a user of lm-eval would: YAML beside JSON data."""
    folder.mkdir(exist_ok=True)
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = f"    test: {data}\n    train: {data}\n"
    head = f"task: {name}\ndataset_path: json\ndataset_kwargs:\n  data_files:\n{files}"
    path = folder / f"{name}.yaml"
    path.write_text(f"{head}test_split: test\n{text}")
    return path


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every part off the network, and its caches in a folder that goes."""
    import datasets

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def built(tmp_path: Path, text: str, rows: list[dict[str, Any]], **wishes: Any) -> Task | TextTask:
    """Write a task of lm-eval's, build it, and load what was built."""
    write_task(tmp_path / "mine", "mine", text, rows)
    return read_task(build("lm_eval:mine", tmp_path, include=tmp_path / "mine", **wishes))


def items_of(task: Task | TextTask) -> tuple[Item, ...]:
    """Return a task's items."""
    assert isinstance(task, Task)
    return task.items


def refused(tmp_path: Path, text: str, rows: list[dict[str, Any]]) -> str:
    """Return why a task is refused, after checking that nothing was written."""
    with pytest.raises(BadFileError) as caught:
        built(tmp_path, text, rows)
    assert [path.name for path in tmp_path.glob("*.*")] == []
    return caught.value.message


# what lm-eval builds, in our format


def test_choices_are_lm_evals_own_requests(tmp_path: Path) -> None:
    """Context, continuations with their leading space, and the right one, in lm-eval's order."""
    task = built(tmp_path, CHOICES, QUESTIONS)
    assert isinstance(task, Task)
    assert (task.name, task.metric, len(task.items)) == ("mine", "acc_norm", 10)
    assert items_of(task)[1].contexts == ("The capital of Italy is",)
    assert items_of(task)[1].continuations == (" Rome", " Paris", " Berlin")
    assert [item.gold for item in task.items] == [row["g"] for row in QUESTIONS]
    assert [item.id for item in task.items] == [str(place) for place in range(10)]


def test_choices_bring_no_delimiter_of_ours(tmp_path: Path) -> None:
    """Where lm-eval puts nothing before a choice, neither do we."""
    task = built(tmp_path, f'target_delimiter: ""\n{CHOICES}', QUESTIONS, limit=1)
    assert items_of(task)[0].continuations == ("Rome", "Paris", "Berlin")


def test_metric_is_acc_where_the_task_lists_no_other(tmp_path: Path) -> None:
    """acc_norm is taken only where lm-eval would report it."""
    task = built(tmp_path, CHOICES.replace(BOTH, ACC), QUESTIONS)
    assert isinstance(task, Task)
    assert task.metric == "acc"


def test_examples_stand_in_the_context(tmp_path: Path) -> None:
    """Few-shot examples are drawn with lm-eval's seed: two builds are the same."""
    text = f"training_split: train\n{CHOICES}"
    first = built(tmp_path, text, QUESTIONS, fewshot=2, limit=3)
    again = built(tmp_path, text, QUESTIONS, fewshot=2, limit=3)
    assert first == again
    assert [item.contexts[0].count("\n\n") for item in items_of(first)] == [2, 2, 2]
    assert items_of(first)[0].contexts[0].endswith("\n\nThe capital of France is")


def test_several_contexts_with_one_continuation_are_partial(tmp_path: Path) -> None:
    """As Winogrande has it: the options end the contexts, and the rest is scored after each."""
    rows = [{"a": "The cup is too small, so the cup", "b": "The cup is too small, so it"}]
    text = f"""output_type: multiple_choice
doc_to_text: 1
doc_to_choice: "{{{{[a, b]}}}}"
doc_to_target: "spills."
{ACC}"""
    item = items_of(built(tmp_path, text, rows))[0]
    assert item.contexts == (rows[0]["a"], rows[0]["b"])
    assert (item.continuations, item.gold) == ((" spills.",), 1)


def test_one_likelihood_is_a_completion(tmp_path: Path) -> None:
    """As LAMBADA has it: right is the word that would be written."""
    text = f"""output_type: loglikelihood
doc_to_text: "{{{{text.split(' ')[:-1]|join(' ')}}}}"
doc_to_target: "{{{{' '+text.split(' ')[-1]}}}}"
{ACC}"""
    task = built(tmp_path, text, [{"text": "the cat sat on the mat"}])
    assert isinstance(task, Task)
    assert task.metric == "greedy_match"
    assert task.items[0].pairs == [("the cat sat on the", " mat")]


def test_gsm8k_is_read_by_its_strict_filter(tmp_path: Path) -> None:
    """Stops, length, pattern and answers are GSM8K's; a last full stop does not count."""
    from edgebench.records.answers import is_right

    task = built(tmp_path, GSM8K, SUMS)
    assert isinstance(task, Task)
    assert task.generation.stop == ("Question:", "</s>")
    assert task.generation.max_tokens == 8
    assert task.items[2].answers == ("1501",)
    assert task.items[2].contexts[0].count("Question:") == 3
    verdicts = {
        said: is_right(said, task.items[2].answers, task.generation)[0]
        for said in ("So.\n#### 1,501.", "#### 1501", "#### -1501", "#### 15.01", "1501")
    }
    assert list(verdicts.values()) == [True, True, False, False, False]


def test_answers_are_normalised_as_squad_only_where_lm_eval_does_so(tmp_path: Path) -> None:
    """Case, punctuation and articles all ignored: squad. Case alone: refused."""
    rows = [{"q": "Who?", "a": "The Beatles"}, {"q": "Where?", "a": "New York"}]
    ignoring = "    ignore_case: true\n    ignore_punctuation: true\n"
    articles = '    regexes_to_ignore: ["\\\\b(?:The |the |An |A |a |an )"]\n'
    task = built(tmp_path, EXACT + ignoring + articles, rows)
    assert isinstance(task, Task)
    assert task.generation.normalise == "squad"
    for path in tmp_path.glob("mine.*"):
        path.unlink()
    assert "ignore_case" in refused(tmp_path, f"{EXACT}    ignore_case: true\n", rows)


def test_rolling_likelihoods_are_a_text(tmp_path: Path) -> None:
    """Documents follow each other, each on a line of its own."""
    text = "output_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: '{{t}}'\n"
    task = built(tmp_path, text, [{"t": "One two three."}, {"t": "Four five.\n"}])
    assert isinstance(task, TextTask)
    assert task.text == "One two three.\nFour five.\n"


# what is refused


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("output_type: multiple", "unsafe_code: true\noutput_type: multiple"), "runs what"),
        (("metric: acc_norm", "metric: rouge"), "'rouge'"),
        (("doc_to_target: g", "doc_to_target: '{{[0, 1]}}'"), "2 right answers"),
        (("doc_to_text", "repeats: 4\ndoc_to_text"), "4 times"),
        ((BOTH, "metric_list:\n  - metric: f1\n    aggregation: f1\n"), "its metrics are f1"),
    ],
)
def test_what_a_task_file_cannot_say_is_refused(
    tmp_path: Path, change: tuple[str, str], reason: str
) -> None:
    """The reason is named, and no file is left."""
    assert reason in refused(tmp_path, CHOICES.replace(*change), QUESTIONS)


def test_item_without_a_right_answer_is_refused(tmp_path: Path) -> None:
    """lm-eval would count it as wrong for every model; the item is named."""
    said = refused(tmp_path, CHOICES, [*QUESTIONS, {"q": "Who", "c": ["a", "b"], "g": 7}])
    assert "item 10 has no right answer" in said


def test_two_readings_of_one_answer_are_refused(tmp_path: Path) -> None:
    """Which of two filters is meant can't be known."""
    text = GSM8K.replace("group_select: -1", "group_select: 0")
    assert "strict-match, flexible-extract" in refused(tmp_path, text, SUMS)


def test_sampled_answers_are_refused(tmp_path: Path) -> None:
    """A task that draws answers at random is no greedy one."""
    text = GSM8K.replace("do_sample: false", "do_sample: true")
    assert "samples" in refused(tmp_path, text, SUMS)


def test_code_of_a_task_is_not_run(tmp_path: Path) -> None:
    """!function is refused before it is imported, also where an included file has it."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "utils.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nask = len\n")
    (mine / "base.yaml").write_text("doc_to_text: !function utils.ask\n")
    for text in (
        CHOICES.replace('"{{q}}"', "!function utils.ask"),
        f"include: base.yaml\n{CHOICES}",
    ):
        assert "brings code of its own: !function utils.ask" in refused(tmp_path, text, QUESTIONS)
    assert not (tmp_path / "ran").exists()


def test_allowed_code_is_run(tmp_path: Path) -> None:
    """With --allow-code a task's own function makes its prompts."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "utils.py").write_text("def ask(doc):\n    return 'Say: ' + doc['q']\n")
    text = CHOICES.replace('"{{q}}"', "!function utils.ask")
    task = built(tmp_path, text, QUESTIONS, allow_code=True)
    assert items_of(task)[2].contexts == ("Say: Ice is frozen",)


def test_templates_of_a_task_are_held_in_a_sandbox(tmp_path: Path) -> None:
    """lm-eval's own templates can reach Python; those of --include can't."""
    text = CHOICES.replace("{{q}}", "{{q.__class__.__mro__}}")
    assert "unsafe" in refused(tmp_path, text, QUESTIONS)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("include: fifo\n", "fifo is a FIFO"),
        ("include: /dev/zero\n", "/dev/zero is a device"),
        (f"a: {'[' * 2000}", "line 1: nested more than 64 deep"),
        ("a: &a [*a]", "line 1: nested more than 64 deep"),
        ("include: a\0b\n", "not valid YAML"),
        ('include: "a\\0b"\n', "can't be the name of a file"),
    ],
)
def test_file_that_lm_eval_would_wait_for_is_refused(tmp_path: Path, file: str, said: str) -> None:
    """Any YAML file of --include, and what it includes, is looked at before lm-eval reads it."""
    mine = tmp_path / "mine"
    mine.mkdir()
    os.mkfifo(mine / "fifo")
    (mine / "other.yaml").write_text(file)
    assert said in refused(tmp_path, CHOICES, QUESTIONS)


def test_data_that_is_no_file_is_refused(tmp_path: Path) -> None:
    """A FIFO or a device would be read for ever."""
    write_task(tmp_path / "mine", "mine", CHOICES, QUESTIONS)
    (tmp_path / "mine" / "mine.jsonl").unlink()
    os.mkfifo(tmp_path / "mine" / "mine.jsonl")
    with pytest.raises(BadFileError, match=r"mine\.jsonl is a FIFO"):
        build("lm_eval:mine", tmp_path, include=tmp_path / "mine")


def test_templates_and_patterns_of_a_task_have_their_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template that fills the memory, and a filter that matches for ever, are named."""
    text = CHOICES.replace("{{q}}", "{{q.ljust(3000000000)}}")
    assert "its template can't be rendered: it takes too much" in refused(tmp_path, text, QUESTIONS)
    monkeypatch.setattr(rows, "PROBES_S", 0.3)
    steps = "[{function: regex, regex_pattern: '(a|aa)+$'}, {function: take_first}]"
    text = re.sub(r"filter: \[.*\]", lambda _: f"filter: {steps}", EXACT)
    long = [{"q": "Say it", "a": "a" * 5000 + "b"}]
    assert "its pattern '(a|aa)+$' takes too long" in refused(tmp_path, text, long)


@pytest.mark.parametrize("name", ["mine.yaml", "mine.jsonl"])
def test_file_of_ones_own_is_not_overwritten(tmp_path: Path, name: str) -> None:
    """Only what was built is built again; data of the same name stays as it is."""
    (tmp_path / name).write_text("{}\n")
    with pytest.raises(UsageError, match="not built by this command"):
        built(tmp_path, CHOICES, QUESTIONS)
    assert (tmp_path / name).read_text() == "{}\n"


def test_cache_is_built_anew_when_the_folder_changes(tmp_path: Path) -> None:
    """The same name and folder give the same file, until a file in the folder is another one."""
    include, cache = tmp_path / "mine", tmp_path / "cache"
    write_task(include, "mine", CHOICES, QUESTIONS)
    first = cached("lm_eval:mine", cache, include)
    made = first.stat().st_mtime_ns
    assert cached("lm_eval:mine", cache, include) == first
    assert first.stat().st_mtime_ns == made
    write_task(include, "mine", CHOICES, QUESTIONS[:4])
    assert len(items_of(read_task(cached("lm_eval:mine", cache, include)))) == 4


# commands


def test_tasks_lists_what_is_built_in(edgebench: Shell) -> None:
    """Name, schema, items and metric, and how to get others."""
    listed = edgebench.json("tasks", "--json")["tasks"]
    assert [task["name"] for task in listed] == ["basics", "divergence"]
    basics = load_task("basics")
    assert isinstance(basics, Task)
    assert (listed[0]["items"], listed[0]["metric"]) == (len(basics.items), "acc_norm")
    shown = edgebench("tasks").stdout
    assert "edgebench tasks build lm_eval:" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_build_and_check_as_typed(edgebench: Shell, tmp_path: Path) -> None:
    """build says what to type next; check counts what is left out, with the reason."""
    twice = {"q": "Either is", "c": ["one", "one"], "g": 0}
    write_task(tmp_path / "mine", "mine", CHOICES, [*QUESTIONS, twice])
    done = edgebench("tasks", "build", "lm_eval:mine", "--include", str(tmp_path / "mine"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        "Next: edgebench profile --tasks tasks/mine.yaml --device cpu"
    )
    assert sorted(path.name for path in (edgebench.cwd / "tasks").iterdir()) == [
        "mine.jsonl", "mine.yaml",
    ]  # fmt: skip
    checked = edgebench("tasks", "check", "tasks/mine.yaml")
    assert "10 items, schema multiple_choice, metric acc_norm" in checked.stdout
    assert "left out: 1 (a choice stands twice): 10" in checked.stdout
    told = edgebench.json("tasks", "check", "tasks/mine.yaml", "--json")
    assert told["skipped"] == [{"id": "10", "reason": "a choice stands twice"}]


@pytest.mark.parametrize(
    ("arguments", "code", "said", "hint"),
    [
        (["build", "arc_easy"], 2, "'arc_easy'", "lm_eval:arc_easy"),
        (["build", "lm_eval:arc_easy"], 4, "allenai/ai2_arc", "go online"),
        (["build", "lm_eval:squadv2"], 4, "written in Python", "edgebench-lm-eval"),
        (["build", "lm_eval:mine", "--include", "nowhere"], 2, "nowhere", "--include"),
        (["check", "nothing.yaml"], 4, "nothing.yaml", ""),
    ],
)
def test_wrong_words_get_one_line_and_a_hint(
    edgebench: Shell, arguments: list[str], code: int, said: str, hint: str
) -> None:
    """What can't be had is named, with what to type."""
    done = edgebench("tasks", *arguments)
    assert done.returncode == code, done.stderr
    assert said in error_of(done)
    assert hint in done.stderr
    assert list(edgebench.cwd.rglob("*.jsonl")) == []


@pytest.mark.parametrize("name", ["mine_all", "mine_tag"])
def test_group_lists_its_tasks(tmp_path: Path, name: str) -> None:
    """A group or a tag is no task: its tasks are named, to be given one by one."""
    include = tmp_path / "mine"
    for task in ("mine_one", "mine_two"):
        write_task(include, task, f"tag: mine_tag\n{CHOICES}", QUESTIONS)
    (include / "all.yaml").write_text("group: mine_all\ntask: [mine_one, mine_two]\n")
    with pytest.raises(UsageError) as caught:
        build(name, tmp_path, include=include)
    assert caught.value.hint == (
        "give them one by one, separated by commas: lm_eval:mine_one,lm_eval:mine_two"
    )


def test_unknown_name_gets_the_nearest(edgebench: Shell) -> None:
    """Among lm-eval's ten thousand names the nearest one is said."""
    done = edgebench("tasks", "build", "lm_eval:arc_esy")
    assert (done.returncode, "lm_eval:arc_easy" in done.stderr) == (2, True)


# our artifacts as a model of lm-eval


def test_lm_eval_and_edgebench_answer_alike(
    real_levels: tuple[Shell, Path], tmp_path: Path
) -> None:
    """lm-eval on our model gives the accuracy and answers of our own scoring of the built file."""
    shell, artifacts = real_levels
    artifact = next(path for path in artifacts.iterdir() if path.name.endswith("q8_0"))
    write_task(tmp_path / "mine", "mine", CHOICES, QUESTIONS)
    write_task(tmp_path / "mine", "sums", GSM8K, SUMS[:2])
    done = subprocess.run(
        [
            sys.executable, "-m", "edgebench.lm_eval.model", "--model", "edgebench",
            "--model_args", f"artifact={artifact},threads=1,context=512", "--include_path",
            str(tmp_path / "mine"), "--tasks", "mine,sums", "--output_path",
            str(tmp_path / "out"), "--log_samples",
        ],
        env={**shell.env, "HF_DATASETS_OFFLINE": "1"}, cwd=tmp_path,
        text=True, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    file = next((tmp_path / "out").rglob("samples_mine_*.jsonl"))
    samples = [json.loads(line) for line in file.read_text().splitlines()]
    theirs = {str(one["doc_id"]): (one["acc_norm"], one["filtered_resps"]) for one in samples}
    header = build("mine", tmp_path / "tasks", include=tmp_path / "mine")
    ours = answers_of(artifact, header)
    assert {name: right for name, (right, _) in theirs.items()} == {
        name: float(result.correct) for name, result in ours.items()
    }
    for name, (_, scored) in theirs.items():
        assert [round(float(one[0]), 2) for one in scored] == pytest.approx(
            [round(value, 2) for value in ours[name].loglikelihoods], abs=0.05
        )


def answers_of(artifact: Path, header: Path) -> dict[str, Any]:
    """Return our own answers to a task file, by id."""
    from edgebench.records.settings import Settings
    from edgebench.sources.artifacts import load_artifact
    from edgebench.worker.runtimes import Room, get_runtime
    from edgebench.worker.score.chat import Prompts
    from edgebench.worker.score.likelihood import answer

    session = get_runtime("llama.cpp").open(
        load_artifact(artifact), Settings(threads=1), Room(512, 65)
    )
    try:
        task = read_task(header)
        assert isinstance(task, Task)
        results, skipped = answer(session, task, Prompts(session), lambda *_: None)
    finally:
        session.close()
    assert skipped == []
    return {result.id: result for result in results}


PAIRS = [
    ("The cats sleep.", "The cats sleeps."),
    ("Who did they see?", "Who did they see him?"),
    (" naïve café", "naïve cafe"),
]


def test_texts_without_a_context_score_as_lm_eval_scores_them(tmp_path: Path) -> None:
    """As in BLiMP: the first token counts too, after the token that stands for a text's start."""
    pytest.importorskip("torch")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from support.builders import make_artifact
    from support.checkpoints import make_checkpoint

    from edgebench.records.settings import Settings
    from edgebench.worker.runtimes import Room, get_runtime
    from edgebench.worker.score.chat import Prompts
    from edgebench.worker.score.likelihood import answer

    checkpoint = make_checkpoint(tmp_path / "tiny-llama")
    theirs = HFLM(pretrained=str(checkpoint), device="cpu", dtype="float32", batch_size=1)
    artifact = make_artifact(path=str(checkpoint), format="torch", level="fp32")
    session = get_runtime("torch").open(artifact, Settings(threads=1), Room(512, 65))
    assert session.start_token() is None
    items = tuple(
        Item(id=str(place), contexts=("",), continuations=pair) for place, pair in enumerate(PAIRS)
    )
    task = Task(name="blimp", metric="acc", items=items, sha256="")
    results, skipped = answer(session, task, Prompts(session), lambda *_: None)
    asked = [
        Instance("loglikelihood", {}, ("", text), place)
        for place, text in enumerate(text for pair in PAIRS for text in pair)
    ]
    expected = [score for score, _ in theirs.loglikelihood(asked, disable_tqdm=True)]
    assert skipped == []
    assert [one for result in results for one in result.loglikelihoods] == pytest.approx(
        expected, abs=1e-3
    )

"""Say in our format what lm-eval built: requests become rows, its scorer the header's fields.

Knows lm-eval's output types, metrics and filters. What our format can't say exactly is refused.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from edgebench.lm_eval.find import refuse
from edgebench.records.answers import extracted, is_right
from edgebench.records.task import Generation

PROBES_S = 5.0  # of processor time for lm-eval's scorer; it takes 10 ms
PROBED = 20  # documents on which our reading of answers is compared with lm-eval's
MAX_TOKENS = 256  # where a task doesn't say, as lm-eval's backends have it
TOKEN_COUNTS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
OF_NO_EFFECT = {"until", "do_sample", "temperature", "top_p", "top_k", "min_p", *TOKEN_COUNTS}

Row = dict[str, Any]


def translated(name: str, task: Any) -> tuple[Row, list[Row]]:
    """Return the header's fields and the rows of a task whose requests are built."""
    makers = {
        "multiple_choice": _choices,
        "loglikelihood": _completions,
        "generate_until": _generations,
        "loglikelihood_rolling": _texts,
    }
    make = makers.get(str(task.OUTPUT_TYPE))
    if make is None:
        refuse(name, f"its output type is {task.OUTPUT_TYPE!r}")
    return make(name, task)


def _by_doc(task: Any) -> Iterator[tuple[str, list[Any]]]:
    for doc_id, requests in itertools.groupby(task.instances, key=lambda request: request.doc_id):
        yield str(doc_id), list(requests)


def _metric(name: str, task: Any, wanted: Sequence[str]) -> str:
    """Return the first of the wanted metrics that the task lists and averages."""
    from lm_eval.api.registry import get_aggregation

    listed = task.aggregation()
    for metric in wanted:
        if listed.get(metric) is get_aggregation("mean"):
            return metric
    return refuse(name, f"its metrics are {', '.join(listed)}, none of {', '.join(wanted)}")


def _plain_filters(name: str, task: Any) -> None:
    for filtering in task.get_config("filter_list") or ():
        if [step.get("function") for step in filtering["filter"]] != ["take_first"]:
            refuse(name, f"its filter {filtering['name']!r} changes what is scored")


def _choices(name: str, task: Any) -> tuple[Row, list[Row]]:
    partial = bool(task.multiple_input)
    # With several contexts lm-eval's acc_norm divides by the contexts' lengths.
    metric = _metric(name, task, ("acc",) if partial else ("acc_norm", "acc"))
    _plain_filters(name, task)
    rows = []
    for doc_id, requests in _by_doc(task):
        doc = requests[0].doc
        choices = list(task.doc_to_choice(doc))
        # The requests after these are for mutual information.
        pairs = [request.args for request in requests[: len(choices)]]
        contexts = [pair[0] for pair in pairs]
        row: Row = {"id": doc_id, "gold": _gold(name, task, doc_id, doc)}
        if partial:
            row |= {"context_options": contexts, "continuation": pairs[0][1]}
        else:
            row |= {"context": contexts[0], "choices": [pair[1] for pair in pairs]}
        rows.append(row)
    schema = "partial" if partial else "multiple_choice"
    return {"schema": schema, "metric": metric, "delimiter": ""}, rows


def _gold(name: str, task: Any, doc_id: str, doc: Any) -> int:
    choices = list(task.doc_to_choice(doc))
    gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    if isinstance(gold, list):
        if len(gold) != 1:
            refuse(name, f"item {doc_id} has {len(gold)} right answers")
        gold = gold[0]
    if isinstance(gold, str):
        gold = choices.index(gold) if gold in choices else -1
    if not isinstance(gold, int) or not 0 <= gold < len(choices):
        refuse(name, f"item {doc_id} has no right answer among its choices")
    return int(gold)


def _completions(name: str, task: Any) -> tuple[Row, list[Row]]:
    _metric(name, task, ("acc",))
    _plain_filters(name, task)
    rows = [
        {"id": doc_id, "context": requests[0].args[0], "continuation": str(requests[0].args[1])}
        for doc_id, requests in _by_doc(task)
    ]
    return {"schema": "completion", "metric": "greedy_match", "delimiter": ""}, rows


def _texts(name: str, task: Any) -> tuple[Row, list[Row]]:
    texts = [(doc_id, str(requests[0].args[0])) for doc_id, requests in _by_doc(task)]
    ended = [(doc_id, text if text[-1:].isspace() else text + "\n") for doc_id, text in texts]
    return {"schema": "text"}, [{"id": doc_id, "text": text} for doc_id, text in ended]


# answers that are generated


def _generations(name: str, task: Any) -> tuple[Row, list[Row]]:
    _metric(name, task, ("exact_match",))
    fields = {"schema": "generation", "metric": "exact_match", **_limits(name, task)}
    asked = [(doc_id, requests[0]) for doc_id, requests in _by_doc(task)]
    rows = [
        {"id": doc_id, "question": request.args[0], "answers": _targets(task, request.doc)}
        for doc_id, request in asked
    ]
    step = max(1, len(asked) // PROBED)
    fields |= _reading(name, task, [request for _, request in asked][::step])
    return fields, rows


class Limits(NamedTuple):
    """Where an answer ends: at these strings, or after so many tokens."""

    stop: tuple[str, ...]
    max_tokens: int


def limits_of(said: Mapping[str, Any]) -> Limits | None:
    """Read lm-eval's generation arguments; return None where they ask for samples."""
    sampled = said.get("do_sample")
    if sampled or (sampled is None and float(said.get("temperature") or 0.0) > 0):
        return None
    until = said.get("until") or []
    counts = [int(said[key]) for key in TOKEN_COUNTS if said.get(key) is not None]
    stops = [until] if isinstance(until, str) else until
    return Limits(tuple(stop for stop in stops if stop), counts[0] if counts else MAX_TOKENS)


def _limits(name: str, task: Any) -> Row:
    said = task.get_config("generation_kwargs") or {}
    limits = limits_of(said)
    if limits is None:
        refuse(name, "it samples answers; edgebench takes the likeliest token")
    unknown = sorted(set(said) - OF_NO_EFFECT)
    if unknown:
        refuse(name, f"it asks for {', '.join(unknown)}")
    return {"stop": list(limits.stop), "max_tokens": limits.max_tokens}


def _targets(task: Any, doc: Any) -> list[str]:
    target = task.doc_to_target(doc)
    if task.get_config("doc_to_choice") is not None:
        target = task.doc_to_choice(doc)[target]
    if task.multiple_target and isinstance(target, list):
        return [str(answer) for answer in target]
    return [str(target)]


def _reading(name: str, task: Any, requests: Sequence[Any]) -> Row:
    """Return the fields under which we judge answers as lm-eval's own scorer does.

    Both judge the same made-up answers; a field is only taken where they agree on every one.
    """
    chain, pattern = _filter(name, task)
    patterns = [pattern, pattern + r"(?<!\.)"] if pattern else [None]
    with _limited_time(name, f"its pattern {str(pattern)[:100]!r}"):
        judged = [
            (text, _targets(task, request.doc), _judged(task, chain, request, text))
            for request in requests
            for text in _probes(task, request, requests[0], pattern)
        ]
    if any(right for _, _, right in judged):
        for normalise, reading in itertools.product(("none", "squad"), patterns):
            how = Generation.model_validate({"answer_pattern": reading, "normalise": normalise})
            if all(right == _ours(text, targets, how) for text, targets, right in judged):
                fields = {"answer_pattern": reading} if reading else {}
                return fields | ({"normalise": normalise} if normalise != "none" else {})
    said = [
        metric
        for metric in task.get_config("metric_list") or ()
        if metric["metric"] == "exact_match"
    ]
    options = sorted(set(said[0] if said else ()) - {"metric", "aggregation", "higher_is_better"})
    return refuse(
        name,
        "its answers are compared in a way that a task file can't say: filter "
        f"{chain.name}, {', '.join(options) or 'white space counts'}",
    )


@contextlib.contextmanager
def _limited_time(name: str, what: str) -> Iterator[None]:
    """Refuse what takes longer; Python's `re` hears signals while it matches."""

    def stop(number: int, frame: object) -> None:
        refuse(name, f"{what} takes too long to match")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, PROBES_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _ours(text: str, targets: Sequence[str], how: Generation) -> bool:
    # As load.py reads the answers of a row.
    answers = [extracted(answer, how.answer_pattern) or answer.strip() for answer in targets]
    return is_right(text, answers, how)[0]


def _filter(name: str, task: Any) -> tuple[Any, str | None]:
    """Return the filter of the task that our format can say, and its regular expression."""
    listed = task.get_config("filter_list") or [{"name": "none", "filter": []}]
    usable = []
    for place, filtering in enumerate(listed):
        steps = [step for step in filtering["filter"] if step.get("function") != "take_first"]
        patterns = [step for step in steps if step.get("function") == "regex"]
        others = {step.get("function") for step in steps} - {"regex", "remove_whitespace"}
        first = all(int(step.get("group_select") or 0) == 0 for step in patterns)
        if not others and len(patterns) <= 1 and first:
            default = r"#### (\-?[0-9\.\,]+)"
            pattern = patterns[0].get("regex_pattern", default) if patterns else None
            usable.append((task._filters[place], pattern))
    if len(usable) != 1:
        names = ", ".join(str(filtering["name"]) for filtering in listed)
        refuse(name, f"of its filters ({names}), {len(usable)} can be said in a task file, not 1")
    return usable[0]


def _judged(task: Any, chain: Any, request: Any, text: str) -> bool:
    """Return lm-eval's own verdict on a generated text."""
    from lm_eval.api.instance import Instance

    made = Instance("generate_until", request.doc, request.arguments, 0, resps=[text])
    chain.apply([made])
    verdict = task.process_results(request.doc, [made.filtered_resps[chain.name]])
    return bool(verdict["exact_match"] > 0)


def _probes(task: Any, request: Any, other: Any, pattern: str | None) -> Iterator[str]:
    """Make answers to one question, right ones and wrong ones, in the words that people use."""
    head, _, tail = (pattern or "").partition("(")
    before = re.sub(r"\\(.)", r"\1", head) if pattern else ""
    after = re.sub(r"\\(.)", r"\1", tail.rpartition(")")[2]) if pattern else ""
    for target in (*_targets(task, request.doc), *_targets(task, other.doc)):
        answer = extracted(target, pattern) or target.strip()
        turned = answer.lower() if answer != answer.lower() else answer[:1].upper() + answer[1:]
        pointed = f"{answer[:-1]}.{answer[-1:]}"
        variants = (answer, turned, pointed, answer + ".", "-" + answer, "the " + answer)
        for variant in (*variants, answer + " or so", target):
            yield variant
            yield f" {variant}\n"
            yield f"So {before}{variant}{after}"
            yield f"{before}{variant}{after}\nmore words"
    yield from ("", " ", "[invalid]")

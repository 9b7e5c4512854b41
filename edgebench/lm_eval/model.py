"""Artifacts as a model of lm-evaluation-harness: any format, scored by a worker of ours.

lm-eval finds models in a table of its own and has no plugins, so its command is started from here:
    edgebench-lm-eval --model edgebench --model_args artifact=m-q8_0.gguf --tasks T
All of lm-eval's options work. From Python, importing this module and calling `register` is enough.
Knows how lm-eval cuts requests into spans of tokens. Loads no runtime: a worker does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebench.errors import EdgebenchError, MissingExtraError, UsageError, nearest
from edgebench.lm_eval.asking import AskedModel, local_workers
from edgebench.lm_eval.rows import limits_of
from edgebench.records.spans import Score, Span

if TYPE_CHECKING:
    from edgebench.records.artifact import Artifact
    from edgebench.records.settings import Settings
    from edgebench.records.task import Generation

try:
    from lm_eval.api.model import LM
except ImportError:  # `main` says so in words
    LM = object

NAME = "edgebench"
CONTEXT = 2048
SPANS_A_ROUND = 256  # what a round's spans share is evaluated once


class EdgebenchLM(LM):  # type: ignore[misc]
    """An artifact as lm-eval sees a model. Tokens are those of the artifact's own tokenizer."""

    def __init__(
        self,
        artifact: str,
        context: int = CONTEXT,
        batch_size: object = None,
        max_batch_size: object = None,
        device: object = None,
        **settings: object,
    ) -> None:
        """Load an artifact with runtime settings; threads, gpu_layers and provider are among them.

        lm-eval always gives batch sizes and a device ("cuda:0"): they are the session's affair.
        """
        super().__init__()
        self.artifact = _only_artifact(artifact)
        self.max_length = min(int(context), self.artifact.context_length or int(context))
        self._model = AskedModel(
            local_workers(), self.artifact, _settings(settings), self.max_length
        )
        vocabulary = self._model.vocabulary
        if vocabulary.prefix_token is None:
            raise EdgebenchError("the artifact has neither a first token nor one that ends a text")
        self._prefix, self._start = vocabulary.prefix_token, vocabulary.start_token
        self._template = vocabulary.chat_template
        self._is_chat = False  # from the first rendered template on, special tokens count as such

    # scores

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Score each continuation after its context."""
        spans = self._spans([request.args for request in requests])
        scores = self._scores(spans, disable_tqdm)
        answers = [(scores[span].loglikelihood, scores[span].greedy) for span in spans]
        for request, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood", request.args, answer)
        return answers

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Score whole texts, in windows where they are longer than the context."""
        texts = [request.args[0] for request in requests]
        windows = [self._windows(tokens) for tokens in self._model.encode(texts, self._is_chat)]
        scores = self._scores([span for listed in windows for span in listed], disable_tqdm)
        answers = [sum(scores[span].loglikelihood for span in listed) for listed in windows]
        for request, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, answer)
        return answers

    def _scores(self, spans: Sequence[Span], quiet: bool) -> dict[Span, Score]:
        """Score each different span once, in order, so that those with a common beginning meet."""
        from tqdm import tqdm

        ordered = sorted(set(spans), key=lambda span: (span.tokens, span.start))
        scores: dict[Span, Score] = {}
        with tqdm(total=len(ordered), desc="Scoring", disable=quiet) as shown:
            for first in range(0, len(ordered), SPANS_A_ROUND):
                part = ordered[first : first + SPANS_A_ROUND]
                scores.update(zip(part, self._model.score(part), strict=True))
                shown.update(len(part))
        return scores

    def _spans(self, pairs: Sequence[tuple[str, str]]) -> list[Span]:
        """Tokenize as lm-eval's own backend: spaces at the context's end go to what follows."""
        cut = [(context.rstrip(), context + continuation) for context, continuation in pairs]
        tokens = self._tokens_of(text for both in cut for text in both)
        return [self._span(tokens[context], tokens[whole], context) for context, whole in cut]

    def _span(self, head: Sequence[int], tokens: Sequence[int], context: str) -> Span:
        whole = self._started(tokens)
        if context:
            before = len(self._started(head))
        else:  # nothing comes before: the first token stands for it
            whole = tuple(tokens)
            whole = whole if whole[:1] == (self._prefix,) else (self._prefix, *whole)
            before = 1
        if len(whole) < 2:
            raise EdgebenchError("nothing to score: a continuation has no token")
        own = len(whole) - min(before, len(whole) - 1)
        # All tokens but the last are evaluated; a longer context loses its beginning.
        whole = whole[-(self.max_length + 1) :]
        return Span(whole, max(1, len(whole) - own))

    def _windows(self, tokens: Sequence[int]) -> list[Span]:
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        windows = get_rolling_token_windows(
            token_list=list(tokens),
            prefix_token=self._prefix,
            max_seq_len=self.max_length,
            context_len=1,
        )
        pairs = [make_disjoint_window(window) for window in windows]
        return [Span((*before, *after), len(before)) for before, after in pairs]

    def _tokens_of(self, texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
        """Tokenize each different text once."""
        different = list(dict.fromkeys(texts))
        return dict(zip(different, self._model.encode(different, self._is_chat), strict=True))

    def _started(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Put the model's first token before a text's, unless a template wrote it."""
        if self._start is None or (self._is_chat and tokens[:1] == (self._start,)):
            return tuple(tokens)
        return (self._start, *tokens)

    # answers

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Generate greedily; prompts with a common beginning follow each other."""
        from tqdm import tqdm

        tokens = self._tokens_of(request.args[0] for request in requests)
        groups: dict[Generation, list[tuple[tuple[int, ...], int]]] = {}
        for place, request in enumerate(requests):
            generation = _generation(request.args[1])
            room = self._room_for(generation)
            prompt = self._started(tokens[request.args[0]]) or (self._prefix,)
            groups.setdefault(generation, []).append((prompt[-room:], place))
        answers = [""] * len(requests)
        with tqdm(total=len(requests), desc="Generating", disable=disable_tqdm) as shown:
            for generation, prompts in groups.items():
                prompts.sort()
                texts = self._model.generate(
                    [prompt for prompt, _ in prompts], generation, lambda *_: shown.update()
                )
                for (_, place), text in zip(prompts, texts, strict=True):
                    answers[place] = text
                    self.cache_hook.add_partial("generate_until", requests[place].args, text)
        return answers

    def _room_for(self, generation: Generation) -> int:
        room = self.max_length - generation.max_tokens
        if room < 1:
            raise UsageError(
                f"{generation.max_tokens} tokens to generate leave no room in {self.max_length}",
                hint="add context=4096 to --model_args, or --gen_kwargs max_gen_toks=128",
            )
        return room

    # chat

    @property
    def tokenizer_name(self) -> str:
        """Name what prompts depend on, for lm-eval's cache of requests."""
        from edgebench.records.base import safe_name

        return safe_name(f"{self.artifact.name}-{self.artifact.sha256[:16]}")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return the artifact's template, for lm-eval's records."""
        return self._template.source if chat_template and self._template else None

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Render messages; without a generation prompt the last message is left open."""
        from edgebench.sources.templates import render_chat

        if self._template is None:
            raise UsageError(
                f"{self.artifact.name} has no chat template", hint="leave --apply_chat_template out"
            )
        self._is_chat = True
        text = render_chat(self._template, chat_history, add_generation_prompt)
        if add_generation_prompt:
            return text
        last = chat_history[-1]["content"].strip()
        end = text.rfind(last) + len(last)
        return text[:end] if last in text else text

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval stores of a model beside its results."""
        return {
            "model_num_parameters": self.artifact.parameters,
            "model_dtype": self.artifact.level,
            "model_sha": self.artifact.sha256,
        }


def _only_artifact(path: str) -> Artifact:
    from edgebench.sources.artifacts import find_artifacts

    artifacts = find_artifacts([Path(path)])
    if len(artifacts) != 1:
        raise UsageError(
            f"{path} holds {len(artifacts)} artifacts",
            hint=f"give one: artifact={Path(path) / Path(artifacts[0].path).parent.name}",
        )
    return artifacts[0]


def _settings(changes: Mapping[str, object]) -> Settings:
    from pydantic import ValidationError

    from edgebench.records.faults import first_fault
    from edgebench.records.settings import Settings

    known = [*Settings.model_fields, "artifact", "context"]
    for name in changes:
        if name not in known:
            raise UsageError(f"unknown model argument {name!r}", hint=nearest(name, known))
    try:
        return Settings.model_validate(changes)
    except ValidationError as error:
        raise UsageError(f"--model_args {first_fault(error)}") from None


def _generation(said: Mapping[str, Any]) -> Generation:
    """Read lm-eval's generation arguments; raise UsageError where they ask for samples."""
    from edgebench.records.task import Generation

    limits = limits_of(said)
    if limits is None:
        raise UsageError(
            "edgebench takes the likeliest token and samples none",
            hint="--gen_kwargs do_sample=False",
        )
    # lm-eval's scorers see the whole answer, its trace included.
    return Generation(stop=limits.stop, max_tokens=limits.max_tokens, end_of_thought=())


def register() -> None:
    """Add the model to lm-eval's table; raise MissingExtraError without lm-eval."""
    try:
        import lm_eval.models  # noqa: F401 - lm-eval fills its table only while it is empty
        from lm_eval.api.registry import model_registry
    except ImportError:
        raise MissingExtraError("lm-eval", "eval") from None
    if NAME not in model_registry:
        model_registry.register(NAME, target="edgebench.lm_eval.model:EdgebenchLM")


def main() -> int:
    """Run lm-eval's own command with this model in its table."""
    try:
        register()
        from lm_eval.__main__ import cli_evaluate

        cli_evaluate()
    except EdgebenchError as error:
        sys.stderr.write(f"error: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Artifacts as a model of lm-evaluation-harness: any format, scored through our sessions.

lm-eval finds models in a table of its own and has no plugins, so its command is started from here:
    python -m edgebench.lm_eval.model --model edgebench --model_args artifact=m-q8_0.gguf --tasks T
All of lm-eval's options work. From Python, importing this module and calling `register` is enough.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebench.errors import EdgebenchError, MissingExtraError, UsageError, nearest
from edgebench.records.formats import FORMATS
from edgebench.records.spans import ChatTemplate, Score, Span
from edgebench.worker.runtimes import Room, Session, get_runtime

if TYPE_CHECKING:
    from edgebench.records.artifact import Artifact
    from edgebench.records.task import Generation

try:
    from lm_eval.api.model import LM
except ImportError:  # `main` says so in words
    LM = object

NAME = "edgebench"
CONTEXT = 2048
SEQUENCES = 65  # one holds what all spans share, 64 are scored side by side
SPANS_A_ROUND = 256  # what a round's spans share is evaluated once
MAX_TOKENS = 256  # to generate where a task does not say, as lm-eval's backends have it
TOKEN_COUNTS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


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
        self._session = _opened(self.artifact, settings, self.max_length)
        self._template: ChatTemplate | None = self._session.chat_template()
        self._chat = False  # from the first rendered template on, special tokens are read as such
        self._start = self._session.start_token()
        self._prefix = _prefix_token(self._session, self._start, self._template)

    # scores

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Score each continuation after its context."""
        spans = [self._span(*one.args) for one in requests]
        scores = self._scores(spans, disable_tqdm)
        answers = [(scores[span].loglikelihood, scores[span].greedy) for span in spans]
        for one, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood", one.args, answer)
        return answers

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Score whole texts, in windows where they are longer than the context."""
        windows = [self._windows(one.args[0]) for one in requests]
        scores = self._scores([span for listed in windows for span in listed], disable_tqdm)
        answers = [sum(scores[span].loglikelihood for span in listed) for listed in windows]
        for one, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", one.args, answer)
        return answers

    def _scores(self, spans: Sequence[Span], quiet: bool) -> dict[Span, Score]:
        """Score each different span once, in order, so that those with a common beginning meet."""
        from tqdm import tqdm

        ordered = sorted(set(spans), key=lambda span: (span.tokens, span.start))
        scores: dict[Span, Score] = {}
        with tqdm(total=len(ordered), desc="Scoring", disable=quiet) as shown:
            for first in range(0, len(ordered), SPANS_A_ROUND):
                part = ordered[first : first + SPANS_A_ROUND]
                scores.update(zip(part, self._session.score(part), strict=True))
                shown.update(len(part))
        return scores

    def _span(self, context: str, continuation: str) -> Span:
        """Tokenize as lm-eval's own backend: spaces at the context's end go to what follows."""
        kept = context.rstrip()
        continuation = context[len(kept) :] + continuation
        if kept:
            head, whole = self._tokens(kept), self._tokens(kept + continuation)
        else:  # nothing comes before: the first token stands for it
            tokens = tuple(self._session.encode(continuation, self._chat))
            whole = tokens if tokens[:1] == (self._prefix,) else (self._prefix, *tokens)
            head = whole[:1]
        if len(whole) < 2:
            raise EdgebenchError(f"nothing to score: {continuation[:100]!r} has no token")
        own = len(whole) - min(len(head), len(whole) - 1)
        # All tokens but the last are evaluated; a longer context loses its beginning.
        whole = whole[-(self.max_length + 1) :]
        return Span(whole, max(1, len(whole) - own))

    def _windows(self, text: str) -> list[Span]:
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        windows = get_rolling_token_windows(
            token_list=self._session.encode(text, self._chat),
            prefix_token=self._prefix,
            max_seq_len=self.max_length,
            context_len=1,
        )
        pairs = [make_disjoint_window(window) for window in windows]
        return [Span((*before, *after), len(before)) for before, after in pairs]

    def _tokens(self, text: str) -> tuple[int, ...]:
        tokens = tuple(self._session.encode(text, self._chat))
        if self._start is None or (self._chat and tokens[:1] == (self._start,)):
            return tokens
        return (self._start, *tokens)

    # answers

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Generate greedily; prompts with a common beginning follow each other."""
        from tqdm import tqdm

        from edgebench.worker.score.generate import Writer

        groups: dict[Generation, list[tuple[tuple[int, ...], int]]] = {}
        for place, one in enumerate(requests):
            said = _generation(one.args[1])
            room = self.max_length - said.max_tokens
            if room < 1:
                raise UsageError(
                    f"{said.max_tokens} tokens to generate leave no room in {self.max_length}",
                    hint="add context=4096 to --model_args, or --gen_kwargs max_gen_toks=128",
                )
            tokens = self._tokens(one.args[0]) or (self._prefix,)
            groups.setdefault(said, []).append((tokens[-room:], place))
        answers = [""] * len(requests)
        with tqdm(total=len(requests), desc="Generating", disable=disable_tqdm) as shown:
            for said, prompts in groups.items():
                writer = Writer(self._session, said)
                for tokens, place in sorted(prompts):
                    answers[place] = writer.write(tokens, "")
                    args = requests[place].args
                    self.cache_hook.add_partial("generate_until", args, answers[place])
                    shown.update()
        return answers

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
        from edgebench.sources.templates import compiled

        if self._template is None:
            raise UsageError(
                f"{self.artifact.name} has no chat template", hint="leave --apply_chat_template out"
            )
        render = compiled(self._template.source, "the artifact's chat template", chat=True)
        self._chat = True
        text = render(
            {
                "messages": chat_history,
                "add_generation_prompt": add_generation_prompt,
                "bos_token": self._template.bos,
                "eos_token": self._template.eos,
                "tools": None,
                "documents": None,
            }
        )
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

    found = find_artifacts([Path(path)])
    if len(found) != 1:
        raise UsageError(
            f"{path} holds {len(found)} artifacts",
            hint=f"give one: artifact={Path(path) / Path(found[0].path).parent.name}",
        )
    return found[0]


def _opened(artifact: Artifact, changes: Mapping[str, object], context: int) -> Session:
    from pydantic import ValidationError

    from edgebench.records.settings import Settings

    known = [*Settings.model_fields, "artifact", "context"]
    for name in changes:
        if name not in known:
            raise UsageError(f"unknown model argument {name!r}", hint=nearest(name, known))
    try:
        settings = Settings.model_validate(changes)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"--model_args {first['loc'][0]}: {first['msg']}") from None
    log = io.StringIO()  # of interest only where loading fails, and then it is in the error
    with contextlib.redirect_stderr(log):
        runtime = get_runtime(FORMATS[artifact.format])
        return runtime.open(artifact, settings, Room(context, SEQUENCES))


def _prefix_token(session: Session, start: int | None, template: ChatTemplate | None) -> int:
    """Return what stands before a text without a context: the first token, else an end token."""
    if start is not None:
        return start
    for text in (template.bos, template.eos) if template else ():
        tokens = session.encode(text, True) if text else []
        if len(tokens) == 1:
            return tokens[0]
    ends = _ends(session)
    end = next(ends, None)
    if end is None:
        raise EdgebenchError("the artifact has neither a first token nor one that ends a text")
    return end


def _ends(session: Session) -> Iterator[int]:
    return (token for token in range(session.vocabulary) if session.is_end(token))


def _generation(said: Mapping[str, Any]) -> Generation:
    """Read lm-eval's generation arguments; raise UsageError where they ask for samples."""
    from edgebench.records.task import Generation

    sampled = said.get("do_sample")
    if sampled or (sampled is None and float(said.get("temperature") or 0.0) > 0):
        raise UsageError(
            "edgebench takes the likeliest token and samples none",
            hint="--gen_kwargs do_sample=False",
        )
    until = said.get("until") or []
    counts = [int(said[key]) for key in TOKEN_COUNTS if said.get(key) is not None]
    stops = [until] if isinstance(until, str) else until
    return Generation(
        stop=tuple(one for one in stops if one),
        max_tokens=counts[0] if counts else MAX_TOKENS,
        end_of_thought=(),  # lm-eval's scorers see the whole answer
    )


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

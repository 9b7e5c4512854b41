"""Turn prompts into tokens: plain, or as a user's message in the artifact's chat template.

Knows tokenizers through `Text` and templates through their sandbox. Scores nothing.
"""

from __future__ import annotations

from functools import lru_cache

from edgebench.errors import BadFileError
from edgebench.records.spans import ChatTemplate
from edgebench.worker.runtimes.packing import common_prefix
from edgebench.worker.score.text import Text


class Prompts:
    """Tokens of a task's prompts, as one artifact reads them.

    With a template each context is a user's message, and the continuation begins the answer.
    Raises BadFileError where the template can't be rendered.
    """

    def __init__(self, text: Text, template: ChatTemplate | None = None) -> None:
        self._text = text
        self._template = template
        self._is_chat = template is not None
        self._prefix = text.prefix_token()
        start = text.start_token()
        self._start: tuple[int, ...] = () if start is None else (start,)
        self.tokens = lru_cache(maxsize=64)(self._tokens)

    def rendered(self, context: str) -> str:
        """Return the text that the model reads."""
        if self._template is None:
            return context
        from edgebench.sources.templates import render_chat

        return render_chat(self._template, [{"role": "user", "content": context}])

    def _tokens(self, context: str) -> tuple[int, ...]:
        """Return a prompt's tokens, with the model's first one."""
        return self._framed(self.rendered(context))

    def _framed(self, text: str) -> tuple[int, ...]:
        tokens = tuple(self._text.encode(text, self._is_chat))
        # Some templates write the first token themselves.
        return tokens if self._is_chat and tokens[:1] == self._start else (*self._start, *tokens)

    def joined(self, context: str, continuation: str) -> tuple[int, tuple[int, ...]]:
        """Return where a continuation's tokens start, and the tokens of both together.

        Where nothing comes before a continuation, the token that stands for a text's beginning
        does, so that its first token is scored too, as lm-evaluation-harness has it.
        """
        head = self.tokens(context)
        if self._is_chat:
            continuation = continuation.lstrip(" ")  # an answer starts its message without a space
        whole = self._framed(self.rendered(context) + continuation)
        if not head and self._prefix is not None:
            return 1, whole if whole[:1] == (self._prefix,) else (self._prefix, *whole)
        return max(common_prefix(head, whole), 1), whole  # nothing predicts the very first token


def template_of(template: ChatTemplate | None, wanted: bool) -> ChatTemplate | None:
    """Return the template where the task wants one; raise BadFileError where there is none."""
    if wanted and template is None:
        raise BadFileError(
            "the task wants a chat template, and the artifact has none",
            hint="set chat: false in the task file, or put the checkpoint's chat_template.jinja "
            "beside the model",
        )
    return template if wanted else None

"""Jinja in a sandbox: prompts of task files, and the chat templates that artifacts bring.

Knows what a template may not do. A template comes from elsewhere: it reads what it is given, can
change none of it, and can't make huge strings.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, Undefined
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from edgebench.errors import BadFileError
from edgebench.records.spans import ChatTemplate

LONGEST = 200_000  # characters of one rendered text


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if operator == "**" or not numbers:
            raise SecurityError(f"{operator} is not allowed here")
        return super().call_binop(context, operator, left, right)


@lru_cache(maxsize=64)
def _compiled(source: str, chat: bool) -> Any:
    # As transformers renders chat templates, so that a model sees what it was trained on.
    environment = _Sandbox(
        undefined=Undefined if chat else StrictUndefined,
        keep_trailing_newline=not chat,
        trim_blocks=chat,
        lstrip_blocks=chat,
        extensions=["jinja2.ext.loopcontrols"] if chat else [],
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment.from_string(source)


def _refuse(message: str) -> None:
    raise TemplateError(str(message))


def compiled(source: str, what: str, chat: bool = False) -> Callable[[Mapping[str, Any]], str]:
    """Compile a template; return what renders it.

    `what` names it in errors. Both raise BadFileError where it isn't a template, asks for what is
    not there, or tries what it may not.
    """
    try:
        template = _compiled(source, chat)
    except (TemplateError, RecursionError) as error:
        raise BadFileError(f"{what} isn't a Jinja template: {str(error)[:300]}") from None

    def render(values: Mapping[str, Any]) -> str:
        try:
            text = str(template.render(values))
        except Exception as error:  # noqa: BLE001 - a template can raise whatever it calls raises
            raise BadFileError(f"{what} can't be rendered: {str(error)[:300]}") from None
        if len(text) > LONGEST:
            raise BadFileError(f"{what} renders {len(text)} characters, more than {LONGEST}")
        return text

    return render


def render_chat(
    template: ChatTemplate, messages: Sequence[Mapping[str, str]], generation_prompt: bool = True
) -> str:
    """Render messages by an artifact's chat template, up to where its answer begins.

    Without `generation_prompt` the text ends with the last message. Raises BadFileError as
    `compiled` does.
    """
    render = compiled(template.source, "the artifact's chat template", chat=True)
    return render(
        {
            "messages": messages,
            "add_generation_prompt": generation_prompt,
            "bos_token": template.bos,
            "eos_token": template.eos,
            "tools": None,
            "documents": None,
        }
    )

"""Jinja in a sandbox: what a template may not do, and which can do no harm at all.

Knows Jinja. A template comes from elsewhere: it reads what it is given and can change none of it.
The sandbox alone bounds neither its time nor its memory: `templates.py` says where it runs.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, Undefined, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from edgebench.errors import BadFileError
from edgebench.records.limits import MESSAGE_CHARACTERS, RENDERED_CHARACTERS

# Text, values and what shortens or keeps them: each is printed once, in time and memory of its own
# size.
_PLAIN = (
    nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Const,
    nodes.Filter,
)  # fmt: skip
_PLAIN_FILTERS = {"trim", "lower", "upper", "capitalize", "string"}


def _environment(chat: bool) -> ImmutableSandboxedEnvironment:
    # As transformers renders chat templates, so that a model sees what it was trained on.
    environment = ImmutableSandboxedEnvironment(
        undefined=Undefined if chat else StrictUndefined,
        keep_trailing_newline=not chat,
        trim_blocks=chat,
        lstrip_blocks=chat,
        extensions=["jinja2.ext.loopcontrols"] if chat else [],
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.filters["regex_replace"] = _regex_replace  # which tasks of lm-eval expect
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment


def _refuse(message: str) -> None:
    raise TemplateError(str(message))


def _regex_replace(text: str, pattern: str, replacement: str, count: int = 0) -> str:
    return re.sub(pattern, replacement, text, count=count)


def is_plain(source: str, what: str) -> bool:
    """Return whether a template only prints values: it may be rendered anywhere.

    Parses and evaluates nothing. Raises BadFileError where it isn't a template.
    """
    try:
        tree = _environment(chat=False).parse(source)
        return all(_is_plain(node) for node in tree.find_all(nodes.Node))
    except (TemplateError, RecursionError, ValueError) as error:  # ValueError: 5000 digits
        raise _bad(what, "isn't a Jinja template", error) from None


def _is_plain(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Filter):
        bare = not (node.args or node.kwargs or node.dyn_args or node.dyn_kwargs)
        return bare and node.name in _PLAIN_FILTERS
    return isinstance(node, _PLAIN)


def compiled(source: str, what: str, chat: bool = False) -> Callable[[Mapping[str, Any]], str]:
    """Compile a template; return what renders it, here.

    `what` names it in errors. Both raise BadFileError where it isn't a template, asks for what is
    not there, or tries what it may not. To compile evaluates what is constant.
    """
    try:
        template = _environment(chat).from_string(source)
    except Exception as error:  # noqa: BLE001 - Python's compiler and constants raise more kinds
        raise _bad(what, "isn't a Jinja template", error) from None

    def render(values: Mapping[str, Any]) -> str:
        parts, length = [], 0
        try:
            for part in template.generate(values):
                parts.append(part)
                length += len(part)
                if length > RENDERED_CHARACTERS:
                    raise TemplateError(f"it has more than {RENDERED_CHARACTERS} characters")
        except Exception as error:  # noqa: BLE001 - a template can raise whatever it calls raises
            raise _bad(what, "can't be rendered", error) from None
        return "".join(parts)

    return render


def _bad(what: str, wrong: str, error: Exception) -> BadFileError:
    if isinstance(error, MemoryError):
        return BadFileError(f"{what} can't be rendered: it takes too much memory")
    return BadFileError(f"{what} {wrong}: {' '.join(str(error).split())[:MESSAGE_CHARACTERS]}")

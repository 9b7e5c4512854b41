"""Render templates from elsewhere: prompts of task files, and chat templates that artifacts bring.

One line of Jinja can run for ever or fill the memory, so whatever does more than print values runs
in a child with limits on both. Knows that child; what a template may do is the sandbox's affair.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import IO, Any

from edgebench.errors import BadFileError
from edgebench.processes import python_module
from edgebench.records.json_text import parse_json
from edgebench.records.limits import (
    CHAT_RENDER_EACH_S,
    RENDER_BYTES,
    RENDER_EACH_S,
    RENDER_S,
    RENDER_SILENCE_S,
    RENDERED_CHARACTERS,
)
from edgebench.records.spans import ChatTemplate

CLOSE_S = 5.0  # from the end of its output to its own
_REPLY_BYTES = 12 * RENDERED_CHARACTERS + 1000  # as \ud83d\ude00 in JSON

Render = Callable[[Mapping[str, Any]], str]


class Renderer:
    """Renders templates, in a child of its own that starts when it is needed.

    Its templates may take RENDER_S seconds of processor time; each text gives `each_s` of it back.
    """

    def __init__(self, each_s: float = RENDER_EACH_S) -> None:
        self._each_s = each_s
        self._child: _Child | None = None
        self._plain: dict[str, Render] = {}

    def template(self, source: str, what: str, chat: bool = False) -> Render:
        """Return what renders a template; `what` names it in errors.

        Both raise BadFileError where it isn't a template, asks for what is not there, tries what
        it may not, or takes too much.
        """
        if len(source) > RENDERED_CHARACTERS:
            raise BadFileError(f"{what} has more than {RENDERED_CHARACTERS} characters")
        if not chat:
            from edgebench.sources.sandbox import compiled, is_plain

            if source in self._plain:  # lm-eval asks anew for each text
                return self._plain[source]
            if is_plain(source, what):
                return self._plain.setdefault(source, compiled(source, what))
        fixed = {"source": source, "what": what, "chat": chat}
        return lambda values: self._rendered(fixed, values)

    def _rendered(self, template: dict[str, Any], values: Mapping[str, Any]) -> str:
        try:
            if self._child is None:
                self._child = _Child(self._each_s)
            return self._child.render(template, values)
        except _GoneError as error:
            self.close()
            raise BadFileError(f"{template['what']} can't be rendered: {error}") from None
        except BadFileError:
            raise
        except BaseException:  # its next reply would be taken for another's
            self.close()
            raise

    def close(self) -> None:
        """End the child."""
        if self._child:
            self._child.close()
            self._child = None


class _GoneError(Exception):
    """The child has ended, or is no good any more; says why."""


class _Child:
    """A process that renders."""

    def __init__(self, each_s: float) -> None:
        try:
            self._process = subprocess.Popen(
                python_module("edgebench.sources.render_child"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,  # Ctrl-C reaches the parent alone
            )
        except OSError as error:
            raise _GoneError(f"no process could be started for it: {error.strerror}") from None
        self.close = weakref.finalize(self, _end, self._process)
        self._known: dict[str, int] = {}
        self._waiting = _line({"most_s": RENDER_S, "each_s": each_s, "bytes": RENDER_BYTES})

    def render(self, template: dict[str, Any], values: Mapping[str, Any]) -> str:
        """Render one text; raise BadFileError with what the template did wrong, or _GoneError."""
        key = f"{template['chat']} {template['source']}"
        request: dict[str, Any] = {"values": values}
        if key not in self._known:
            request |= template
        request["template"] = self._known.setdefault(key, len(self._known))
        line, self._waiting = self._waiting + _line(request), b""
        try:
            reply = parse_json(self._exchange(line))
        except ValueError:
            reply = None
        if isinstance(reply, dict) and isinstance(reply.get("error"), str):
            raise BadFileError(reply["error"])
        if isinstance(reply, dict) and isinstance(reply.get("text"), str):
            return str(reply["text"])
        raise _GoneError("the process that renders it said something else")

    def _exchange(self, line: bytes) -> bytes:
        """Send a request and return the reply; neither waits for longer than there is time."""
        deadline, reply = time.monotonic() + RENDER_SILENCE_S, bytearray()
        stdin, stdout = _pipes(self._process)
        os.set_blocking(stdin.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(stdin, selectors.EVENT_WRITE)
            selector.register(stdout, selectors.EVENT_READ)
            while not reply.endswith(b"\n"):
                ready = [key.fd for key, _ in selector.select(deadline - time.monotonic())]
                if not ready or len(reply) > _REPLY_BYTES:
                    raise _GoneError(f"it gives no answer within {RENDER_SILENCE_S:g} s")
                if stdin.fileno() in ready:
                    line = self._write(stdin, line)
                    if not line:
                        selector.unregister(stdin)
                if stdout.fileno() in ready:
                    reply += os.read(stdout.fileno(), 1 << 16) or self._ended()
        return bytes(reply)

    def _write(self, stdin: IO[bytes], line: bytes) -> bytes:
        try:
            return line[os.write(stdin.fileno(), line) :]
        except BlockingIOError:
            return line
        except OSError:
            return self._ended()

    def _ended(self) -> bytes:
        try:
            code = self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            raise _GoneError("the process that renders it said no more") from None
        if code == -signal.SIGPROF:
            raise _GoneError(f"it takes more than {RENDER_S:g} s of processor time")
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        raise _GoneError(f"the process that renders it ended {how}")


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, default=str).encode() + b"\n"  # a date is as good as its text


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None:
        raise ValueError("the child is spoken to through pipes")
    return process.stdin, process.stdout


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in _pipes(process):
        pipe.close()


@lru_cache(maxsize=1)
def _chat_renderer() -> Renderer:
    return Renderer(CHAT_RENDER_EACH_S)


def render_chat(
    template: ChatTemplate, messages: Sequence[Mapping[str, str]], generation_prompt: bool = True
) -> str:
    """Render messages by an artifact's chat template, up to where its answer begins.

    Without `generation_prompt` the text ends with the last message. Raises BadFileError as
    `Renderer` does.
    """
    what = "the artifact's chat template"
    render = _chat_renderer().template(template.source, what, chat=True)
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

"""Answer items by greedy generation, up to a stop string, an end token or a number of tokens.

Knows the roles of tokens and of timing: `prefill`, `likeliest`, `keep`. Text that a model wrote is
read, never run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgebench.records.accuracy import ItemResult, Skip
from edgebench.records.answers import before_stop, is_right
from edgebench.records.limits import ANSWER_CHARACTERS
from edgebench.records.task import Generation, Task
from edgebench.worker.runtimes import Timed, Tokens
from edgebench.worker.runtimes.packing import common_prefix
from edgebench.worker.score.chat import Prompts
from edgebench.worker.score.likelihood import Progress


class Speaking(Tokens, Timed, Protocol):
    """What an answer is generated from."""


def answer(
    session: Speaking, task: Task, prompts: Prompts, progress: Progress
) -> tuple[list[ItemResult], list[Skip]]:
    """Generate an answer to each item; return results in the task's order, and what was left out.

    Prompts are sorted: what one shares with the one before is not evaluated again.
    """
    read = [(prompts.tokens(item.contexts[0]), place) for place, item in enumerate(task.items)]
    results: dict[int, ItemResult] = {}
    skipped = []
    writer = Writer(session, task.generation)
    room = session.info.context - task.generation.max_tokens
    for tokens, place in sorted(read):
        item = task.items[place]
        if len(tokens) > room or not tokens:
            reason = (
                f"{len(tokens)} tokens and {task.generation.max_tokens} to generate are longer "
                f"than the context of {session.info.context}"
            )
            skipped.append(Skip(id=item.id, reason=reason if tokens else "the prompt is empty"))
        else:
            text = writer.write(tokens, prompts.rendered(item.contexts[0]))
            correct, answered = is_right(text, item.answers, task.generation)
            results[place] = ItemResult(
                id=item.id,
                correct=correct,
                answer=answered[:ANSWER_CHARACTERS],
                cluster=item.cluster,
            )
        progress(len(results) + len(skipped), len(task.items))
    return [results[place] for place in sorted(results)], skipped


class Writer:
    """Generates from one session, keeping what neighbouring prompts share."""

    def __init__(self, session: Speaking, generation: Generation) -> None:
        self._session = session
        self._generation = generation
        self._held: tuple[int, ...] = ()
        session.keep(0)

    def write(self, prompt: Sequence[int], prompt_text: str) -> str:
        """Return what the model says after a prompt, without the stop string.

        Stop strings don't count inside a reasoning trace; a trace that never ends isn't an answer.
        """
        session, said = self._session, self._generation
        # The last token is always evaluated: its logits are wanted.
        shared = min(common_prefix(self._held, prompt), len(prompt) - 1)
        held = session.keep(shared)
        session.prefill(list(prompt[held:]))
        self._held = tuple(prompt)
        tokens: list[int] = []
        text = ""
        while len(tokens) < said.max_tokens:
            token = session.likeliest()
            if session.is_end(token):
                break
            tokens.append(token)
            text = session.text(tokens)
            if not self._thinks(prompt_text, text):
                text, stopped = self._stop(text)
                if stopped:
                    break
            if len(tokens) < said.max_tokens:
                session.prefill([token])
                self._held += (token,)
        return "" if self._thinks(prompt_text, text) else text

    def _stop(self, text: str) -> tuple[str, bool]:
        """Cut the answer, not the trace before it, at a stop string."""
        marks = [mark for mark in self._generation.end_of_thought if mark in text]
        end = max((text.rfind(mark) + len(mark) for mark in marks), default=0)
        answer, stopped = before_stop(text[end:], self._generation.stop)
        return text[:end] + answer, stopped

    def _thinks(self, prompt: str, text: str) -> bool:
        """Return whether a trace is open: begun in the answer, or by the prompt's last words."""
        for mark in self._generation.end_of_thought:
            begin = mark.replace("</", "<", 1)
            opened = text.lstrip().startswith(begin) or prompt.rstrip().endswith(begin)
            if begin != mark and opened and mark not in text:
                return True
        return False

"""Train a model on the small world, alone or after a teacher, and count what it costs.

The learning rate is constant after a warm-up; at each budget a copy is annealed over a fifth of
the budget's tokens (Hägele et al. 2024, "Scaling laws and compute-optimal training beyond fixed
training durations"), so that one run gives a model at every budget. FLOP are 6 N a token learned
from, and 2 N of the teacher's for a token that it read (Kaplan et al. 2020).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lib.pair.language import Question, documents
from lib.pair.models import Size

LENGTH = 128  # tokens of a sequence
SEQUENCES = 8  # in a step
RATE = 3e-3
WARM_UP = 20  # steps
ANNEALED = 0.2  # of a budget's tokens, at a rate that falls to zero
SOFT = 0.7  # the share of the loss that is the teacher's distribution
TOKENS_A_STEP = LENGTH * SEQUENCES


@dataclass(frozen=True)
class Reached:
    """A model at a budget: what it read, and what that cost."""

    tokens: int
    flop: float
    teacher_flop: float
    seconds: float
    model: Any


@dataclass
class Learner:
    """A model in training."""

    model: Any
    size: Size
    tokenizer: Any
    seed: int
    teacher: Any = None
    teacher_size: Size | None = None
    steps: int = 0
    annealing_steps: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Begin the stream of what is read, and the optimizer."""
        self._batches = batches(self.tokenizer, self.seed)
        self._optimizer = _optimizer(self.model)

    def reach(self, budgets: Sequence[int], tell: Callable[[str], None]) -> Iterator[Reached]:
        """Train up to each budget of tokens in turn; yield an annealed copy at each."""
        for budget in budgets:
            annealing = round(ANNEALED * budget / TOKENS_A_STEP)
            until = budget // TOKENS_A_STEP - annealing
            begin = time.monotonic()
            while self.steps < until:
                rate = RATE * min(1.0, (self.steps + 1) / WARM_UP)
                loss = self._step(self.model, self._optimizer, rate, next(self._batches))
                self.steps += 1
                if self.steps % 100 == 0:
                    tell(f"{self.steps * TOKENS_A_STEP} tokens, loss {loss:.3f}")
            annealed = self._anneal(annealing)
            self.seconds += time.monotonic() - begin
            tokens = (self.steps + annealing) * TOKENS_A_STEP
            yield Reached(
                tokens=tokens,
                flop=6.0 * self.size.matmul_parameters * tokens,
                teacher_flop=self._teacher_flop(tokens),
                seconds=self.seconds,
                model=annealed,
            )

    def _teacher_flop(self, tokens: int) -> float:
        return 2.0 * self.teacher_size.matmul_parameters * tokens if self.teacher_size else 0.0

    def _anneal(self, steps: int) -> Any:
        """Return a copy that was trained on at a rate which falls to zero."""
        model = copy.deepcopy(self.model)
        optimizer = _optimizer(model)
        optimizer.load_state_dict(copy.deepcopy(self._optimizer.state_dict()))
        stream = batches(self.tokenizer, self.seed + 1_000_000 + self.steps)
        for step in range(steps):
            self._step(model, optimizer, RATE * (1 - (step + 1) / steps), next(stream))
        return model

    def _step(self, model: Any, optimizer: Any, rate: float, batch: Any) -> float:
        import torch

        for group in optimizer.param_groups:
            group["lr"] = rate
        model.train()
        logits = model(batch).logits[:, :-1].float()
        targets = batch[:, 1:]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        if self.teacher is not None:
            with torch.no_grad():
                wanted = self.teacher(batch).logits[:, :-1].float().softmax(-1)
            soft = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(0, 1))
            loss = (1 - SOFT) * loss + SOFT * soft
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(loss.detach())


def _optimizer(model: Any) -> Any:
    import torch

    return torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.05)


def batches(tokenizer: Any, seed: int) -> Iterator[Any]:
    """Yield batches of token ids: documents joined end to end, cut into sequences."""
    import torch

    ids: list[int] = []
    end = tokenizer.eos_token_id
    for document in documents(seed):
        ids += [*tokenizer(document, add_special_tokens=False)["input_ids"], end]
        if len(ids) >= TOKENS_A_STEP:
            yield torch.tensor(ids[:TOKENS_A_STEP]).view(SEQUENCES, LENGTH)
            ids = ids[TOKENS_A_STEP:]


def answers(model: Any, tokenizer: Any, questions: Sequence[Question]) -> list[bool]:
    """Return which questions a model answers right: its likeliest choice, summed log-likelihood."""
    import torch

    model.eval()
    right = []
    for asked in questions:
        prompt = tokenizer(asked.prompt, add_special_tokens=False)["input_ids"]
        options = [
            tokenizer(f"{asked.prompt} {choice}", add_special_tokens=False)["input_ids"]
            for choice in (asked.answer, *asked.wrong)
        ]
        longest = max(map(len, options))
        padded = torch.tensor([ids + [0] * (longest - len(ids)) for ids in options])
        with torch.no_grad():
            told = model(padded).logits.log_softmax(-1)
        scores = [
            sum(float(told[row, place - 1, ids[place]]) for place in range(len(prompt), len(ids)))
            for row, ids in enumerate(options)
        ]
        right.append(max(range(len(scores)), key=scores.__getitem__) == 0)
    return right

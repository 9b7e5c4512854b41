"""Answer what lm-evaluation-harness asks: tokens of texts, likelihoods of spans, generated texts.

Knows the roles of a session. Knows no task and no harness.
"""

from __future__ import annotations

from edgebench.errors import EdgebenchError
from edgebench.records.messages import (
    Generate,
    GenerateResult,
    ScoreSpans,
    SpansResult,
    Tokenize,
    TokenizeResult,
)
from edgebench.records.spans import Span
from edgebench.worker.runtimes import Tokens
from edgebench.worker.score.divergence import Distributions, Progress
from edgebench.worker.score.generate import Speaking, Writer


def answer_tokenize(session: Tokens, request: Tokenize) -> TokenizeResult:
    """Tokenize each text with the artifact's own tokenizer."""
    return TokenizeResult(
        tokens=tuple(tuple(session.encode(text, request.special)) for text in request.texts)
    )


def answer_spans(session: Distributions, request: ScoreSpans) -> SpansResult:
    """Score spans; raise EdgebenchError where one has nothing to score, or isn't of this model."""
    for span in request.spans:
        _check(span, session.vocabulary)
    return SpansResult(scores=tuple(session.score(request.spans)) if request.spans else ())


def answer_generate(session: Speaking, request: Generate, progress: Progress) -> GenerateResult:
    """Generate after each prompt; raise EdgebenchError where one is too long, or isn't one."""
    room = session.info.context - request.generation.max_tokens
    writer, texts = Writer(session, request.generation), []
    for prompt in request.prompts:
        _check(Span((*prompt, 0), len(prompt)), session.vocabulary)
        if len(prompt) > room:
            raise EdgebenchError(
                f"a prompt of {len(prompt)} tokens and {request.generation.max_tokens} to generate "
                f"are longer than the context of {session.info.context}"
            )
        texts.append(writer.write(prompt, session.text(prompt)))
        progress(len(texts), len(request.prompts))
    return GenerateResult(texts=tuple(texts))


def _check(span: Span, vocabulary: int) -> None:
    if not 0 < span.start < len(span.tokens):
        raise EdgebenchError(f"of {len(span.tokens)} tokens none from {span.start} on is scored")
    if not 0 <= min(span.tokens) <= max(span.tokens) < vocabulary:
        raise EdgebenchError(f"a token is outside the vocabulary of {vocabulary}")

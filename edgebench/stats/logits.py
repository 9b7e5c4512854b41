"""From logits to log-probabilities, one row at a time or many. Knows arrays; knows no runtime.

One home: `sum_row` serves scores and divergence, `log_softmax` the checks of exports.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from edgebench.errors import EdgebenchError


class RowSum(NamedTuple):
    """A row's likeliest token and its logit, and the sum of exponentials.

    `log_sum` is the log of the sum of exp(logit), `mass` the sum of exp(logit - peak).
    """

    top: int
    peak: float
    log_sum: float
    mass: float


def sum_row(logits: Any, scratch: Any) -> RowSum:
    """Sum the exponentials of one row, and fill `scratch` (float32) with exp(logit - peak).

    Summed by pairs, single precision is exact to 1e-6 here. Raises EdgebenchError on NaN and
    infinite logits; -inf beside finite ones is a token that can't come.
    """
    import numpy as np

    top = int(logits.argmax())
    peak = float(logits[top])
    if not math.isfinite(peak):  # a NaN counts as the largest
        raise EdgebenchError("the model gives logits that are not finite")
    np.subtract(logits, logits[top], out=scratch, dtype=np.float32)
    np.exp(scratch, out=scratch)
    mass = float(scratch.sum())
    return RowSum(top, peak, peak + math.log(mass), mass)


def log_softmax(logits: Any) -> Any:
    """Return log-probabilities over the last axis, in double precision."""
    import numpy as np

    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))

"""How an ONNX graph's KV cache is kept: one buffer in place, or handed on from step to step.

Knows a graph's inputs and outputs, and I/O binding. Knows no providers and no sessions' settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgebench.errors import BadFileError
from edgebench.sources.onnx_file import LOGITS_START
from edgebench.worker.runtimes.onnx_tree import BIAS, HIDDEN, POSITIONS, SPARE, Tree

NUMPY_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


class SharedCache:
    """A fused graph's cache: past and present are one buffer [1, heads, room, head size].

    The attention mask's width is the total length, so a step binds shapes alone and copies nothing.
    A graph with the inputs of a tree evaluates those too.
    """

    def __init__(self, ort: Any, session: Any, room: int, device: str) -> None:
        import numpy as np

        self.length = 0
        self._session = session
        self._inputs = inputs_of(session)
        self._binding = session.io_binding()
        bias = self._inputs.get(BIAS)
        self._bias_type = NUMPY_TYPES[bias.type] if bias else None  # None: the graph has no trees
        room += SPARE if bias else 0
        self._buffers = []  # onnxruntime keeps pointers; Python must keep what they point at
        for name, given in self._inputs.items():
            if name.startswith("past_key_values."):
                zeros = np.zeros([1, given.shape[1], room, given.shape[3]], NUMPY_TYPES[given.type])
                value = ort.OrtValue.ortvalue_from_numpy(zeros, device, 0)
                self._buffers.append(value)
                self._binding.bind_ortvalue_input(name, value)
                present = name.replace("past_key_values.", "present.")
                self._binding.bind_ortvalue_output(present, value)
        logits = outputs_of(session)["logits"]
        self._type, self._vocabulary = NUMPY_TYPES[logits.type], int(logits.shape[-1])
        self._mask = np.ones(room, np.int64)
        self._positions = np.arange(room, dtype=np.int64)
        self._start = np.zeros(1, np.int64)
        self._one = np.zeros(1, np.int64)
        self._step_logits = np.zeros((1, self._vocabulary), self._type)
        self._step_bias = np.zeros(room, self._bias_type)
        self._stepping = False

    def cut(self, length: int) -> None:
        """Forget what was evaluated after `length` tokens: the buffer stays as it is."""
        self.length = length

    def run(self, tokens: Sequence[int], rows: int) -> Any:
        """Evaluate tokens; return the last `rows` rows of logits, or all that the graph gives."""
        import numpy as np

        ids = np.asarray(tokens, np.int64)
        self._bind_length(len(ids))
        if self._bias_type:
            bias = np.zeros((len(ids), self.length + len(ids)), self._bias_type)
            self._bind(BIAS, bias, (1, 1, *bias.shape))
        out = self._evaluate(ids, rows)
        self.length += len(ids)
        return out

    def branch(self, tree: Tree) -> Any:
        """Evaluate a tree after its trunk, which is held; return its tail's rows of logits.

        What is held stays as it is.
        """
        import numpy as np

        ids = np.asarray(tree.tokens, np.int64)
        positions = np.asarray(tree.positions, np.int64)
        past = max(tree.trunk, SPARE)
        bias = np.where(tree.seen(past), 0, HIDDEN).astype(self._bias_type)
        self._bind("attention_mask", self._mask, (1, past + len(ids)))
        self._bind(POSITIONS, positions, (1, len(ids)))
        self._bind(BIAS, bias, (1, 1, *bias.shape))
        rows = len(ids) - tree.tail
        return self._evaluate(ids, rows)[-rows:]

    def _evaluate(self, ids: Any, rows: int) -> Any:
        import numpy as np

        self._stepping = False
        kept = rows if LOGITS_START in self._inputs else len(ids)
        out = np.empty((kept, self._vocabulary), self._type)
        self._start[0] = len(ids) - kept
        self._bind_step(ids, out)
        self._session.run_with_iobinding(self._binding)
        return out

    def step(self, token: int) -> Any:
        """Evaluate one token; the logits' array is the same each time."""
        if not self._stepping:
            self._start[0] = 0
            self._bind_step(self._one, self._step_logits)
            self._stepping = True
        self._one[0] = token
        self._bind_length(1)
        if self._bias_type:
            self._bind(BIAS, self._step_bias, (1, 1, 1, self.length + 1))
        self._session.run_with_iobinding(self._binding)
        self.length += 1
        return self._step_logits

    def _bind_step(self, ids: Any, out: Any) -> None:
        self._bind("input_ids", ids, (1, len(ids)))
        if LOGITS_START in self._inputs:
            self._bind(LOGITS_START, self._start, (1,))
        self._binding.bind_output(
            "logits", "cpu", 0, out.dtype.type, [1, *out.shape], out.ctypes.data
        )

    def _bind_length(self, count: int) -> None:
        self._bind("attention_mask", self._mask, (1, self.length + count))
        if POSITIONS in self._inputs:
            self._bind(POSITIONS, self._positions, (1, count), self.length)

    def _bind(self, name: str, array: Any, shape: tuple[int, ...], offset: int = 0) -> None:
        pointer = array.ctypes.data + offset * array.itemsize
        self._binding.bind_input(name, "cpu", 0, array.dtype.type, list(shape), pointer)


class GrowingCache:
    """A standard graph's cache: each evaluation's present is the next one's past."""

    def __init__(self, ort: Any, session: Any) -> None:
        self._ort, self._session = ort, session
        self._inputs = inputs_of(session)
        self._past = [name for name in self._inputs if name.startswith("past_key_values.")]
        self._present = [name.replace("past_key_values.", "present.") for name in self._past]
        self._values: list[Any] = []
        self.length = 0
        self.cut(0)

    def cut(self, length: int) -> None:
        """Forget what was evaluated after `length` tokens, by a copy of what stays."""
        import numpy as np

        if length and length == self.length:
            return
        kept = []
        for index, name in enumerate(self._past):
            past = self._inputs[name]
            if length:
                part = np.ascontiguousarray(self._values[index].numpy()[:, :, :length])
            else:
                part = np.zeros([1, past.shape[1], 0, past.shape[3]], NUMPY_TYPES[past.type])
            kept.append(self._ort.OrtValue.ortvalue_from_numpy(part))
        self._values, self.length = kept, length

    def run(self, tokens: Sequence[int], rows: int) -> Any:
        """Evaluate tokens; return all rows of logits, which is what the graph gives."""
        import numpy as np

        binding = self._session.io_binding()
        count = len(tokens)
        binding.bind_cpu_input("input_ids", np.asarray([tokens], np.int64))
        if "attention_mask" in self._inputs:
            binding.bind_cpu_input("attention_mask", np.ones((1, self.length + count), np.int64))
        if POSITIONS in self._inputs:
            positions = np.arange(self.length, self.length + count, dtype=np.int64)[None]
            binding.bind_cpu_input(POSITIONS, positions)
        for name, value in zip(self._past, self._values, strict=True):
            binding.bind_ortvalue_input(name, value)
        for name in ("logits", *self._present):
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        logits, *self._values = binding.get_outputs()
        self.length += count
        return logits.numpy()[0]

    def step(self, token: int) -> Any:
        """Evaluate one token."""
        return self.run([token], 1)


def inputs_of(session: Any) -> dict[str, Any]:
    inputs = {value.name: value for value in session.get_inputs()}
    return inputs | {value.name: value for value in session.get_overridable_initializers()}


def outputs_of(session: Any) -> dict[str, Any]:
    outputs = {value.name: value for value in session.get_outputs()}
    if "logits" not in outputs or not isinstance(outputs["logits"].shape[-1], int):
        raise BadFileError("the graph has no output 'logits' of a fixed vocabulary")
    if not any(value.name.startswith("past_key_values.") for value in session.get_inputs()):
        raise BadFileError(
            "the graph keeps no past_key_values, so each token would evaluate all before it",
            hint="export it with past: edgebench export DIR --format onnx",
        )
    return outputs

"""What penalties and biases keep on the device: buffers for adjust_logits, made when a sequence first needs them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fastgo import _fastmetal
from fastgo.engine.sampling import Sampling
from fastgo.ops.adjust_logits import PENALTY_WORDS, SEEN_IN_PROMPT


class Adjustments:
    """`penalties` (num_sequences, PENALTY_WORDS), `bias` and `seen` (num_sequences, vocab_size) of adjust_logits."""

    def __init__(self, device: _fastmetal.Device, vocab_size: int, num_sequences: int) -> None:
        self._device = device
        self._vocab_size = vocab_size
        shared = device.info["has_unified_memory"]
        row_nbytes = vocab_size * 4
        self.buffers = {
            "penalties": device.buffer(num_sequences * PENALTY_WORDS * 4, "penalties"),
            "bias": device.buffer(num_sequences * row_nbytes, "logit bias", shared),
            "seen": device.buffer(num_sequences * row_nbytes, "seen tokens", shared),
        }

    def set(self, sampling: Sampling, prompt: Sequence[int], sequence: int) -> None:
        """Starts a sequence: all of `prompt` was seen, nothing was generated. Only while nothing runs."""
        penalties = np.frombuffer(memoryview(self.buffers["penalties"]), np.uint32).reshape(-1, PENALTY_WORDS)
        penalties[sequence] = np.frombuffer(sampling.pack_penalties(len(prompt)), np.uint32)
        seen = np.zeros(self._vocab_size, np.uint32)
        seen[np.asarray(prompt, np.int64)] = SEEN_IN_PROMPT
        bias = np.zeros(self._vocab_size, np.float32)
        bias[np.fromiter(sampling.logit_bias, np.int64)] = np.fromiter(sampling.logit_bias.values(), np.float32)
        self._write("seen", sequence, seen)
        self._write("bias", sequence, bias)

    def _write(self, name: str, sequence: int, row: npt.NDArray[np.uint32] | npt.NDArray[np.float32]) -> None:
        offset = sequence * row.nbytes
        if self._device.info["has_unified_memory"]:
            np.frombuffer(memoryview(self.buffers[name]), row.dtype, row.size, offset)[:] = row
            return
        staging = self._device.buffer(row.nbytes, f"{name}, staging")
        np.frombuffer(memoryview(staging), row.dtype)[:] = row
        self._device.copy(staging, 0, self.buffers[name], offset, row.nbytes).wait()

"""How the next token is chosen: the parameters of the `sample` kernel."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from fastgo.errors import UsageError

PARAMETER_WORDS = 3  # seed (two words), temperature


@dataclass(frozen=True)
class Sampling:
    """`temperature` 0 is greedy; else tokens are drawn from softmax(logits / temperature) with `seed`, 64 bits.

    Raises UsageError for values that make no sense.
    """

    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not math.isfinite(self.temperature) or self.temperature < 0.0:
            raise UsageError(f"temperature is {self.temperature}, expected a number from 0 up")
        if not 0 <= self.seed < 1 << 64:
            raise UsageError(f"seed is {self.seed}, expected a whole number from 0 to 2^64 - 1")

    def pack(self) -> bytes:
        """The SampleParameters struct of shaders/sample.metal."""
        return struct.pack("<IIf", self.seed & 0xFFFFFFFF, self.seed >> 32, self.temperature)

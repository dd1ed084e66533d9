"""How the next token is chosen: what a user may set, checked, and packed for the sampling kernels."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from fastgo.errors import UsageError

_LEAST_TEMPERATURE = 1e-5  # below it nothing but the largest logit can win, and float32 could overflow


@dataclass(frozen=True)
class Sampling:
    """`temperature` 0 is greedy; else tokens are drawn from softmax(logits / temperature) with `seed`, 64 bits.

    `top_k` most likely tokens are kept (0: all), of them the fewest whose mass reaches `top_p`, of them those at least
    `min_p` times as likely as the likeliest: the order of transformers. See ops/sample.py.

    Raises UsageError for values that make no sense.
    """

    temperature: float = 0.0
    seed: int = 0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.temperature) or self.temperature < 0.0:
            raise UsageError(f"temperature is {self.temperature}, expected a number from 0 up")
        if not 0 <= self.seed < 1 << 64:
            raise UsageError(f"seed is {self.seed}, expected a whole number from 0 to 2^64 - 1")
        if not 0 <= self.top_k < 1 << 31:
            raise UsageError(f"top_k is {self.top_k}, expected a whole number from 0 (all tokens) up")
        for name in ("top_p", "min_p"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"{name} is {getattr(self, name)}, expected a number from 0 to 1")

    @property
    def is_greedy(self) -> bool:
        """The most likely token is taken, whatever the seed."""
        return self.temperature < _LEAST_TEMPERATURE or self.top_k == 1

    def pack(self) -> bytes:
        """The SamplingParameters struct of shaders/include/sample_args.h."""
        return struct.pack(
            "<IIfIff",
            self.seed & 0xFFFFFFFF,
            self.seed >> 32,
            0.0 if self.is_greedy else self.temperature,
            self.top_k,
            self.top_p,
            self.min_p,
        )

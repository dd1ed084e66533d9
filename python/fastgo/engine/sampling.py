"""How the next token is chosen: what a user may set, checked, and packed for the sampling kernels."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from fastgo.errors import UsageError
from fastgo.ops.log_probabilities import MOST_LIKELY

if TYPE_CHECKING:
    from typing_extensions import Self

_LEAST_TEMPERATURE = 1e-5  # below it nothing but the largest logit can win, and float32 could overflow
# Beyond these a logit leaves what float32 can tell apart from "always" and "never".
_REPETITION_RANGE = (1e-3, 1e3)
_LARGEST_PENALTY = 1e4


class SamplingOptions(TypedDict, total=False):
    """The fields of Sampling as keyword arguments."""

    temperature: float
    seed: int
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: Mapping[int, float]
    logprobs: int | None


@dataclass(frozen=True)
class Sampling:
    """`temperature` 0 is greedy; else tokens are drawn from softmax(logits / temperature) with `seed`, 64 bits.

    `top_k` most likely tokens are kept (0: all), of them the fewest whose mass reaches `top_p`, of them those at least
    `min_p` times as likely as the likeliest: the order of transformers. See ops/sample.py.

    Before all that, also of greedy choices, come the penalties and `logit_bias` by token id (-inf: never); see
    ops/adjust_logits.py. `logprobs` asks for the log-probabilities of each token and of that many most likely ones, as
    the model gives them, before anything of the above; see ops/log_probabilities.py.

    Raises UsageError for values that make no sense.
    """

    temperature: float = 0.0
    seed: int = 0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None

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
        low, high = _REPETITION_RANGE
        if not low <= self.repetition_penalty <= high:
            raise UsageError(
                f"repetition_penalty is {self.repetition_penalty}, expected a number from {low:g} to {high:g}",
                hint="1 is no penalty",
            )
        for name in ("presence_penalty", "frequency_penalty"):
            if not abs(getattr(self, name)) <= _LARGEST_PENALTY:
                raise UsageError(
                    f"{name} is {getattr(self, name)}, expected a number from {-_LARGEST_PENALTY:g} to "
                    f"{_LARGEST_PENALTY:g}",
                    hint="0 is no penalty",
                )
        for token, bias in self.logit_bias.items():
            if token < 0 or not (abs(bias) <= _LARGEST_PENALTY or bias == -math.inf):
                raise UsageError(
                    f"logit_bias of token {token} is {bias}, expected token ids from 0 up and numbers from "
                    f"{-_LARGEST_PENALTY:g} to {_LARGEST_PENALTY:g}",
                    hint="-inf keeps a token from ever being chosen",
                )
        if self.logprobs is not None and not 0 <= self.logprobs <= MOST_LIKELY:
            raise UsageError(f"logprobs is {self.logprobs}, expected a whole number from 0 to {MOST_LIKELY}")

    @property
    def is_greedy(self) -> bool:
        """The most likely token is taken, whatever the seed."""
        return self.temperature < _LEAST_TEMPERATURE or self.top_k == 1

    @property
    def wanted_logits(self) -> int:
        """How many of the largest logits decide; 0: all."""
        return 1 if self.is_greedy else self.top_k

    @property
    def adjusts(self) -> bool:
        """Logits are changed before a token is chosen."""
        penalties = (self.repetition_penalty, self.presence_penalty, self.frequency_penalty)
        return penalties != (1.0, 0.0, 0.0) or bool(self.logit_bias)

    @classmethod
    def with_defaults(cls, defaults: Mapping[str, float], options: SamplingOptions) -> Self:
        """What `options` say, and for the rest a model's own `defaults` (see assets/manifest.py)."""
        integers = {"top_k": int(defaults["top_k"])} if "top_k" in defaults else {}
        return cls(**{**defaults, **integers, **options})  # type: ignore[arg-type]

    def check_vocabulary(self, vocab_size: int) -> None:
        """Raises UsageError for a biased token that the model does not have."""
        if self.logit_bias and max(self.logit_bias) >= vocab_size:
            raise UsageError(
                f"logit_bias names token {max(self.logit_bias)}, the vocabulary has {vocab_size} tokens",
                hint="give ids of this model's own tokens",
            )

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

    def pack_penalties(self, prompt_length: int) -> bytes:
        """The PenaltyParameters struct of shaders/include/adjust_logits_args.h."""
        return struct.pack(
            "<fffI", self.repetition_penalty, self.presence_penalty, self.frequency_penalty, prompt_length
        )

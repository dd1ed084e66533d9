"""adjust_logits: repetition, presence and frequency penalties and a bias for each token, before `sample`.

In the order repetition, frequency and presence, bias. Repetition is transformers': over prompt and answer, a positive
logit is divided and a negative one multiplied. Presence and frequency are those of the OpenAI API: over the answer.
"""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import Array, ceil_div

PENALTY_WORDS = 4  # of PenaltyParameters in shaders/include/adjust_logits_args.h
SEEN_IN_PROMPT = 1 << 31  # in `seen`; the other bits count how often a token was generated
_THREADS = 256


def adjust_logits(
    logits: Tensor, penalties: Tensor, tokens: Tensor, positions: Tensor, sequences: Tensor, bias: Tensor, seen: Tensor
) -> tuple[Tensor, Tensor]:
    """logits (rows, vocab_size), which follow `tokens` at `positions` in `sequences`, all (rows,) int32.

    `penalties` (num_sequences, PENALTY_WORDS) uint32 holds the bits of repetition, presence and frequency and the
    prompt's length; `bias` (num_sequences, vocab_size) float32; `seen` of the same shape, uint32, counts `tokens` that
    lie beyond the prompt. Returns the new logits and `seen`.
    """
    graph = logits.graph
    inputs = {
        "logits": logits,
        "penalties": penalties,
        "tokens": tokens,
        "positions": positions,
        "sequences": sequences,
        "bias": bias,
    }
    outputs = {"seen": graph.alias(seen), "y": graph.output("adjusted_logits", logits.shape)}
    graph.add_node(ADJUST_LOGITS, inputs, outputs)
    return outputs["y"], outputs["seen"]


def _lower(node: Node) -> list[KernelCall]:
    rows, vocab_size = node.inputs["logits"].shape
    return [
        KernelCall(
            "adjust_logits",
            {**node.inputs, **node.outputs},
            {"vocab_size": vocab_size, "num_sequences": node.inputs["bias"].shape[0]},
            (ceil_div(vocab_size, _THREADS), rows, 1),
            (_THREADS, 1, 1),
        )
    ]


def reference(
    logits: Array,
    tokens: Array,
    positions: Array,
    sequences: Array,
    bias: Array,
    seen: Array,
    *,
    repetition: Array,
    presence: Array,
    frequency: Array,
    prompt_length: Array,
) -> tuple[Array, Array]:
    """The new logits and the new `seen`; penalties and lengths are (num_sequences,)."""
    seen = seen.copy()
    generated = positions >= prompt_length[sequences]
    seen[sequences[generated], tokens[generated]] += 1
    mine = seen[sequences]
    factor = repetition[sequences, None]
    x = np.where(mine != 0, np.where(logits > 0, logits / factor, logits * factor), logits)
    count = mine & (SEEN_IN_PROMPT - 1)
    x = x - np.where(count > 0, presence[sequences, None] + frequency[sequences, None] * count, 0.0)
    return x + bias[sequences], seen


ADJUST_LOGITS = Op("adjust_logits", _lower, reference)

"""sample: the next token from the logits, on the device.

Greedy at temperature 0; otherwise logits / temperature plus Gumbel noise and an arg-max, which draws exactly from the
softmax. The noise is Philox at (seed, position, token id).
"""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import SIMD_WIDTH, Array, ceil_div

_SPAN = 4096  # SPAN of the shader: logits a threadgroup
_SIMDGROUPS = 4


def sample(
    logits: Tensor,
    parameters: Tensor,
    positions: Tensor,
    token: Tensor,
    next_position: Tensor,
    history: Tensor,
) -> None:
    """Draws from logits (1, vocab_size) at `positions` (1,), the position of the token they follow.

    Writes the id to `token` (1,) and to `history` at that position, and the next position to `next_position` (1,).
    `parameters` (3,) uint32 holds the seed's two words and the bits of the float32 temperature.
    """
    graph = logits.graph
    candidates = ceil_div(logits.shape[1], _SPAN)
    inputs = {"logits": logits, "parameters": parameters, "position": positions}
    outputs = {
        "scores": graph.output("sample_scores", (candidates,)),
        "ids": graph.output("sample_ids", (candidates,), "u32"),
        "token": graph.alias(token),
        "next_position": graph.alias(next_position),
        "history": graph.alias(history),
    }
    graph.add_node(SAMPLE, inputs, outputs)


def _lower(node: Node) -> list[KernelCall]:
    vocab_size = node.inputs["logits"].shape[1]
    scores, ids = node.outputs["scores"], node.outputs["ids"]
    arguments = {"vocab_size": vocab_size, "candidates": scores.size}
    last = ("token", "next_position", "history")
    return [
        KernelCall(
            "sample_partial",
            {**node.inputs, "scores": scores, "ids": ids},
            arguments,
            (scores.size, 1, 1),
            (_SIMDGROUPS * SIMD_WIDTH, 1, 1),
        ),
        KernelCall(
            "sample",
            {"scores": scores, "ids": ids, "position": node.inputs["position"]} | {n: node.outputs[n] for n in last},
            arguments,
            (1, 1, 1),
            (SIMD_WIDTH, 1, 1),
        ),
    ]


def philox(key: tuple[int, int], counters: Array) -> Array:
    """Philox 4x32-10 of Salmon et al. 2011: counters (n, 4) uint32 -> (n, 4) uint32."""
    c = counters.astype(np.uint64)
    k0, k1 = key
    mask = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        product0 = np.uint64(0xD2511F53) * c[:, 0]
        product1 = np.uint64(0xCD9E8D57) * c[:, 2]
        c = np.stack(
            [
                (product1 >> np.uint64(32)) ^ c[:, 1] ^ np.uint64(k0),
                product1 & mask,
                (product0 >> np.uint64(32)) ^ c[:, 3] ^ np.uint64(k1),
                product0 & mask,
            ],
            axis=1,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c.astype(np.uint32)


def reference(logits: Array, *, temperature: float, seed: int, position: int) -> int:
    """The token drawn from logits (vocab_size,)."""
    if temperature == 0.0:
        return int(np.argmax(logits))
    ids = np.arange(logits.size, dtype=np.uint32)
    zeros = np.zeros_like(ids)
    counters = np.stack([ids, np.full_like(ids, position), zeros, zeros], axis=1)
    bits = philox((seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF), counters)[:, 0]
    noise = -np.log(-np.log1p(-(bits.astype(np.float64) + 0.5) / 2.0**32))
    return int(np.argmax(logits / temperature + noise))


SAMPLE = Op("sample", _lower, reference)

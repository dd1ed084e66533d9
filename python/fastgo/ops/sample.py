"""sample: the next token of each row from its logits, on the device.

Greedy at temperature 0; otherwise logits / temperature, then top-k, top-p and min-p, then Gumbel noise and an arg-max,
which draws exactly from the softmax over what is left. The noise is Philox at (seed, position, counter): each counter
gives four tokens, _RUN / 4 apart, a word.

The order of the filters is that of transformers' warpers (temperature, top-k, top-p, min-p): top-p counts the mass of
what top-k left. Of equal logits the lower ids are kept, as in llama.cpp, so that exactly k tokens are left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import SIMD_WIDTH, Array, ceil_div

_SPAN = 4096  # SAMPLE_SPAN of the shader: logits a threadgroup
_BLOCKS = 32  # SAMPLE_BLOCKS of the shader, of a span
_RUN = 512  # NOISE_RUN of the shader: tokens of _RUN / 4 counters
_SPAN_SIMDGROUPS = 4
_ROW_SIMDGROUPS = 8
_LOWEST_SCORE = -3e38  # what is not above it, NaN too, is never chosen
PARAMETER_WORDS = 6  # of SamplingParameters in shaders/include/sample_args.h


def sample(
    logits: Tensor,
    parameters: Tensor,
    positions: Tensor,
    sequences: Tensor,
    token: Tensor,
    next_position: Tensor,
    history: Tensor,
) -> None:
    """Draws from logits (rows, vocab_size) at `positions` (rows,), those of the tokens that they follow.

    Row r belongs to sequence sequences[r] and is drawn by the SamplingParameters parameters[sequence]; `parameters` is
    (num_sequences, PARAMETER_WORDS) uint32. Writes the ids to `token` (rows,) and to `history` (num_sequences,
    max_positions) at their positions, and the next positions to `next_position` (rows,). A row without a finite logit
    gets -1.
    """
    graph = logits.graph
    rows, vocab_size = logits.shape
    spans = ceil_div(vocab_size, _SPAN)
    inputs = {"logits": logits, "parameters": parameters, "positions": positions, "sequences": sequences}
    outputs = {
        "scores": graph.output("sample_scores", (rows, spans)),
        "ids": graph.output("sample_ids", (rows, spans), "u32"),
        "masses": graph.output("sample_masses", (rows, spans)),
        "block_maxima": graph.output("sample_block_maxima", (rows, spans * _BLOCKS)),
        "token": graph.alias(token),
        "next_position": graph.alias(next_position),
        "history": graph.alias(history),
    }
    graph.add_node(SAMPLE, inputs, outputs)


def _lower(node: Node) -> list[KernelCall]:
    rows, vocab_size = node.inputs["logits"].shape
    num_sequences, max_positions = node.outputs["history"].shape
    partial = {name: node.outputs[name] for name in ("scores", "ids", "masses", "block_maxima")}
    arguments = {"vocab_size": vocab_size, "num_sequences": num_sequences, "max_positions": max_positions}
    return [
        KernelCall(
            "sample_partial",
            {**node.inputs, **partial},
            arguments,
            (ceil_div(vocab_size, _SPAN), rows, 1),
            (_SPAN_SIMDGROUPS * SIMD_WIDTH, 1, 1),
        ),
        KernelCall(
            "sample",
            {**node.inputs, **node.outputs},
            arguments,
            (rows, 1, 1),
            (_ROW_SIMDGROUPS * SIMD_WIDTH, 1, 1),
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


@dataclass(frozen=True)
class Kept:
    """What the filters leave of a row: `ids` by falling logit, lower ids first, and their exact `probabilities`.

    `margin` is how close a filter came to deciding otherwise, as a part of the mass (top-p) or in units of
    logit / temperature (min-p): where it is below a device's rounding, the device may keep one token more or less.
    """

    ids: Array
    probabilities: Array
    margin: float


def keep(logits: Array, *, temperature: float, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0) -> Kept:
    """The exact distribution that a row of logits (vocab_size,) is drawn from; temperature above 0."""
    ids = np.argsort(-logits, kind="stable")
    ids = ids[logits[ids] > _LOWEST_SCORE]
    scaled = (logits[ids] - logits[ids[0]]) / temperature
    margin = np.inf
    if top_k:
        scaled = scaled[:top_k]
    if top_p < 1.0:
        mass = np.exp(scaled)
        before = (np.cumsum(mass) - mass) / mass.sum()
        margin = np.min(np.abs(before - top_p))
        scaled = scaled[: max(1, int(np.sum(before < top_p)))]
    if min_p > 0.0:
        margin = min(margin, np.min(np.abs(scaled[1:] - np.log(min_p)), initial=np.inf))
        scaled = scaled[: max(1, int(np.sum(scaled >= np.log(min_p))))]
    mass = np.exp(scaled)
    return Kept(ids[: scaled.size], mass / mass.sum(), float(margin))


def gumbel_noise(ids: Array, *, seed: int, position: int) -> Array:
    """The noise that is added to logits / temperature of the tokens `ids`."""
    zeros = np.zeros(ids.size, np.uint32)
    counters = (ids // _RUN * (_RUN // 4) + ids % (_RUN // 4)).astype(np.uint32)
    words = philox(
        (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF),
        np.stack([counters, np.full_like(zeros, position), zeros, zeros], axis=1),
    )
    bits = words[np.arange(ids.size), ids // (_RUN // 4) % 4]
    return np.asarray(-np.log(-np.log1p(-(bits.astype(np.float64) + 0.5) / 2.0**32)))


def reference(
    logits: Array,
    *,
    temperature: float,
    seed: int,
    position: int,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
) -> int:
    """The token drawn from logits (vocab_size,); -1 if none may be."""
    possible = np.where(logits > _LOWEST_SCORE, logits, -np.inf)
    if not np.any(possible > -np.inf):
        return -1
    if temperature == 0.0:
        return int(np.argmax(possible))
    ids = keep(logits, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p).ids
    noise = gumbel_noise(ids, seed=seed, position=position)
    return int(ids[np.argmax(logits[ids] / temperature + noise)])


SAMPLE = Op("sample", _lower, reference)

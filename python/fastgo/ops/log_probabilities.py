"""log_probabilities: how likely the model held the chosen token, and which tokens it held likeliest, on the device.

They are the log-softmax of the model's own logits, before penalties, bias, temperature and filters: what llama.cpp's
server and vLLM report, so that they measure the model and not the sampling.
"""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import SIMD_WIDTH, Array, ceil_div

MOST_LIKELY = 20  # of shaders/include/log_probabilities_args.h; the most that the OpenAI API gives
_THREADS = 64
_MERGE_SIMDGROUPS = 8
_PART = 256  # logits that one thread reads, up to _MOST_PARTS threads
_MOST_PARTS = 1024


def log_probabilities(logits: Tensor, token: Tensor, values: Tensor, likely: Tensor) -> None:
    """Of logits (rows, vocab_size) and the ids `token` (rows,) drawn from them.

    Writes to `values` (rows, 1 + MOST_LIKELY) float32 the log-probabilities of the token and of the ids `likely` (rows,
    MOST_LIKELY) int32, likeliest first, lower ids first among equals, -1 where the vocabulary is smaller.
    """
    graph = logits.graph
    rows, vocab_size = logits.shape
    parts = min(_MOST_PARTS, ceil_div(vocab_size, _PART))
    outputs = {
        "tops": graph.output("log_probability_tops", (rows, parts, MOST_LIKELY)),
        "top_ids": graph.output("log_probability_top_ids", (rows, parts, MOST_LIKELY), "u32"),
        "sums": graph.output("log_probability_sums", (rows, parts, 2)),
        "values": graph.alias(values),
        "likely": graph.alias(likely),
    }
    graph.add_node(LOG_PROBABILITIES, {"logits": logits, "token": token}, outputs)


def _lower(node: Node) -> list[KernelCall]:
    rows, vocab_size = node.inputs["logits"].shape
    parts = node.outputs["tops"].shape[1]
    arguments = {"vocab_size": vocab_size, "parts": parts}
    partial = {name: node.outputs[name] for name in ("tops", "top_ids", "sums")}
    return [
        KernelCall(
            "log_probabilities_partial",
            {"logits": node.inputs["logits"], **partial},
            arguments,
            (ceil_div(parts, _THREADS), rows, 1),
            (_THREADS, 1, 1),
        ),
        KernelCall(
            "log_probabilities",
            {**node.inputs, **node.outputs},
            arguments,
            (rows, 1, 1),
            (_MERGE_SIMDGROUPS * SIMD_WIDTH, 1, 1),
        ),
    ]


def reference(logits: Array, token: Array) -> tuple[Array, Array]:
    """`values` and `likely` of finite logits (rows, vocab_size)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    all_values = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    likely = np.argsort(-logits, axis=1, kind="stable")[:, :MOST_LIKELY]
    values = np.take_along_axis(all_values, np.concatenate([token[:, None], likely], axis=1), axis=1)
    missing = ((0, 0), (0, MOST_LIKELY - likely.shape[1]))
    return np.pad(values, missing, constant_values=-np.inf), np.pad(likely, missing, constant_values=-1)


LOG_PROBABILITIES = Op("log_probabilities", _lower, reference)

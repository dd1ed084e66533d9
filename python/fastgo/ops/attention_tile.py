"""attention_tile: attention of many rows on matrix units, the form of wide devices for most heads and caches.

Queries and weights are rounded to 16 bits, so float32 caches, which are kept to be exact, have the other forms.
"""

from __future__ import annotations

from fastgo.graph.dag import KernelCall, Node, Tensor
from fastgo.ops.common import bfloat_output, ceil_div

HEAD_DIMS = (64, 80, 96, 128, 192, 256)  # the shader's instantiations
DTYPES = ("f16", "bf16", "int8", "int4")
FEWEST_ROWS = 17
_ROWS, _THREADS = 64, 128  # of a threadgroup


def suits(q: Tensor, k_cache: Tensor) -> bool:
    """Whether device, rows, heads and cache suit the kernel."""
    is_many = q.graph.parallel_width > 1 and q.shape[0] >= FEWEST_ROWS
    return is_many and k_cache.dtype in DTYPES and k_cache.shape[3] in HEAD_DIMS


def tile_call(node: Node, soft_cap: float = 0.0) -> KernelCall:
    """The call for a node of `attention` or `attention_split`, with what it has of blocks, sinks and log-sum-exp."""
    q, k_cache = node.inputs["q"], node.inputs["k_cache"]
    num_sequences, kv_heads, capacity, head_dim = k_cache.shape
    rows, width = q.shape
    names = ("q", "k_cache", "v_cache", "positions", "sequences", "blocks", "sinks")
    buffers: dict[str, Tensor | None] = {name: node.inputs.get(name) for name in names}
    buffers |= {name: node.outputs.get(name) for name in ("y", "log_sum_exp")}
    return KernelCall(
        f"attention_tile_{k_cache.dtype}_d{head_dim}",
        buffers,
        {
            "rows": rows,
            "num_sequences": num_sequences,
            "heads": width // head_dim,
            "kv_heads": kv_heads,
            "capacity": capacity,
            "window": node.window,
            "scale": node.scale,
            "soft_cap": soft_cap,
        },
        (width // head_dim, ceil_div(rows, _ROWS), 1),
        (_THREADS, 1, 1),
        {
            "has_blocks": buffers["blocks"] is not None,
            "has_sinks": buffers["sinks"] is not None,
            "has_soft_cap": soft_cap != 0.0,
            "keeps_log_sum_exp": buffers["log_sum_exp"] is not None,
            **bfloat_output(node),
        },
    )

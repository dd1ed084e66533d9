"""Qwen 3 with a mixture of experts: Qwen 3's layers, the feed-forward network of each token chosen by a router.

Qwen Team 2025, "Qwen3 Technical Report"; transformers' modeling_qwen3_moe.py.
"""

from __future__ import annotations

from fastgo.graph.dag import Tensor
from fastgo.models.blocks import mixture_of_experts
from fastgo.models.forward import Forward
from fastgo.models.llama import llama


def qwen3moe(forward: Forward) -> Tensor:
    """Logits (len(output_rows), vocab_size) float32."""
    return llama(forward, has_head_norm=True, feed_forward=mixture_of_experts)

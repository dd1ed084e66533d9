"""Qwen 3 dense models: Llama's layers with RMSNorm of each q and k head. Qwen Team 2025, "Qwen3 Technical Report"."""

from __future__ import annotations

from fastgo.graph.dag import Tensor
from fastgo.models.forward import Forward
from fastgo.models.llama import llama


def qwen3(forward: Forward) -> Tensor:
    """Logits (len(output_rows), vocab_size) float32."""
    return llama(forward, has_head_norm=True)

"""tools/tune.py: which products it measures; measuring needs a GPU."""

from __future__ import annotations

import pytest
from tune import Product, products


@pytest.mark.parametrize("format", ["q4_0", "bf16"])
def test_products_are_those_of_the_models_passes(format: str) -> None:
    """Gemma's and Qwen's layers and heads; of the mixture of experts what is no expert's, and not the router."""
    assert products(format, 132) == [
        Product("norm_matmul_group", (1024, 256, 256), 1152),
        Product("combine_matmul", (1152,), 1024),
        Product("norm_matmul_glu", (6912, 6912), 1152),
        Product("matmul_vector", (1152,), 6912),
        Product("matmul_vector", (262144,), 1152),
        Product("norm_matmul_group", (4096, 1024, 1024), 4096),
        Product("combine_matmul", (4096,), 4096),
        Product("norm_matmul_glu", (12288, 12288), 4096),
        Product("matmul_vector", (4096,), 12288),
        Product("matmul_vector", (151936,), 4096),
        Product("norm_matmul_group", (4096, 512, 512), 2048),
        Product("combine_matmul", (2048,), 4096),
        Product("matmul_vector", (151936,), 2048),
    ]


def test_every_product_has_a_call_of_its_kernel() -> None:
    for product in products("q4_0", 132):
        assert product.call("q4_0", 132).kernel.startswith(product.kernel)
